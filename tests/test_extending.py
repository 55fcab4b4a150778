"""docs/extending.md, example by example: files are written as the page shows them, commands and code are run.

What is "from outside" is run in a folder of its own, in this process; what is "in the tree" in a copy of the tree, and the
files that it changes are counted against the page.
"""

import filecmp
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

import lf_experiments as lf
from lf_experiments import __main__ as command
from lf_experiments.models.families import SITES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "extending.md"
OUTSIDE, INSIDE = "From outside", "In the tree"
BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
COPIED = ("lf_experiments", "conf", "hydra_plugins")


@dataclass(frozen=True)
class Example:
    """One block of code: a file, a change of a file, a command, or Python."""

    path: str
    """The name above it; empty where it has none."""
    kind: str
    text: str


@dataclass(frozen=True)
class Part:
    """One way to add something, of one kind."""

    kind: str
    examples: list[Example]
    files: int | None = None
    """How many files of the tree the page says that it takes."""


def parts(way: str) -> dict[str, Part]:
    """{kind of extension: its part of the page} for one of the two ways."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, rest = section.partition("\n")
        for part in re.split(r"^### ", rest, flags=re.MULTILINE)[1:]:
            heading, _, body = part.partition("\n")
            if heading.startswith(way):
                files = re.search(r"(\d+) files?$", heading)
                found[kind] = Part(kind, examples(body), int(files[1]) if files else None)
    return found


def examples(text: str) -> list[Example]:
    """The blocks of a part, in their order. A second change of the same file need not name it again."""
    found: list[Example] = []
    for block in BLOCK.finditer(text):
        path = block["path"] or (found[-1].path if block["kind"] == "diff" else "")
        found.append(Example(path, block["kind"], block["text"]))
    return found


def write_files(part: Part, folder: Path) -> None:
    """Write the files that a part shows, and change those that it changes."""
    for example in part.examples:
        if example.kind == "diff":
            change(folder / example.path, example.text.splitlines())
        elif example.path:
            (folder / example.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / example.path).write_text(example.text, encoding="utf-8")


def change(path: Path, diff: list[str]) -> None:
    """Add the lines marked + beside the one line of context, which is the beginning of exactly one line of the file."""
    (context,) = [line[1:] for line in diff if not line.startswith("+")]
    place, lines = [line.startswith("+") for line in diff].index(False), path.read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines) if line.startswith(context)]
    added = [line[1:] for line in diff]
    added[place] = lines[found]
    path.write_text("\n".join([*lines[:found], *added, *lines[found + 1 :]]) + "\n", encoding="utf-8")


def commands(example: Example) -> list[str]:
    """The lines of a shell block; a line that ends in a backslash goes on."""
    return example.text.replace("\\\n", " ").strip().splitlines()


# From outside -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def here(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the working directory; modules found in it, and architectures added, are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    sites, modules = dict(SITES), set(sys.modules)
    yield tmp_path
    SITES.clear()
    SITES.update(sites)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def follow(part: Part, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Do what a part says, in this process; returns the names that its Python has defined."""
    write_files(part, folder)
    namespace: dict[str, object] = {"__name__": "extending"}
    for example in part.examples:
        if example.kind == "bash":
            for line in commands(example):
                type_in(line, monkeypatch)
        elif example.kind == "python" and not example.path:
            exec(example.text, namespace)
    return namespace


