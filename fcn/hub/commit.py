"""Writing to the Hub: who may, and one commit at a time, to a model's repository or a Space's.

The convention: files are read through a ``Watch``, so that a slow upload is told from a dead one.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars

from ..errors import InputError
from .call import Watch, ask, parse_id


def check_access(repo_id: str, repo_type: str = "model") -> None:
    """See that the token which huggingface_hub finds may write to a repository, new or old.

    Raises:
        InputError: If it may not, or the Hub cannot be asked.
    """
    name, revision = parse_id(repo_id)
    if revision:
        raise InputError(f"{repo_id} has a revision, but a push makes a new one: give {name}.")

    def job(watch: Watch) -> None:
        api = HfApi()
        user = api.whoami()
        watch.move()
        owners = {user["name"], *(one["name"] for one in user.get("orgs", ()))}
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise InputError("The token in use for the Hub may only read: make one that may write.")
        try:
            api.auth_check(repo_id, repo_type=repo_type, write=True)
        except RepositoryNotFoundError:
            if (owner := repo_id.partition("/")[0]) not in owners:
                raise InputError(
                    f"The token in use is {user['name']}'s and cannot make {repo_id}: {owner} is"
                    " neither that user nor an organisation of theirs."
                ) from None

    ask(job, repo_id)


def commit_files(
    api: HfApi,
    watch: Watch,
    repo_id: str,
    repo_type: str,
    files: Mapping[str, Path],
    is_stale: Callable[[str], bool],
    message: str,
) -> tuple[CommitInfo, bool]:
    """Make one commit of these files, without the others that ``is_stale`` names.

    Returns:
        The commit, the present one if it holds the same already, and whether it is new.
    """
    disable_progress_bars()
    before = (api.space_info if repo_type == "space" else api.model_info)(repo_id)
    stale = [one.rfilename for one in before.siblings or () if is_stale(one.rfilename)]
    size = sum(file.stat().st_size for file in files.values())
    watch.expect(f"Pushing to {repo_id}: {len(files)} files", size)
    with ExitStack() as stack:
        additions = [
            CommitOperationAdd(name, stack.enter_context(watch.open(file)))
            for name, file in files.items()
        ]
        for one in additions:
            # Alone: several at once would be uploaded by threads that keep a process from ending.
            if b"\0" in one.upload_info.sample:
                api.preupload_lfs_files(repo_id, [one], repo_type=repo_type, free_memory=False)
                watch.move()
        deletions = [CommitOperationDelete(name) for name in stale if name not in files]
        commit = api.create_commit(
            repo_id,
            [*additions, *deletions],
            commit_message=message,
            repo_type=repo_type,
            parent_commit=before.sha,  # or what is left out as unchanged may be another's by now
        )
    watch.move()
    return commit, commit.oid != before.sha


def create_tag(api: HfApi, repo_id: str, tag: str, commit: str) -> None:
    """Name a commit of a model; a tag that names another commit already is left to it."""
    try:
        api.create_tag(repo_id, tag=tag, revision=commit)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
        tags = {one.name: one.target_commit for one in api.list_repo_refs(repo_id).tags}
        if tags.get(tag) != commit:
            raise InputError(
                f"The checkpoint is pushed, but {tag} of {repo_id} is another commit already:"
                " choose another tag."
            ) from None
