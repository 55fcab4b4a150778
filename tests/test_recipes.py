"""The commands of docs/running.md: each composes to a configuration that a run would take."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.read import read_config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n)+", TEXT, flags=re.MULTILINE)
JOB = next(block for block in BLOCKS if "kind: Job" in block)
CLUSTER = next(block for block in BLOCKS if "accelerators:" in block)


def overrides(command: str) -> list[str]:
    """What is given to the program: all after its name but its own flags and Hydra's keys, the first of several values."""
    words = shlex.split(command, comments=True)
    given = [word for word in words if "=" in word and not word.startswith(("-", "hydra.", "hydra/"))]
    return ["checkpoint=step1000" if word == "checkpoint=glob(step*)" else word for word in given]


def commands() -> list[str]:
    """Every command of the page, without what starts it."""
    lines = [line.strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    found = [re.split(r"lf_experiments(?= )", line)[-1].rstrip("'") for line in lines if re.search(r"lf_experiments \S", line)]
    args = yaml.safe_load(JOB)["spec"]["template"]["spec"]["containers"][0]["args"]
    return [*(command for command in found if overrides(command)), " ".join(args)]


def read(command: str) -> object:
    with initialize_config_dir(configuration_folder(), version_base="1.3"):
        return read_config(compose("config", overrides(command)))


@pytest.mark.parametrize("command", commands())
def test_a_command_composes(command: str) -> None:
    config = read(command)
    assert f"model={config.model.name}" in overrides(command)


def test_there_is_one_for_every_kind_of_machine() -> None:
    for launcher in ("sbatch --nodes=2", "docker run", "hf jobs run", "torchrun", "accelerate launch"):
        assert any(launcher in block and "model=" in block for block in BLOCKS), launcher
    assert "model=" in yaml.safe_load(CLUSTER)["run"]
    assert len(commands()) >= 9


def test_a_misspelt_key_would_be_seen() -> None:
    with pytest.raises(ConfigCompositionException, match="num_proceses"):
        read("model=bloom-560m runtime.num_proceses=2")


def test_the_image_is_made_of_what_is_here() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"pyproject.toml", "conf", "hydra_plugins", "lf_experiments", "constraints.txt"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    assert lines[-1] == 'ENTRYPOINT ["python", "-m", "lf_experiments"]'
