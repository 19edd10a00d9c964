"""A checkpoint to the Hub.

The convention: one commit holds one checkpoint, all of it and nothing else of ours.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, get_token, hf_hub_download
from huggingface_hub.errors import (
    LocalTokenNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)

from .. import checkpoint
from ..checkpoint import WEIGHTS_NAME
from ..errors import InputError
from ..scores import score_line
from .call import Watch, ask, parse_id
from .commit import commit_files, create_tag
from .pull import FILES, check_sizes, is_fetched

CARD = "README.md"  # on the Hub, to read there; nothing fetches it
NAMELESS = 'Segmenter.load("FOLDER")'  # in a card: how to load it, wherever it is


@dataclass(frozen=True)
class Pushed:
    """A push that went through: the commit, its page, and whether it is a new one."""

    revision: str
    url: str
    changed: bool

    def __str__(self) -> str:
        return f"Pushed: {self.url}" if self.changed else f"Nothing changed: {self.url}"


def find_files(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint folder that are pushed, by name."""
    names = [*FILES, CARD, *sorted(one.name for one in folder.glob("*.png"))]
    return {name: folder / name for name in names if (folder / name).is_file()}


def is_ours(name: str) -> bool:
    """Whether a file in a repository is one that a push writes."""
    return name == CARD or is_fetched(name)


def push(folder: str | Path, repo_id: str, private: bool = False, tag: str = "") -> Pushed:
    """Put a checkpoint on the Hub in one commit; makes the repository if it is new.

    Files of an earlier checkpoint that this one lacks are removed: int8 weights must not outlive
    the network that they were made from.

    Args:
        folder: A checkpoint folder or a run's.
        repo_id: ``user/name``.
        private: Make a private repository; one that is public already is refused.
        tag: Name the commit, such as ``v1``.

    Raises:
        InputError: If the checkpoint is not whole, or the Hub refuses or cannot be had.
    """
    folder = checkpoint.resolve(folder)
    files = find_files(folder)
    if WEIGHTS_NAME not in files:
        raise InputError(f"{folder} is not a whole checkpoint: {WEIGHTS_NAME} is missing.")
    sizes = {one: file.stat().st_size for one, file in files.items() if is_fetched(one)}
    check_sizes(str(folder), sizes)  # or nobody could pull it
    if parse_id(repo_id)[1]:
        raise InputError(f"{repo_id} has a revision, but a push makes a new one.")

    def job(watch: Watch) -> Pushed:
        api = HfApi()
        if get_token() is None:
            raise LocalTokenNotFoundError
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        watch.move()
        if private and not api.model_info(repo_id).private:
            raise InputError(f"{repo_id} is public already: make it private on the Hub first.")
        message = score_line(checkpoint.read_json(folder, "metrics.json")) or "A checkpoint"
        with TemporaryDirectory() as drafts:
            if CARD in files:
                text = files[CARD].read_text(encoding="utf-8")
                files[CARD] = Path(drafts, CARD)
                named = text.replace(NAMELESS, f'Segmenter.load("{repo_id}")')
                files[CARD].write_text(named, encoding="utf-8")
            commit, changed = commit_files(api, watch, repo_id, "model", files, is_ours, message)
        if tag:
            create_tag(api, repo_id, tag, commit.oid)
        return Pushed(commit.oid, commit.commit_url, changed)

    return ask(job, repo_id)


def published_metrics(repo_id: str) -> dict[str, object]:
    """What ``metrics.json`` of a repository says now; empty if there is none.

    Raises:
        InputError: If the Hub cannot be had.
    """

    def job(watch: Watch) -> dict[str, object]:
        try:
            commit = HfApi().model_info(repo_id).sha
            file = hf_hub_download(repo_id, "metrics.json", revision=commit, tqdm_class=watch.bar())
        except (RepositoryNotFoundError, RemoteEntryNotFoundError):
            return {}
        return checkpoint.read_json(Path(file).parent, "metrics.json")

    return ask(job, repo_id)