def type_in(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line of a shell block; Python in this process, so that nothing is imported twice."""
    words = shlex.split(os.path.expandvars(line))
    if words[:3] == ["python", "-m", "lf_experiments"]:
        monkeypatch.setattr(sys, "argv", words[2:])
        command.main()
    elif words[0] == "python":
        runpy.run_path(words[1], run_name="__main__")
    else:
        subprocess.run(line, shell=True, check=True)


def results(folder: Path) -> list[Path]:
    """The run folders that the commands made, in their order."""
    return sorted({path.parent for path in folder.glob("outputs/*/*/run.json")}, key=lambda path: path.stat().st_ctime_ns)


def record(run: Path) -> dict:
    found = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert found["status"] == "done"
    return found


def model(folder: Path, _: dict) -> None:
    (run,) = results(folder)
    assert record(run)["config"]["model"]["name"] == "llama-tiny"
    assert lf.Run(run).metrics.num_layers == 2


def data_set(folder: Path, _: dict) -> None:
    first, second = map(lf.Run, results(folder))
    assert set(first.samples["text"]) >= {"L'amour est aveugle.", "Las paredes oyen."}
    pd.testing.assert_frame_equal(first.samples, second.samples)


def corpus(folder: Path, _: dict) -> None:
    (run,) = results(folder)
    found = lf.Run(run)
    assert sorted(found.samples["text"])[:2] == ["Il neige.", "Il pleut."]
    assert {name: of_corpus["name"] for name, of_corpus in record(run)["data"].items()} == dict.fromkeys(
        ("dataset", "text", "cloze"), "weather"
    )
    assert set(found.cloze["items"]) == {3}
    assert set(found.perplexity["language"]) == {"en", "fr"}


def probe(folder: Path, names: dict) -> None:
    (run,) = map(lf.Run, results(folder))
    key_neurons = run.key_neurons
    assert len(key_neurons) == run.metrics["sklr"] > 0
    assert (key_neurons["z"] > 0.1).all()
    assert not key_neurons.duplicated(["layer", "neuron"]).any()  # a neuron has one highest language
    assert names["regions"](smoke_model()).sklr > 0


def measure(folder: Path, names: dict) -> None:
    (run,) = map(lf.Run, results(folder))
    for table in (run.layers, run.pairs):
        assert table["worst_translation"].between(-1, 1).all()
    assert run.metrics["worst_translation"] == pytest.approx(run.pairs.query("layer == -1")["worst_translation"].mean())
    assert list(names["compared"](smoke_model()).whole.scores()) == ["lrds", "worst_translation"]


def intervention(folder: Path, names: dict) -> None:
    (run,) = map(lf.Run, results(folder))
    changed = run.perplexity.query("deactivated != 'none'")
    assert set(changed["dose"]) == {0.5, 1.0}
    assert (changed["increase_percent"].abs() > 0).any()
    flipped = names["flipped_logits"](smoke_model())
    assert torch.isfinite(flipped).all()


def evaluation(folder: Path, _: dict) -> None:
    (run,) = map(lf.Run, results(folder))
    assert set(run.tasks["task"]) == {"endings"}
    assert set(run.tasks["deactivated"]) > {"none", "en", "random"}


def figure(folder: Path, _: dict) -> None:
    assert (folder / "last_layer.png").read_bytes().startswith(b"\x89PNG")


def tracker(folder: Path, _: dict) -> None:
    lines = [json.loads(line) for line in (folder / "lf_experiments.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {line["run"] for line in lines} == {"bloom-smoke final"}
    assert any(line["num_layers"] == 3 for line in lines if "num_layers" in line)
    assert record(results(folder)[0])["tracking"] == "lf_experiments.jsonl"


def architecture(_: Path, names: dict) -> None:
    assert names["activations"].widths == [48, 48]


def smoke_model() -> Path:
    """The model that `experiment=smoke` has grown."""
    return next(Path(os.environ["LF_EXPERIMENTS_CACHE"]).glob("models/*/*/config.json")).parent


CHECKS: dict[str, Callable[[Path, dict], None]] = {
    "A model": model,
    "A data set": data_set,
    "A corpus": corpus,
    "A probe": probe,
    "A measure of alignment": measure,
    "An intervention": intervention,
    "An evaluation": evaluation,
    "A figure": figure,
    "A tracker": tracker,
    "An architecture": architecture,
}
"""{kind: what must be so when its examples have run}"""


@pytest.mark.parametrize("kind", CHECKS)
def test_from_outside(kind: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CHECKS[kind](here, follow(parts(OUTSIDE)[kind], here, monkeypatch))


def test_every_kind_of_the_page_is_checked_and_named_in_its_table() -> None:
    assert list(parts(OUTSIDE)) == list(CHECKS)
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| \[.*?\]\(#(.*?)\) \|.*\| (\d+)[^|]*\|$", text, flags=re.MULTILINE))
    headed = {kind.lower().replace(" ", "-"): part.files for kind, part in parts(INSIDE).items()}
    assert {anchor: int(files) for anchor, files in rows.items()} == headed


# In the tree ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, cache: Path) -> Path:
    """A copy of the tree, whose `python` runs the package that is in it."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(
        f'#!/bin/sh\nLF_EXPERIMENTS_CACHE="{cache}" PYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n'
    )
    (tmp_path / "bin" / "python").chmod(0o755)
    return tmp_path


def changed_files(tree: Path) -> list[str]:
    """The files of a copy that are new, or not as in the tree."""
    paths = [path.relative_to(tree) for name in COPIED for path in (tree / name).rglob("*") if path.is_file()]
    sources = [path for path in paths if "__pycache__" not in path.parts]
    return [
        str(path) for path in sources if not (ROOT / path).is_file() or not filecmp.cmp(ROOT / path, tree / path, shallow=False)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", parts(INSIDE))
def test_in_the_tree(kind: str, tree: Path) -> None:
    outside, inside = parts(OUTSIDE).get(kind), parts(INSIDE)[kind]
    if outside:
        write_files(outside, tree)
    write_files(inside, tree)
    for example in inside.examples:
        if example.kind == "bash":
            environment = os.environ | {"PATH": f"{tree / 'bin'}:{os.environ['PATH']}"}
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", example.text], cwd=tree, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    assert len(changed_files(tree)) == inside.files, changed_files(tree)
