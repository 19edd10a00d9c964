"""A training run, without its loop, which is ``train.py`` beside this package.

``config`` is every choice, ``trainer`` a run: its steps, scores and state. ``learning`` builds what
learns, ``feeding`` what it is fed, ``memory`` splits a step so that it fits, ``devices`` and
``tracking`` are Accelerate's part, ``progress`` is how far it is, ``album`` looks at it meanwhile.
At its end ``fitting`` chooses how it is served, and ``report`` writes what is left of it, with
``card`` and ``plots``.
"""
