"""The configuration: every file composes, typos are refused three ways, and what cannot work together is said."""

import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from lf_experiments.__main__ import configuration_folder
from lf_experiments.config.checks import RESERVED_CODES
from lf_experiments.config.options import group_choices, options_of
from lf_experiments.config.reference import keys, yaml_text
from lf_experiments.config.schema import Config, Stage
from lf_experiments.errors import InputError
from lf_experiments.inputs import checked_config
from lf_experiments.languages import LANGUAGES
from lf_experiments.neurons.interventions import NONE, RANDOM

CONF = Path(configuration_folder())
OPTIONS = sorted((path.parent.name, path.stem) for path in CONF.glob("*/*.yaml"))
NEEDED = {
    ("model", "local"): ["model.path=/models/mine"],
    ("checkpoint", "step"): ["checkpoint.step=200"],
    ("dataset", "ntrex"): ["dataset.root=/data"],
    ("dataset", "files"): ["dataset.root=/data"],
    ("text", "files"): ["text.root=/data"],
    ("probe", "file"): ["probe.path=/data/neurons.pth"],
}
"""What some options leave to the user."""


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(overrides))


def read(*overrides: str) -> Config:
    return checked_config(composed(*overrides))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_passes_the_checks(group: str, option: str) -> None:
    assert isinstance(read(f"{group}={option}", *NEEDED.get((group, option), [])), Config)


