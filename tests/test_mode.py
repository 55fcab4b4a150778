"""Whether a command is a sweep is known before any experiment is composed."""

from pathlib import Path

import pytest

from lf_experiments.config.options import configuration_folder, options_of
from lf_experiments.multirun.mode import with_mode

MODES = {
    "sweep": "hydra:\n  mode: MULTIRUN\n",
    "job": "hydra:\n  mode: RUN\n",
    "silent": "seed: 1\n",
    "empty": "",
    "broken": "hydra: [",
    "list": "- 1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of experiments."""
    (tmp_path / "experiment").mkdir()
    for name, content in MODES.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(content)
    (tmp_path / "experiment" / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    return tmp_path


def test_the_experiments_that_are_sweeps_are_all_and_only_those_of_conf() -> None:
    told = {name for name in options_of("experiment") if with_mode([f"experiment={name}"])[1:] == ["--multirun"]}
    files = {name: Path(configuration_folder(), "experiment", f"{name}.yaml").read_text() for name in options_of("experiment")}
    assert told == {name for name, content in files.items() if "\n  mode: MULTIRUN\n" in content}
    assert {"paper_nano", "nano_training"} <= told
    assert "smoke" not in told


@pytest.mark.parametrize(
    "flag", [["--config-dir", "{}"], ["--config-dir={}"], ["-cd", "{}"], ["hydra.searchpath=[pkg://a,file://{}]"]]
)
@pytest.mark.parametrize("given", ["experiment={}", "+experiment={}"])
def test_experiments_of_one_s_own_are_found(folder: Path, flag: list[str], given: str) -> None:
    flag = [part.format(folder) for part in flag]
    for name in (*MODES, "bytes", "missing"):
        arguments = [*flag, "seed=3", given.format(name)]
        assert with_mode(arguments) == [*arguments, *(["--multirun"] if name == "sweep" else [])]


@pytest.mark.parametrize(
    "told",
    [
        "hydra.mode=RUN",
        "++hydra.mode=MULTIRUN",
        "-m",
        "--multirun",
        "--cfg=job",
        "-c",
        "--info",
        "-sc",
        "--experimental-rerun=x",
    ],
)
def test_a_command_that_says_how_it_is_run_is_left_as_it_is(told: str) -> None:
    assert with_mode(["experiment=nano_training", told]) == ["experiment=nano_training", told]


def test_a_command_without_an_experiment_is_left_as_it_is() -> None:
    assert with_mode(["seed=1,2", "model=bloom-nano"]) == ["seed=1,2", "model=bloom-nano"]
    assert with_mode([]) == []
