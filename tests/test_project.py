"""What surrounds the code: that the version stands in all places, and that the workflows call what there is."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def content(path: str | Path) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def version() -> str:
    return re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]


def test_the_version_is_the_same_everywhere() -> None:
    assert content("CITATION.cff")["version"] == version()
    released = re.findall(r"^## (\d\S*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released[0] == version()


def test_the_citation_names_the_paper() -> None:
    paper = content("CITATION.cff")["preferred-citation"]
    assert paper["title"].split(":")[0] == "Converging to a Lingua Franca"
    assert [author["family-names"] for author in paper["authors"]] == ["Zeng", "Han", "Chen", "Yu"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_targets_there_are(path: Path) -> None:
    steps = [step for job in content(path)["jobs"].values() for step in job["steps"]]
    called = {target for step in steps for target in re.findall(r"make (?:-s )?([a-z-]+)", step.get("run", ""))}
    assert called
    assert called <= TARGETS


def test_what_must_pass_here_must_pass_there() -> None:
    here = set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    steps = [step for job in content(".github/workflows/checks.yml")["jobs"].values() for step in job["steps"]]
    assert {f"make {target}" for target in here} <= {step.get("run") for step in steps}


def test_every_target_is_explained() -> None:
    explained = set(re.findall(r"^([a-z-]+):.*## \S", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert explained == TARGETS


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name)
def test_templates_are_ones(path: Path) -> None:
    template = content(path)
    assert path.name == "config.yml" or {"name", "description", "body"} <= template.keys()
