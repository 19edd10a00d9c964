"""The commands of ``python -m fcn``, a module each.

The convention: a module has ``HELP`` (a line in the overview), ``TEXT`` and ``EXAMPLES`` (its own
``--help``), ``add_flags(parser)`` and ``run(args)``, which returns the exit status. Results go to
stdout, progress and complaints to stderr. A command is imported only when it is asked for, so that
one which needs no torch does not wait for it.
"""