def test_every_option_begins_with_a_comment_that_says_what_it_is() -> None:
    for group, option in OPTIONS:
        assert (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").startswith("#"), (group, option)


def test_every_key_of_the_root_file_has_its_choices_in_a_comment() -> None:
    for group in {group for group, _ in OPTIONS} - {"experiment"}:
        line = next(line for line in (CONF / "config.yaml").read_text(encoding="utf-8").splitlines() if f"- {group}:" in line)
        assert "#" in line


def test_the_default_is_the_grown_model_at_its_last_step_in_the_nine_languages() -> None:
    config = read()
    assert (config.model.name, config.checkpoint.step, config.seed) == ("bloom-nano", None, 0)
    assert (config.dataset.sentences, config.probe.threshold, config.control.draws) == (100, 2.0, 5)
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
        (["probe.name=entropy"], "probe.name=entropy: there is none of this name.*choose among .*zscore"),
        (["probe.name=nowhere:entropy"], "probe.name=nowhere:entropy: there is no module nowhere"),
        (["probe.name=math:entropy"], "probe.name=math:entropy: the module math has no entropy"),
        (["measures=[nowhere:near]"], "measures=nowhere:near: there is no module nowhere"),
        (["measures=[math:lrds]"], "measures=math:lrds: there is another measure called lrds"),
        (["language_set.languages=[en,fr,en]"], "language_set.languages=.*name each language once"),
        (["language_set.languages=[en]"], "two or more different languages"),
        (["checkpoint=step", "checkpoint.step=70"], "checkpoint.step=70: bloom-nano never published.*0, 10, 30, 60.*900"),
        (["model=local", "model.path=/m", "checkpoint=step100"], "never published.*only its final weights"),
        (["language_set.languages=[en,none]"], "none has a meaning of its own.*call the language x-none"),
        (["language_set.languages=[en,random]"], "random has a meaning of its own"),
        (["language_set.languages=[en,'']"], "'' cannot be a file name"),
        (["language_set.languages=[en,../data/fr]"], "'../data/fr' cannot be a file name.*without / and .."),
        (["language_set.languages=[en,'..']"], "'..' cannot be a file name"),
        (["dataset.sentences=1"], "dataset.sentences=1: at least 2"),
        (["intervention.fraction=0"], "intervention.fraction=0.0: it is no share.*above 0 and at most 1"),
        (["intervention.fraction=1.5"], "intervention.fraction=1.5: it is no share"),
        (["probe.budget=top:2"], "probe.budget=top:2: it is none of threshold"),
        (["probe.meanings=1.5"], "probe.meanings=1.5: it is no share of the meanings.*above 0 and at most 1"),
        (["probe.meanings=0.01"], "probe.meanings=0.01: regions need two meanings.*100 sentences.*probe.meanings=0.5"),
        (["probe.meanings=1.5"], "probe.meanings=1.5: "),
        (["probe.threshold=-5"], "probe.threshold=-5.0: at least 0"),
        (["probe.threshold=nan"], "probe.threshold=nan: a finite number"),
        (["probe.threshold=-inf"], "probe.threshold=-inf: a finite number"),
        (["uncertainty.level=95"], "uncertainty.level=95.0: .*at least 0.5 and below 1.*level=0.95, or null"),
        (["uncertainty.level=1"], "uncertainty.level=1.0"),
        (["uncertainty.permutations=-1"], "uncertainty.permutations=-1: at least 0"),
        (["uncertainty.halves=-1"], "uncertainty.halves=-1: at least 0"),
        (
            ["uncertainty=none", "probe.replicated=true"],
            "probe.replicated=true: .*uncertainty.halves is 0.*give uncertainty.halves=20",
        ),
        (["baselines=[tokens,tokens]"], "baselines=.*named twice"),
        (["cache.max_gib=-1"], "cache.max_gib=-1.0: at least 0"),
        (["cache.max_gib=nan"], "cache.max_gib=nan: a finite number"),
        (["model.context=-5"], "model.context=-5: at least 1"),
        (["model.context=0"], "model.context=0: at least 1"),
        (["intervention.doses=[1,inf]"], "intervention.doses=inf: a finite number"),
        (["model.recipe.learning_rate=nan"], "model.recipe.learning_rate=nan: a finite number"),
        (["hardware.throughput=inf"], "hardware.throughput=inf: a finite number"),
        (["tracking.tags=['',a]"], "tracking.tags=.*a tag is empty"),
        (["control.draws=-1"], "control.draws=-1: at least 0"),
        (["runtime.batch_tokens=0"], "runtime.batch_tokens=0: at least 1"),
        (["runtime.tensor_parallel=2", "model.device_map=auto"], "tensor_parallel=2: .*together with model.device_map=auto"),
        (["runtime.tensor_parallel=2", "model.quantization=nf4"], "tensor_parallel=2: .*together with model.quantization=nf4"),
        (["runtime.tensor_parallel=2", "export=/e"], "tensor_parallel=2: .*together with export=/e.*leave out one of the two"),
        (["model.recipe.batch_size=0"], "model.recipe.batch_size=0: at least 1"),
        (["model.recipe.vocabulary=100"], "model.recipe.vocabulary=100: at least 258"),
        (["model.recipe.heads=3"], "model.recipe.hidden_size=64: it does not split into 3 heads"),
        (
            ["model.recipe.cued=0.7"],
            "model.recipe.cued=0.7: with translated=0.2 and switching=0.2 the shares of stories exceed 1",
        ),
        (["model.recipe.switching=-0.1"], "model.recipe.switching=-0.1: at least 0"),
        (["model.recipe.steps=[]"], r"model.recipe.steps=\[\]: it names no step to publish"),
        (["text.window=1"], "text.window=1: at least 2"),
        (
            ["stages=[probe,capture]"],
            "stages=.*in order.*capture, compare, baselines, probe, describe, deactivate, cloze, generate, tasks, report",
        ),
        (["stages=[]"], "stages=.*once each and in order"),
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


def test_a_probe_of_ones_own_needs_no_fork_and_has_its_own_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from lf_experiments.errors import InputError

def check(probe, languages):
    if probe.threshold > 100:
        raise InputError("probe.threshold", probe.threshold, "too much", "give less")

def mine(activations, probe): ...
"""
    (tmp_path / "methods_of_mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert read("probe.name=methods_of_mine:mine", "probe.threshold=99").probe.threshold == 99
    with pytest.raises(InputError, match="probe.threshold=101.0: too much"):
        read("probe.name=methods_of_mine:mine", "probe.threshold=101")


def test_the_slurm_launcher_composes_with_a_gpu_per_job() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["hydra/launcher=slurm_gpu", "hydra.launcher.partition=gpu"]
        launcher = compose("config", overrides, return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert (launcher.partition, launcher.gpus_per_node, launcher.tasks_per_node) == ("gpu", 1, 1)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["model.path=/models/mine"], "mine"),
        (["model.path=/models/Qwen3-0.6B/"], "Qwen3-0.6B"),
        (["model.path=/models/Qwen3-0.6B-Q4.gguf"], "Qwen3-0.6B-Q4"),
        (["model.path=/models/mine", "model.name=other"], "other"),
    ],
)
def test_a_local_model_is_called_as_its_folder_or_file_unless_it_is_given_a_name(overrides: list[str], name: str) -> None:
    assert read("model=local", *overrides).model.name == name


def test_a_local_model_whose_path_is_relative_is_called_as_the_folder_it_is(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path / "weights")
    assert read("model=local", "model.path=.").model.name == "weights"


# Defaults stand once --------------------------------------------------------------------------------------------------


DEFAULTS = {key.name: key.default for key in keys()}
"""As in YAML; empty for keys without a default."""


def plain(values: Any, key: str = "") -> dict[str, str]:
    """{dotted key: value as in YAML} of what a file says, but for the defaults list and the keys of Hydra."""
    if not isinstance(values, dict):
        return {key: yaml_text(values)}
    inner = {name: value for name, value in values.items() if key or name not in ("defaults", "hydra")}
    return {k: v for name, value in inner.items() for k, v in plain(value, f"{key}.{name}" if key else str(name)).items()}


def repeated(path: Path, group: str = "") -> list[str]:
    """The keys of a file whose values are those of the schema, or in the root file all that have a default there."""
    found = plain(OmegaConf.to_container(OmegaConf.load(path)), group)
    return [key for key, value in found.items() if DEFAULTS.get(key) and (value == DEFAULTS[key] or not group)]


def test_the_root_file_gives_no_value_to_a_key_with_a_default() -> None:
    assert repeated(CONF / "config.yaml") == []


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] != "experiment"])
def test_no_option_repeats_a_default_of_the_schema(group: str, option: str) -> None:
    must_be_given = [f"{group}.root", f"{group}.path"]
    assert set(repeated(CONF / group / f"{option}.yaml", group)) <= set(must_be_given)


def test_a_repeated_default_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\ncontrol:\n  draws: 1\nhydra:\n  job: {}\n")
    assert repeated(tmp_path / "config.yaml") == ["seed", "control.draws"]
    (tmp_path / "mine.yaml").write_text("name: mine\nrecipe:\n  window: 128\n  batch_size: 21\n")
    assert repeated(tmp_path / "mine.yaml", "model") == ["model.recipe.window"]


def test_the_choices_in_the_comments_of_the_root_file_are_those_there_are() -> None:
    for group, choices in group_choices().items():
        named = re.split(r"[,;]? +", choices.rpartition(": ")[2])
        if "..." not in choices and group != "checkpoint":
            assert sorted(named) == sorted(options_of(group)), group
        ends = re.findall(r"(\S+) \.\.\. (\S+)", choices)
        assert {option for pair in ends for option in pair} <= set(options_of(group)), group


# Options and methods of a user's own ------------------------------------------------------------------------------------


def test_a_folder_of_ones_own_brings_options_of_any_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for group, text in (
        ("probe", "name: my_probes:loudest\nthreshold: 1.5\n"),
        ("intervention", "name: my_edits:halve\ndoses: [0.5, 1.0]\n"),
        ("language_set", "languages: [en, fr, zh, ar]\n"),
    ):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    choices = ("probe=mine", "intervention=mine", "language_set=mine", f"hydra.searchpath=[file://{tmp_path}]")
    with pytest.raises(InputError, match="probe.name=my_probes:loudest: there is no module my_probes"):
        read(*choices)
    (tmp_path / "my_probes.py").write_text("def loudest(activations, probe):\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="intervention.name=my_edits:halve: there is no module my_edits"):
        read(*choices)
    (tmp_path / "my_edits.py").write_text("def halve(h_N, where_N, value_N, dose):\n    return h_N\n")
    config = read(*choices)
    assert (config.probe.name, config.probe.threshold) == ("my_probes:loudest", 1.5)
    assert (config.intervention.name, config.intervention.doses) == ("my_edits:halve", [0.5, 1.0])
    assert config.languages == ["en", "fr", "zh", "ar"]


def test_codes_with_a_meaning_of_their_own_are_those_of_the_tables() -> None:
    assert RESERVED_CODES == (NONE, RANDOM)


def test_without_uncertainty_nothing_of_it_is_computed() -> None:
    given, none = read().uncertainty, read("uncertainty=none").uncertainty
    assert (given.level, given.permutations, given.halves, given.over_languages) == (0.95, 100, 20, False)
    assert (none.level, none.permutations, none.halves) == (None, 0, 0)


def test_the_intervention_is_the_papers_at_its_full_dose() -> None:
    config = read()
    assert (config.intervention.name, config.intervention.doses) == ("zero", [1.0])
    assert (config.plan, config.overwrite) == (False, False)
