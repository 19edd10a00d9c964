"""The command line: ``python -m fcn segment | evaluate | score | check | push | ...``.

What a user can get wrong ends in one sentence on stderr and exit status 1 (2 for flags), never in a
traceback. Each command is a module of ``commands``.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from .errors import InputError, describe, show_any_text

COMMANDS = ("segment", "evaluate", "score", "fit", "check", "export", "push", "pull", "space")
NEEDS = "needs the package {}: pip install -r requirements.txt"  # the demo's are fewer
OVERVIEW = """\
examples:
  python -m fcn segment street.jpg --output out
  python -m fcn evaluate checkpoints/street --dataset camvid --data DIR --split val
  python -m fcn score --dataset scene_parsing --data DIR --predictions out
  python -m fcn check --dataset folder --data DIR
  python -m fcn export checkpoints/street --data DIR
  python -m fcn push checkpoints/street USER/street
  python -m fcn pull USER/street
  python -m fcn space USER/demo --model USER/street

`python -m fcn COMMAND --help` tells more. Training is `python train.py`, the page `python app.py`.
"""


def build_parser(asked: str = "") -> argparse.ArgumentParser:
    """The whole command line; if a command is asked for, only that one is imported."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m fcn",
        description="Semantic segmentation with fully convolutional networks.",
        epilog=OVERVIEW,
        formatter_class=layout,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in [asked] if asked in COMMANDS else COMMANDS:
        command = import_module(f".commands.{name}", __package__)
        text, examples = command.TEXT, command.EXAMPLES
        sub = commands.add_parser(
            name, help=command.HELP, description=text, epilog=examples, formatter_class=layout
        )
        command.add_flags(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Pillow warns about what open_photo either copes with or refuses in a sentence.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    show_any_text()
    try:
        args = build_parser(next(iter(arguments), "")).parse_args(arguments)
        return args.run(args)
    except InputError as error:
        print(f"fcn: {error}", file=sys.stderr)
    except ModuleNotFoundError as error:
        print(f"fcn: {NEEDS.format(error.name)}", file=sys.stderr)
    except OSError as error:
        print(f"fcn: {describe(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("fcn: stopped", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
