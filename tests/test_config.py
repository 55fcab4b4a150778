"""The configuration: every file composes, typos are refused three ways, and what cannot work together is said."""

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config import Config, InputError, Stage, read_config
from lf_experiments.languages import LANGUAGES

CONF = Path(configuration_folder())
OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
NEEDED = {
    ("model", "local"): ["model.path=/models/mine"],
    ("checkpoint", "step"): ["checkpoint.step=200"],
    ("dataset", "ntrex"): ["dataset.root=/data"],
    ("dataset", "files"): ["dataset.root=/data"],
    ("text", "files"): ["text.root=/data"],
}
"""What some options leave to the user."""


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def read(*overrides: str) -> Config:
    return read_config(composed(*overrides))


def options_of(group: str) -> list[str]:
    return [option for of, option in OPTIONS if of == group]


@cache
def published_steps() -> dict[str, list[int]]:
    """The steps of every model with a name of its own."""
    return {model: read(f"model={model}").model.published_steps for model in options_of("model") if model != "local"}


def needed(group: str, option: str) -> list[str]:
    """What an option needs beside it: the value it leaves to the user, or a model that has published the step."""
    if group == "checkpoint" and option[4:].isdigit():
        model = next(model for model, steps in published_steps().items() if int(option[4:]) in steps)
        return [f"model={model}"]
    return NEEDED.get((group, option), [])


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes_the_checks(group: str, option: str) -> None:
    assert isinstance(read(f"{group}={option}", *needed(group, option)), Config)


def test_every_option_begins_with_a_comment_that_says_what_it_is() -> None:
    for group, option in OPTIONS:
        if not option.startswith("step"):
            assert (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").startswith("#"), (group, option)


def test_every_key_of_the_root_file_has_its_choices_in_a_comment() -> None:
    for group in {group for group, _ in OPTIONS} - {"experiment"}:
        line = next(line for line in (CONF / "config.yaml").read_text(encoding="utf-8").splitlines() if f"- {group}:" in line)
        assert "#" in line


def test_the_default_is_the_grown_model_at_its_last_step_in_the_nine_languages() -> None:
    config = read()
    assert (config.model.name, config.checkpoint.step, config.seed) == ("bloom-nano", None, 0)
    assert (config.dataset.sentences, config.probe.threshold, config.control.draws) == (100, 2.0, 1)
    assert sorted(config.languages) == sorted(list(LANGUAGES)[:9])
    assert config.stages == list(Stage)


def test_a_model_of_the_hub_says_where_each_of_its_steps_is() -> None:
    hub = read("model=bloom-7b1", "checkpoint=step1000").model.hub
    assert (hub.repository, hub.checkpoint_repository) == ("bigscience/bloom-7b1", "bigscience/bloom-7b1-intermediate")
    assert (hub.checkpoint_revision, hub.tokens_per_step) == ("global_step{step}", 512 * 2048)
    assert list(hub.known_bad) == [100000]


def test_the_steps_of_bloom_are_those_that_were_published() -> None:
    small, large = [1000, 10000, 100000, 200000, 300000, 400000, 500000, 600000], [1000, 10000, *range(50000, 300001, 50000)]
    for sizes, steps, sequences in ((("560m", "1b1"), small, 256), (("1b7", "3b", "7b1"), large, 512)):
        for size in sizes:
            hub = read(f"model=bloom-{size}").model.hub
            assert (hub.steps, hub.tokens_per_step) == (steps, sequences * 2048)
            assert set(hub.known_bad) <= set(steps)


def test_a_typo_in_a_yaml_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("name: mine\nsource: files\nroot: x\nsentence: 3\n")
    with pytest.raises(ConfigCompositionException, match="(?s)'dataset/mine'.*Key 'sentence' not in 'DatasetConfig'"):
        composed("dataset=mine", f"hydra.searchpath=[file://{tmp_path}]")


def test_a_typo_on_the_command_line_is_refused() -> None:
    with pytest.raises(ConfigCompositionException) as error:
        composed("dataset.sentence=3")
    assert "Key 'sentence' not in 'DatasetConfig'" in str(error.value.__cause__)


@pytest.mark.parametrize("override", ["sed=1", "dataset.sentence=3"])
def test_a_typo_behind_a_plus_is_refused(override: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)^{override}: Key '\w+' not in '\w+'.*--cfg job"):
        read(f"+{override}")


def test_a_value_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(ConfigCompositionException) as error:
        composed("dataset.sentences=many")
    assert "could not be converted to Integer" in str(error.value.__cause__)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["probe.threshold=2.9"], r"probe.threshold=2.9.*8.*2\.828"),
        (["language_set.languages=[en,fr,zh,ar,hi]"], r"probe.threshold=2.0.*5 languages.*2\.000"),
        (["language_set.languages=[en,fr,en]"], "language_set.languages=.*name each language once"),
        (["language_set.languages=[en]"], "two or more different languages"),
        (["checkpoint=step", "checkpoint.step=70"], "checkpoint.step=70: bloom-nano never published.*0, 30, 60.*1500"),
        (["model=local", "model.path=/m", "checkpoint=step100"], "never published.*only its final weights"),
        (["dataset.sentences=1"], "dataset.sentences=1: at least 2"),
        (["control.draws=-1"], "control.draws=-1: at least 0"),
        (["runtime.batch_tokens=0"], "runtime.batch_tokens=0: at least 1"),
        (["model.recipe.batch_size=0"], "model.recipe.batch_size=0: at least 1"),
        (["model.recipe.vocabulary=100"], "model.recipe.vocabulary=100: at least 258"),
        (["model.recipe.heads=3"], "model.recipe.hidden_size=64: it does not split into 3 heads"),
        (["model.recipe.steps=[]"], r"model.recipe.steps=\[\]: it names no step to publish"),
        (["text.window=1"], "text.window=1: at least 2"),
        (["stages=[probe,capture]"], "stages=.*in order.*capture, compare, probe, deactivate, cloze, generate, report"),
        (["stages=[]"], "stages=.*once each and in order"),
        (["dataset=files", "dataset.root=null"], r"dataset.root=null.*give dataset.root=FOLDER"),
        (["text=files", "text.root=null"], r"text.root=null.*give text.root=FOLDER"),
        (["model.path=/m"], "model.path=/m.*either a folder in Hugging Face layout, a recipe or a repository of the hub"),
        (["model=bloom-3b", "model.path=/m"], "model.path=/m.*either a folder.*needs one of them"),
        (["model.recipe=null"], "model.path=null.*either a folder.*needs one of them"),
        (["model=bloom-3b", "checkpoint=step100"], "checkpoint.step=100: bloom-3b never published.*1000, 10000, 50000.*300000"),
        (["model=llama2-7b", "checkpoint=step1000"], "llama2-7b never published.*only its final weights"),
        (["model=bloom-3b", "model.hub.checkpoint_revision=main"], "checkpoint_revision=main: it does not say.*{step}"),
        (["model=llama2-7b", "model.hub.steps=[1]"], "checkpoint_revision=null: it does not say.*{step}"),
    ],
)
def test_what_cannot_work_together_is_said_with_the_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        read(*overrides)
    assert "Remedy: " in str(error.value)


def test_the_threshold_check_lets_the_largest_useful_one_pass() -> None:
    assert read("probe.threshold=2.8").probe.threshold == 2.8


def test_the_slurm_launcher_composes_with_a_gpu_per_job() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["hydra/launcher=slurm_gpu", "hydra.launcher.partition=gpu"]
        launcher = compose("config", overrides, return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.tasks_per_node) == ("gpu", 1, 1)
