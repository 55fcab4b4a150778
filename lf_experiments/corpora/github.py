"""Files of a GitHub repository at a commit, downloaded once and checked against the names git gives to their content.

The commit names everything in it: GitHub lists the name of each file, which is the SHA-1 of its content, and what is
downloaded, or was kept from an earlier run, must have that name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

from lf_experiments.config import DatasetConfig, InputError
from lf_experiments.storage import written_whole

log = logging.getLogger(__name__)

CONTENT = "https://raw.githubusercontent.com"
LISTING = "https://api.github.com/repos"
SECONDS = 60
"""How long a server may say nothing."""


def downloaded(dataset: DatasetConfig, paths: list[str]) -> Path:
    """The folder that keeps a repository at a commit below `dataset.downloads`, with the files `paths` in it.

    Raises `InputError` where the revision is no commit, the repository lacks a file, a download fails, or what comes is not
    what the commit names; nothing is kept of it then.
    """
    source = f"{dataset.repository}/{commit_of(dataset)}"
    folder = Path(dataset.downloads).expanduser() / source
    names = content_names(dataset, folder)
    for path in paths:
        if path not in names:
            beside = sorted(Path(name).name for name in names if Path(name).parent == Path(path).parent)
            raise error_of(
                dataset, f"it has no {path}; it has {', '.join(beside)}", "choose among them with +dataset.keys.CODE=NAME"
            )
        if not (folder / path).is_file() or content_name(folder / path) != names[path]:
            with written_whole(folder / path) as partial:
                download(dataset, f"{CONTENT}/{source}/{quote(path)}", partial)
                refuse_damaged(dataset, path, content_name(partial), names[path])
    return folder


def commit_of(dataset: DatasetConfig) -> str:
    """The commit to download: what a branch holds may change, what a commit names does not."""
    if not re.fullmatch("[0-9a-f]{40}", dataset.revision or ""):
        raise InputError("dataset.revision", dataset.revision or "null", "this is no commit", "give its 40 hexadecimal digits")
    return dataset.revision


def content_names(dataset: DatasetConfig, folder: Path) -> dict[str, str]:
    """{path: the name of its content} of all files of the commit, as GitHub lists them; asked for once, then kept."""
    listing = folder / "listing.json"
    if not listing.is_file():
        with written_whole(listing) as partial:
            download(dataset, f"{LISTING}/{dataset.repository}/git/trees/{dataset.revision}?recursive=1", partial)
            names_in(dataset, partial)
    return names_in(dataset, listing)


def names_in(dataset: DatasetConfig, listing: Path) -> dict[str, str]:
    """{path: the name of its content} in what GitHub answers."""
    try:
        tree = json.loads(listing.read_text(encoding="utf-8"))["tree"]
        return {entry["path"]: entry["sha"] for entry in tree if entry["type"] == "blob"}
    except (ValueError, KeyError, TypeError) as error:
        raise error_of(dataset, f"the list of its files came damaged: {error}", "try again") from error


def download(dataset: DatasetConfig, address: str, target: Path) -> None:
    """Write what an address answers into a file."""
    log.info("downloading %s", address)
    try:
        with urlopen(address, timeout=SECONDS) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise error_of(dataset, f"{address} cannot be downloaded: {error}", "run it once with a network") from error


def content_name(path: Path) -> str:
    """What git calls the content of a file: the SHA-1 of its length and its bytes."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def refuse_damaged(dataset: DatasetConfig, path: str, found: str, expected: str) -> None:
    if found != expected:
        raise error_of(dataset, f"{path} came damaged: its checksum is {found}, not {expected}", "try again")


def error_of(dataset: DatasetConfig, problem: str, remedy: str) -> InputError:
    """The error of a repository that cannot be used; its files may always come from a folder instead."""
    value = f"{dataset.repository}@{dataset.revision}"
    return InputError("dataset.repository", value, problem, f"{remedy}; or give dataset.root=FOLDER")
