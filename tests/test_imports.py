"""The direction of imports: the ground, then the folders in the order of the data, and `study.py` above them all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lf_experiments"
GROUND = {"config", "hub", "languages", "storage"}
FOLDERS = ["corpora", "models", "neurons", "measures", "evaluations"]
MODULES = sorted(PACKAGE.rglob("*.py"))

PERMITTED_BEFORE_THEIR_FOLDER = {("neurons", "measures.equations")}
"""The equations stand apart: pure functions of tensors, which any folder may use."""


def imported(path: Path) -> set[str]:
    """The dotted names that a module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return names


def own_imports(path: Path) -> set[str]:
    """What a module imports of this package, without the package's name."""
    prefix = "lf_experiments."
    return {name.removeprefix(prefix) for name in imported(path) if name.startswith(prefix)}


def importers_of(library: str) -> set[str]:
    """The modules, by their path in the package, that import a library."""
    return {str(path.relative_to(PACKAGE)) for path in MODULES if any(name.split(".")[0] == library for name in imported(path))}


def test_the_equations_import_only_torch() -> None:
    assert {name.split(".")[0] for name in imported(PACKAGE / "measures" / "equations.py")} == {"torch"}


def test_only_the_entry_point_and_the_sweep_import_hydra() -> None:
    assert importers_of("hydra") == {"__main__.py", "multirun.py"}


def test_the_plugin_of_hydra_imports_the_sweep_alone() -> None:
    (path,) = (PACKAGE.parent / "hydra_plugins").rglob("*.py")
    assert own_imports(path) == {"multirun"}


def test_only_tracking_imports_wandb() -> None:
    assert importers_of("wandb") == {"results/tracking.py"}


@pytest.mark.parametrize("path", [path for path in MODULES if "results" in path.relative_to(PACKAGE).parts])
def test_results_import_only_the_ground_and_no_model(path: Path) -> None:
    assert {name.split(".")[0] for name in own_imports(path)} <= GROUND | {"results"}
    assert not {name.split(".")[0] for name in imported(path)} & {"torch", "transformers", "accelerate", "hydra"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_the_ground_and_the_folders_before_it(folder: str) -> None:
    before = GROUND | set(FOLDERS[: FOLDERS.index(folder) + 1])
    for path in (PACKAGE / folder).rglob("*.py"):
        for name in own_imports(path):
            assert name.split(".")[0] in before or (folder, name) in PERMITTED_BEFORE_THEIR_FOLDER, f"{path}: {name}"


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_imports_nothing_above_it(name: str) -> None:
    assert own_imports(PACKAGE / f"{name}.py") <= GROUND


@pytest.mark.parametrize("module", ["lf_experiments.__main__", "hydra_plugins.lf_experiments_sweeper"])
def test_what_hydra_starts_with_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'pandas', 'wandb'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_plan_stands_beside_the_study_and_only_the_entry_point_imports_it() -> None:
    importers = {path.relative_to(PACKAGE) for path in MODULES if any(name.startswith("plan") for name in own_imports(path))}
    assert {path for path in importers if path.parts[0] != "plan"} == {Path("__main__.py")}
    for path in (PACKAGE / "plan").glob("*.py"):
        assert not {"study", "__main__", "multirun"} & own_imports(path), path
