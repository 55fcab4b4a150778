"""`checkpoint=step<N>`: any published step, without a file for it; what is no step, and other applications of Hydra."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.errors import MissingConfigException
from hydra.plugins.config_source import ConfigLoadError

from hydra_plugins.lf_experiments_checkpoints import CheckpointSource
from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.schema import Config
from lf_experiments.errors import InputError
from lf_experiments.inputs import checked_config

CONF = configuration_folder()


def read(*overrides: str) -> Config:
    with initialize_config_dir(CONF, version_base="1.3"):
        return checked_config(compose("config", list(overrides)))


@pytest.mark.parametrize("model", ["pythia-1b", "olmo2-32b", "smollm3-3b", "apertus-8b", "bloom-nano"])
def test_any_published_step_is_an_option(model: str) -> None:
    steps = read(f"model={model}").model.published_steps
    for step in (steps[0], steps[len(steps) // 2], steps[-1]):
        found = read(f"model={model}", f"checkpoint=step{step}")
        assert found.checkpoint.step == step
        assert found == read(f"model={model}", "checkpoint=step", f"checkpoint.step={step}")
        assert found == read(f"model={model}", f"checkpoint.step={step}")


def test_a_step_that_had_no_file_composes_with_its_model() -> None:
    assert read("checkpoint=step3000", "model=pythia-1b").checkpoint.step == 3000


def test_a_step_that_is_not_published_lists_those_that_are() -> None:
    with pytest.raises(InputError, match="checkpoint.step=3001: pythia-1b never published this step") as error:
        read("model=pythia-1b", "checkpoint=step3001")
    assert "0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000 to 143000 by 1000" in str(error.value)


@pytest.mark.parametrize("option", ["step07", "steps", "step-1", "step1.5", "step1000/x", "stp3000"])
def test_what_is_no_step_is_no_option(option: str) -> None:
    with pytest.raises(MissingConfigException, match="(?s)Could not find 'checkpoint/.*\tfinal\n\tstep\n\tstep<N>\n"):
        read(f"checkpoint={option}")


def test_the_source_has_steps_of_checkpoints_alone_and_lists_one_name_for_all() -> None:
    source = CheckpointSource("test", "checkpoints://any")
    assert source.is_config("checkpoint/step12")
    assert source.is_config("checkpoint/step12.yaml")
    assert not source.is_config("model/step12")
    assert source.list("checkpoint", None) == ["step<N>"]
    assert source.list("model", None) == source.list("checkpoint", ObjectType.GROUP) == []
    assert source.load_config("checkpoint/step12").config == {"step": 12}
    with pytest.raises(ConfigLoadError, match="model/step12"):
        source.load_config("model/step12")


def sources(loader: ConfigLoader) -> list[str]:
    return [source.scheme() for source in loader.get_sources()]


def test_other_applications_of_hydra_do_not_get_the_source(tmp_path: Path) -> None:
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert "checkpoints" not in sources(GlobalHydra.instance().config_loader())
    with initialize_config_dir(CONF, version_base="1.3"):
        assert sources(GlobalHydra.instance().config_loader()).count("checkpoints") == 1
