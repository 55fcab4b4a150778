"""The configuration: every file composes, typos are refused three ways, and what cannot work together is said."""

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


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes_the_checks(group: str, option: str) -> None:
    assert isinstance(read(f"{group}={option}", *NEEDED.get((group, option), [])), Config)


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
    assert sorted(config.languages) == sorted(LANGUAGES)
    assert config.stages == list(Stage)


def test_every_published_step_of_a_nano_model_is_an_option() -> None:
    steps = {int(option.removeprefix("step")) for group, option in OPTIONS if group == "checkpoint" and option[4:].isdigit()}
    for model in ("bloom-nano", "bloom-nano-s", "bloom-nano-l", "llama-nano"):
        assert set(read(f"model={model}").model.recipe.steps) <= steps


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
        (["text.window=1"], "text.window=1: at least 2"),
        (["stages=[probe,capture]"], "stages=.*in order.*capture, compare, probe, deactivate, report"),
        (["stages=[]"], "stages=.*once each and in order"),
        (["dataset=files", "dataset.root=null"], r"dataset.root=null.*give dataset.root=FOLDER"),
        (["text=files", "text.root=null"], r"text.root=null.*give text.root=FOLDER"),
        (["model.path=/m"], "model.path=/m.*either a folder in Hugging Face layout or a recipe"),
    ],
)
def test_what_cannot_work_together_is_said_with_the_remedy(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        read(*overrides)
    assert "Remedy: " in str(error.value)


def test_the_threshold_check_lets_the_largest_useful_one_pass() -> None:
    assert read("probe.threshold=2.8").probe.threshold == 2.8
