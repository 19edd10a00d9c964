"""The Hugging Face Hub: checkpoints to it and from it, and the page hosted there.

``pull`` brings a checkpoint whole or not at all, ``push`` puts one there, ``space`` hosts the page,
``refresh`` moves both on after a training run. ``commit`` writes, ``call`` waits no longer than it
must. Nothing here imports torch, and no token is ever shown, logged or saved.
"""
