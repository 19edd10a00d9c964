"""The demo as a Gradio Space: which files it has, and how it is moved to other weights.

The convention: a Space is made anew from this repository each time and differs from it only by
``README.md``, whose front matter is this repository's and says which weights are used,
``requirements.txt``, which has torch only where it is needed, and the checkpoints, which have only
the weights that run there. What is served is the variable ``FCN_MODEL``.
"""

import shutil
from collections.abc import Iterator, Sequence
from modulefinder import ModuleFinder
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, RepoCard, SpaceHardware
from huggingface_hub.errors import RepositoryNotFoundError

from ..checkpoint import WEIGHTS_NAME
from ..demo.lesson import MODULES
from ..errors import InputError
from ..inference.engines import ONNX_NAME
from .call import Watch, ask, parse_id
from .commit import commit_files
from .pull import Listing, look, read_listing
from .push import find_files

ROOT = Path(__file__).resolve().parents[2]
FREE = "cpu-basic"
ZERO = "zero"  # how hardware begins that lends GPUs for single calls
ZERO_PYTHON = "3.12.12"  # it has this one and 3.10.13, which is too old
VARIABLE = "FCN_MODEL"
MARK = "fcn/segmenter.py"  # what has it was made here
BLANK = {".gitattributes", "README.md"}  # what a Space has that was made on the web and left
TEXT = """\
# {title}

Any photo in; named, coloured segments out. {weights} The licence above is the program's; weights
have their own, which their cards tell.

Made by `python -m fcn space`: change the repository that has it, not this one.
"""


def publish(name: str, model: str = "", hardware: str = "", is_retrained: bool = False) -> str:
    """Make a Space or bring it up to date, and restart it.

    Args:
        name: The Space, ``user/name``.
        model: The weights, ``user/model[@revision]``, several with spaces between; those that the
            Space has if empty, and if it has none, the bundled ones.
        hardware: As the Hub names it; what the Space has if empty.
        is_retrained: Whether the model is an update, so that a Space which serves it among
            others goes on to serve those.

    Returns:
        What happened, in a sentence.

    Raises:
        InputError: If the model is no checkpoint, or the Hub refuses or cannot be had.
    """
    check(name, model, hardware)
    wanted = {one: look(one) for one in model.split()}

    def job(watch: Watch) -> str:
        api = HfApi()
        old_model, old_hardware = read_state(api, name)
        watch.move()
        served = renew(old_model, model) if is_retrained else model or old_model
        runs_on = hardware or old_hardware or FREE
        listings = [wanted.get(one) or read_listing(one) for one in served.split()]
        variables = [{"key": VARIABLE, "value": served}] if served else None
        with TemporaryDirectory() as folder:
            files = build(Path(folder), listings, runs_on)
            if not old_hardware:
                api.create_repo(
                    name,
                    repo_type="space",
                    space_sdk="gradio",
                    space_hardware=SpaceHardware(runs_on),
                    space_variables=variables,
                )
            message = f"Serve {served or 'the bundled weights'}"
            commit_files(api, watch, name, "space", files, is_stale, message)
        if old_hardware and served != old_model:
            api.add_space_variable(name, VARIABLE, served)
            watch.move()
        if old_hardware and runs_on != old_hardware:
            api.request_space_hardware(name, SpaceHardware(runs_on))
            watch.move()
        api.restart_space(name)
        return f"{api.endpoint}/spaces/{name} serves {served or 'the bundled weights'}."

    return ask(job, name)


def rehearse(folder: Path, name: str, model: str = "", hardware: str = "") -> None:
    """Write a Space's files into a folder; only a model's listing is asked of the Hub.

    Raises:
        InputError: If the folder has something in it, or as ``publish``.
    """
    check(name, model, hardware)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty: remove it, or name another folder.")
    listings = [look(one) for one in model.split()]
    folder.mkdir(parents=True, exist_ok=True)
    build(folder, listings, hardware or FREE)


def check(name: str, model: str, hardware: str) -> None:
    """Refuse what cannot be meant before anything is asked of the Hub."""
    if parse_id(name)[1]:
        raise InputError(f"{name} has a revision, but a Space has none: leave it out.")
    for one in model.split():
        parse_id(one)
    known = [one.value for one in SpaceHardware]
    if hardware and hardware not in known:
        raise InputError(f"There is no hardware {hardware!r}; choose from {', '.join(known)}.")


def read_state(api: HfApi, name: str) -> tuple[str, str]:
    """The weights that a Space names and its hardware, both empty if there is no such Space.

    Raises:
        InputError: If it holds anything else than a page that was made here.
    """
    try:
        info = api.space_info(name)
    except RepositoryNotFoundError:
        return "", ""
    files, runtime = {one.rfilename for one in info.siblings or ()}, info.runtime
    if MARK not in files and (others := sorted(files - BLANK)):
        raise InputError(
            f"{name} is a Space of something else: it holds {others[0]}, and all of it would be"
            " replaced. Choose another name, or delete that Space first."
        )
    variables = api.get_space_variables(name)
    model = variables[VARIABLE].value if VARIABLE in variables else ""
    return model or "", (runtime and (runtime.requested_hardware or runtime.hardware)) or FREE


