"""The Hugging Face hub: the folder of a repository at a revision, downloaded where it is not yet in the hub cache.

The cache is the one that all libraries of Hugging Face share (`HF_HUB_CACHE`). Without a network, or with
`HF_HUB_OFFLINE=1`, what is in it is used as it is.
"""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants, scan_cache_dir, snapshot_download
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lf_experiments.errors import InputError

REFUSALS = (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError)


def fetch_snapshot(repository: str, revision: str, patterns: tuple[str, ...]) -> Path:
    """Download the files of a model's repository that match a pattern; returns their folder, which is named after the commit.

    It may hold other files of the same commit, downloaded earlier. Raises `InputError` where the repository or the
    revision does not exist, is not open to this user, or is neither cached nor within reach.
    """
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except REFUSALS as error:
        problem, remedy = explained(error, "model", repository, revision)
        raise InputError("model.hub", f"{repository}@{revision}", problem, remedy) from error
    except OSError as error:
        raise unwritable_cache(error) from error


def fetch_dataset(group: str, repository: str, revision: str, patterns: tuple[str, ...]) -> Path:
    """The local folder of a dataset's repository, as `fetch_snapshot` gives that of a model.

    `group` is the configuration group of the corpus: the remedy offers `<group>.root` as the alternative.
    """
    try:
        return Path(snapshot_download(repository, repo_type="dataset", revision=revision, allow_patterns=list(patterns)))
    except REFUSALS as error:
        problem, remedy = explained(error, "dataset", repository, revision)
        remedy += f"; or give {group}.root=FOLDER"
        raise InputError(f"{group}.repository", f"{repository}@{revision}", problem, remedy) from error
    except OSError as error:
        raise unwritable_cache(error) from error


def remove_snapshot(folder: Path) -> None:
    """Remove a snapshot from the hub cache, and the files that no other snapshot shares."""
    scan_cache_dir(constants.HF_HUB_CACHE).delete_revisions(folder.name).execute()


def unwritable_cache(error: OSError) -> InputError:
    """The error of a hub cache that the disk, or its owner, lets nothing be written to."""
    problem = f"the cache of the hub cannot be written: {error.strerror or error}"
    return InputError("HF_HUB_CACHE", constants.HF_HUB_CACHE, problem, "make room, or set HF_HUB_CACHE to another folder")


def explained(error: Exception, kind: str, repository: str, revision: str) -> tuple[str, str]:
    """What is wrong with a repository or a revision, and the remedy; `kind` is model or dataset."""
    if isinstance(error, LocalEntryNotFoundError):
        return unreachable(kind, repository, revision)
    if isinstance(error, HFValidationError):
        return "this is no name of a repository", "give it as ORGANISATION/NAME"
    if isinstance(error, GatedRepoError):
        page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"
        return (
            "this repository is open only to those who have accepted its conditions",
            f"accept them on {page}, then `hf auth login`",
        )
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such repository, or it is private", "check its name; if it is private, `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        revisions = ", ".join(published_revisions(kind, repository))
        return f"the repository has no such revision; it has {revisions}", "choose one of these"
    return f"the hub refuses it: {error}", "try again later; what was downloaded so far is kept"


def unreachable(kind: str, repository: str, revision: str) -> tuple[str, str]:
    """What is missing without the hub: the rest of a download, the revision, or the whole repository."""
    cached = cached_revisions(kind, repository)
    if revision in cached:
        held = "the download of this revision is not complete"
    elif cached:
        held = f"of this repository only {', '.join(cached)} is cached"
    else:
        held = "nothing of this repository is cached"
    where = f"the hub cannot be reached, and {held} in {constants.HF_HUB_CACHE}"
    return where, "run it once with a network and without HF_HUB_OFFLINE, or choose what is cached"


def published_revisions(kind: str, repository: str) -> list[str]:
    """The branches and tags of a repository, as the hub lists them now, and its conversions such as refs/convert/parquet."""
    refs = HfApi().list_repo_refs(repository, repo_type=kind)
    return in_order({*(ref.name for ref in [*refs.branches, *refs.tags]), *(ref.ref for ref in refs.converts)})


def cached_revisions(kind: str, repository: str) -> list[str]:
    """The revisions of a repository that are in the hub cache: branches and tags, and commits that no name leads to."""
    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return []
    commits = [
        commit for repo in cache.repos if (repo.repo_type, repo.repo_id) == (kind, repository) for commit in repo.revisions
    ]
    return in_order({name for commit in commits for name in commit.refs or [commit.commit_hash]})


def in_order(revisions: set[str]) -> list[str]:
    """Shorter names first, so that step 2000 stands before step 10000."""
    return sorted(revisions, key=lambda name: (len(name), name))
