"""The notebooks: committed as they came out, and still running."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

DOCS = Path(__file__).parents[1] / "docs"
PICTURES = {"first_look": 3, "real_model": 1}
NEEDED = ("LF_EXPERIMENTS_REAL_MODELS", "LF_EXPERIMENTS_NTREX")
"""The variables with the folders that the notebook of a real model reads."""


def read(name: str) -> NotebookNode:
    return nbformat.read(DOCS / f"{name}.ipynb", as_version=4)


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def kinds(notebook: NotebookNode) -> list[list[str]]:
    """What each cell of code shows: text, a table, a picture."""
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [sorted({kind for output in of_cell for kind in output.get("data", {"text": ""})}) for of_cell in shown]


@pytest.mark.parametrize("name", PICTURES)
def test_each_is_committed_with_what_came_out_and_without_errors_or_noise(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert {output.output_type for output in outputs(notebook)} == {"stream", "display_data", "execute_result"}
    assert {output.name for output in outputs(notebook) if output.output_type == "stream"} == {"stdout"}
    assert sum("image/png" in of_cell for of_cell in kinds(notebook)) == PICTURES[name]
    text = "".join(output.text for output in outputs(notebook) if output.output_type == "stream")
    assert "/tmp" not in text and str(Path.home()) not in text


def costs(notebook: NotebookNode) -> tuple[float, float, float]:
    """What the notebook finds: what a region costs its own language, the others, and what random neurons cost, in percent."""
    text = "".join(output.text for output in outputs(notebook) if output.output_type == "stream")
    found = re.search(r"its own language (\S+) %, the others (\S+) %; random neurons cost (\S+) %", text)
    own, others, random = map(float, found.groups())
    return own, others, random


def test_a_region_costs_its_own_language_most() -> None:
    own, others, random = costs(read("first_look"))
    assert own > 2 * max(others, random) > 0


def test_a_real_model_has_key_neurons_by_chance_and_more_in_truth() -> None:
    key, by_lot = shares_of_key_neurons(read("real_model"))
    assert 0 < 1.3 * by_lot < key < 100


def shares_of_key_neurons(notebook: NotebookNode) -> tuple[float, float]:
    """The share of key neurons that the notebook of a real model finds, and that with the languages by lot, in percent."""
    text = "".join(output.text for output in outputs(notebook) if output.output_type == "stream")
    key, by_lot = map(float, re.search(r"key neurons: (\d+)% of all; with the languages by lot (\d+)%", text).groups())
    return key, by_lot


def execute(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> NotebookNode:
    """The notebook as it comes out now, in a process that imports this tree."""
    monkeypatch.setenv("PYTHONPATH", f"{DOCS.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", os.environ.get("LF_EXPERIMENTS_CACHE") or str(folder / "cache"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")
    executed = read(name)
    NotebookClient(executed, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    assert kinds(executed) == kinds(read(name))
    return executed


@pytest.mark.slow
def test_the_first_look_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own, others, random = costs(execute("first_look", monkeypatch, tmp_path))
    assert own > 1.5 * max(others, random)


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(os.environ.get, NEEDED)), reason=f"the real models and texts are not here ({', '.join(NEEDED)})"
)
def test_that_of_a_real_model_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key, by_lot = shares_of_key_neurons(execute("real_model", monkeypatch, tmp_path))
    assert (key, by_lot) == pytest.approx(shares_of_key_neurons(read("real_model")), abs=2)