def renew(served: str, model: str) -> str:
    """What a Space serves, with ``user/model@revision`` in the place of its older revision.

    Example:
        >>> renew("me/a@v1 me/b", "me/a@v2"), renew("me/b", "me/a@v2")
        ('me/a@v2 me/b', 'me/a@v2')
    """
    names = [one.partition("@")[0] for one in served.split()]
    renewed = model.partition("@")[0]
    if renewed not in names:
        return model
    kept = zip(names, served.split(), strict=True)
    return " ".join(model if name == renewed else one for name, one in kept)


def is_stale(name: str) -> bool:
    """Whether a file of a Space goes if it is not written anew."""
    return name != ".gitattributes"


def build(folder: Path, models: Sequence[Listing], hardware: str) -> dict[str, Path]:
    """Write the files of a Space.

    Args:
        folder: Empty.
        models: The weights that it will pull; none for the bundled ones.
        hardware: As the Hub names it.

    Returns:
        The files by their names in the Space.

    Raises:
        InputError: If weights do not run on that hardware.
    """
    bundled = [one.parent for one in sorted(ROOT.glob("checkpoints/*/config.json"))]
    carriers = [set(one.files) for one in models]
    carriers = carriers or [set(find_files(one)) for one in bundled]
    is_lean = hardware.startswith(("cpu", ZERO)) and all(ONNX_NAME in one for one in carriers)
    if hardware.startswith(ZERO) and not is_lean:
        raise InputError(
            f"On {hardware} only int8 weights run here: add them with `python -m fcn export`, and"
            " push again."
        )
    for source in [ROOT / "app.py", ROOT / "LICENSE", *find_package()]:
        copy(source, folder / source.relative_to(ROOT))
    for checkpoint in bundled:
        files = find_files(checkpoint)
        if is_lean and ONNX_NAME not in files:
            continue
        for source in files.values():
            if not (is_lean and source.name == WEIGHTS_NAME):
                copy(source, folder / source.relative_to(ROOT))
    write_requirements(folder / "requirements.txt", is_lean)
    write_readme(folder / "README.md", models, is_lean, hardware)
    written = sorted(one for one in folder.rglob("*") if one.is_file())
    return {one.relative_to(folder).as_posix(): one for one in written}


def find_package() -> Iterator[Path]:
    """What ``app.py`` leads to, what the lesson reads as text, and what a browser runs."""
    finder = ModuleFinder(path=[str(ROOT)])
    finder.run_script(str(ROOT / "app.py"))
    needed = {getattr(one, "__file__", None) for one in finder.modules.values()}
    needed |= {str(ROOT / "fcn" / f"{module}.py") for module in MODULES}
    for file in sorted((ROOT / "fcn").rglob("*")):
        if str(file) in needed or file.suffix in (".css", ".js"):
            yield file


def copy(source: Path, target: Path) -> None:
    """Copy a file, making the folder that it goes into."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write_requirements(file: Path, is_lean: bool) -> None:
    """Write this repository's requirements; if ``is_lean``, those of int8 weights on a CPU.

    As one file: a Space installs from it before the others are there.
    """
    text = (ROOT / "requirements-demo.txt").read_text(encoding="utf-8")
    if not is_lean:
        whole = (ROOT / "requirements.txt").read_text(encoding="utf-8")
        text = whole.replace("-r requirements-demo.txt\n", text)
    file.write_text(text, encoding="utf-8")


def name_files(model: Listing, is_lean: bool) -> list[str]:
    """The files of a model that a Space pulls."""
    return [name for name in model.files if not (is_lean and name == WEIGHTS_NAME)]


def write_readme(file: Path, models: Sequence[Listing], is_lean: bool, hardware: str) -> None:
    """Write the Space's card: this repository's front matter, and which weights it uses."""
    card = RepoCard.load(ROOT / "README.md")
    card.data.suggested_hardware = hardware
    if hardware.startswith(ZERO):
        card.data.python_version = ZERO_PYTHON
    weights = "On the weights that come with it."
    if models:
        card.data.models = list(dict.fromkeys(model.repo_id for model in models))
        card.data.preload_from_hub = [
            f"{model.repo_id} {','.join(name_files(model, is_lean))} {model.revision}"
            for model in models
        ]
        weights = f"On the weights of `{'` and `'.join(card.data.models)}`."
    card.text = TEXT.format(title=card.data.title, weights=weights)
    card.save(file)
