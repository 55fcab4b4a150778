"""Files of a GitHub repository at a commit, downloaded once and checked against the names git gives to their content.

A commit fixes the content of its files: GitHub lists the git name of each, the SHA-1 of its content, and a downloaded file must
have that name, when it arrives and whenever it is used again.
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

from lf_experiments.config.schema import CorpusConfig
from lf_experiments.corpora.place import Place
from lf_experiments.errors import InputError
from lf_experiments.storage import written_whole

log = logging.getLogger(__name__)

CONTENT = "https://raw.githubusercontent.com"
LISTING = "https://api.github.com/repos"
SECONDS = 60
"""How long a server may be silent."""


def fetch_files(group: str, corpus: CorpusConfig, paths: list[str]) -> Path:
    """Download the files `paths` of a corpus's repository that are not there yet; returns the folder of its commit.

    The folder is below `<group>.downloads`. Raises `InputError` for a revision that is no commit, a file that the repository
    lacks, a failed download, and content that is not that of the commit; nothing of it is kept then.
    """
    place = commit_folder(group, corpus)
    source = f"{corpus.repository}/{corpus.revision}"
    names = fetch_content_names(place, f"{LISTING}/{corpus.repository}/git/trees/{corpus.revision}?recursive=1")
    for path in paths:
        file = place.folder / path
        refuse_missing(place, path, names)
        if not file.is_file() or content_name(file) != names[path]:
            with written_whole(file) as partial:
                download(place, f"{CONTENT}/{source}/{quote(path)}", partial)
                refuse_damaged(place, path, content_name(partial), names[path])
    return place.folder


def commit_folder(group: str, corpus: CorpusConfig) -> Place:
    """The folder of the commit that `<group>.revision` names; a branch is refused, because its content can change."""
    if not re.fullmatch("[0-9a-f]{40}", corpus.revision or ""):
        value = corpus.revision or "null"
        raise InputError(f"{group}.revision", value, "this is no commit", "give its 40 hexadecimal digits")
    folder = Path(corpus.downloads).expanduser() / corpus.repository / corpus.revision
    return Place(group, f"{group}.repository", f"{corpus.repository}@{corpus.revision}", folder)


def fetch_content_names(place: Place, address: str) -> dict[str, str]:
    """{path: the git name of its content} of all files of the commit; downloaded once, then kept."""
    listing = place.folder / "listing.json"
    if not listing.is_file():
        with written_whole(listing) as partial:
            download(place, address, partial)
            content_names(place, partial)
    return content_names(place, listing)


def content_names(place: Place, listing: Path) -> dict[str, str]:
    """{path: the git name of its content} in GitHub's answer. Raises `InputError` where it is damaged."""
    try:
        tree = json.loads(listing.read_text(encoding="utf-8"))["tree"]
        return {entry["path"]: entry["sha"] for entry in tree if entry["type"] == "blob"}
    except (ValueError, KeyError, TypeError) as error:
        raise error_of(place, f"the list of its files came damaged: {error}", "try again") from error


def download(place: Place, address: str, target: Path) -> None:
    """Write the content of an address into a file."""
    log.info("downloading %s", address)
    try:
        with urlopen(address, timeout=SECONDS) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
        raise error_of(place, f"{address} cannot be downloaded: {error}", "run it once with a network") from error


def content_name(path: Path) -> str:
    """The git name of a file's content: the SHA-1 of its length and its bytes."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def refuse_missing(place: Place, path: str, names: dict[str, str]) -> None:
    """Raise `InputError`, with the files beside it, for a path that the commit does not have."""
    if path not in names:
        beside = sorted(Path(name).name for name in names if Path(name).parent == Path(path).parent)
        problem = f"it has no {path}; it has {', '.join(beside)}"
        raise error_of(place, problem, f"choose among them with +{place.group}.keys.CODE=NAME")


def refuse_damaged(place: Place, path: str, found: str, expected: str) -> None:
    """Raise `InputError` where a download is not what the commit names."""
    if found != expected:
        raise error_of(place, f"{path} came damaged: its checksum is {found}, not {expected}", "try again")


def error_of(place: Place, problem: str, remedy: str) -> InputError:
    """The error for a repository that cannot be used; its files may always come from a folder instead."""
    return place.error(problem, f"{remedy}; or give {place.group}.root=FOLDER")
