"""The direction of imports: the ground, then the rooms in the order of the data, and no circle of files anywhere."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lf_experiments"
MODULES = sorted(PACKAGE.rglob("*.py"))
PREFIX = "lf_experiments."
GROUND = {"config", "equations", "errors", "extensions", "hub", "intervals", "languages", "storage", "wording"}
READ = ["corpora", "models", "neurons", "measures", "evaluations"]
"""From texts to numbers, in the order of the data."""
SHOWN = ["runs", "figures", "paper", "report", "tracking", "sweep", "side_by_side", "compare"]
"""What is kept, and what shows it."""
HEAVY = {"torch", "transformers", "accelerate", "hydra"}

PERMITTED_BEFORE_THEIR_FOLDER = {("models", f"neurons.{name}") for name in ("experts", "interventions", "pooling", "sites")}
"""What a folder may import of a later one: values that know nothing of what is around them."""


def name_of(path: Path) -> str:
    """The dotted name of a module in the package: `neurons.capture`; of a folder's `__init__.py` that of the folder."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a module imports anywhere in it; of `from folder import module` the inner one."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names.update(name if name.removeprefix(PREFIX) in NAMES else node.module for name in inner)
    return names


def own_imports(path: Path) -> set[str]:
    """The modules of this package that a module imports, without the package's name."""
    return {name.removeprefix(PREFIX) for name in imported(path) if name.startswith(PREFIX)} & NAMES


def importers_of(library: str) -> set[str]:
    """The modules, by their path in the package, that import a library."""
    return {str(path.relative_to(PACKAGE)) for path in MODULES if any(name.split(".")[0] == library for name in imported(path))}


def test_the_equations_import_only_torch() -> None:
    assert {name.split(".")[0] for name in imported(PACKAGE / "equations.py")} == {"torch"}


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {name_of(path): own_imports(path) - {name_of(path)} for path in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_only_the_entry_point_and_the_sweep_import_hydra() -> None:
    assert {path.split("/")[0] for path in importers_of("hydra")} == {"__main__.py", "callbacks.py", "multirun"}


def test_the_plugins_of_hydra_import_the_sweep_and_the_folder_of_the_options_alone() -> None:
    for path in (PACKAGE.parent / "hydra_plugins").rglob("*.py"):
        assert own_imports(path) <= {"multirun.sweep", "config.options"}


def test_nothing_uses_what_hydra_keeps_to_itself() -> None:
    for path in [*MODULES, *(PACKAGE.parent / "hydra_plugins").rglob("*.py")]:
        assert not [name for name in imported(path) if name.startswith("hydra._internal")], path


def test_only_its_own_file_imports_a_tracker() -> None:
    assert importers_of("wandb") == {"tracking/wandb.py"}
    assert importers_of("trackio") == {"tracking/trackio.py"}


@pytest.mark.parametrize("room", SHOWN)
def test_what_is_shown_imports_the_ground_and_no_model(room: str) -> None:
    before = GROUND | set(SHOWN[: SHOWN.index(room) + 1])
    for path in MODULES:
        if path.relative_to(PACKAGE).with_suffix("").parts[0] == room:
            assert {name.split(".")[0] for name in own_imports(path)} <= before, path
            assert not {name.split(".")[0] for name in imported(path)} & HEAVY, path


@pytest.mark.parametrize("folder", READ)
def test_a_folder_imports_only_the_ground_and_the_folders_before_it(folder: str) -> None:
    before = GROUND | set(READ[: READ.index(folder) + 1])
    for path in (PACKAGE / folder).rglob("*.py"):
        for name in own_imports(path):
            assert name.split(".")[0] in before or (folder, name) in PERMITTED_BEFORE_THEIR_FOLDER, f"{path}: {name}"


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path).split(".")[0] in GROUND], ids=name_of)
def test_the_ground_imports_nothing_above_it(path: Path) -> None:
    assert {name.split(".")[0] for name in own_imports(path)} <= GROUND


@pytest.mark.parametrize(
    "module", ["lf_experiments.__main__", "hydra_plugins.lf_experiments_sweeper", "hydra_plugins.lf_experiments_checkpoints"]
)
def test_what_hydra_starts_with_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'pandas', 'wandb'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_plan_adds_up_the_study_and_only_the_entry_point_imports_it() -> None:
    importers = {path.relative_to(PACKAGE) for path in MODULES if any(name.startswith("plan") for name in own_imports(path))}
    assert {path for path in importers if path.parts[0] != "plan"} == {Path("__main__.py")}
    for path in (PACKAGE / "plan").glob("*.py"):
        assert not {"__main__", "multirun"} & {name.split(".")[0] for name in own_imports(path)}, path


def test_the_study_imports_everything_but_the_plan_and_the_entry_points() -> None:
    for path in (PACKAGE / "study").rglob("*.py"):
        assert not {"plan", "__main__", "multirun", "library"} & {name.split(".")[0] for name in own_imports(path)}, path


def test_only_the_command_and_the_plan_import_the_study() -> None:
    importers = {name_of(path) for path in MODULES if any(name.split(".")[0] == "study" for name in own_imports(path))}
    assert {name.split(".")[0] for name in importers} - {"study"} == {"__main__", "plan"}
