"""The pages: no link leads nowhere, every page can be reached from the README and from the site, and commands compose."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.read import read_config

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def links(page: Path) -> list[str]:
    """The targets of the links and pictures of a page that lead into the repository, code left out."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [target for target in LINK.findall(text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The names of the headings of a page, as they are linked to."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_stands_alone(page: Path) -> None:
    """It says what it is about, and every link of it works on the site, which has nothing but docs/."""
    title, empty, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert title.startswith("# ") and not empty and first
    assert all((page.parent / target.partition("#")[0]).resolve().is_relative_to(ROOT / "docs") for target in links(page))


def in_nav(entries: list[dict]) -> Iterator[str]:
    """The pages of the site, in the order of its table of contents."""
    for entry in entries:
        for place in entry.values():
            yield from in_nav(place) if isinstance(place, list) else [place]


def test_the_site_has_every_page_once_and_begins_at_the_start() -> None:
    found = list(in_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(found) == [page.name for page in DOCS]
    assert found[0] == "start.md"


def commands_to_start_with() -> list[str]:
    """What docs/start.md gives to `python -m lf_experiments`."""
    text = (ROOT / "docs" / "start.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return re.findall(r"^    python -m lf_experiments(.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("command", commands_to_start_with())
def test_a_command_to_start_with_composes(command: str) -> None:
    words = [word for word in shlex.split(command, comments=True) if word != "--multirun"]
    with initialize_config_dir(configuration_folder(), version_base="1.3"):
        config = read_config(compose("config", ["checkpoint=step1000" if "glob" in word else word for word in words]))
    assert all(config.model.name == word.removeprefix("model=") for word in words if word.startswith("model="))


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            todo += [(page.parent / target.partition("#")[0]).resolve() for target in links(page) if target[0] != "#"]
    assert {page.name for page in DOCS} <= {page.name for page in reached}


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 110
