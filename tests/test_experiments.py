"""Every figure and table of the paper is an experiment, and a whole paper is all of its experiments without anything twice."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

import lf_experiments.__main__  # noqa: F401 - registers the schema
from lf_experiments.config.checks import PROBES
from lf_experiments.config.schema import Config, Stage
from lf_experiments.extensions import names_in
from lf_experiments.inputs import checked_config
from lf_experiments.multirun.jobs import job_config, sweep_jobs

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
NUMBERED = [name for name in EXPERIMENTS if name.startswith(("figure", "table")) and name != "figure7_scale_bloom"]

BLOOM_STEPS = [1000, 10000, 50000, 150000, 200000, 250000, 300000]  # 100000 is known to be bad
BLOOM_SIZES = ["bloom-560m", "bloom-1b1", "bloom-1b7", "bloom-3b", "bloom-7b1"]
LLAMA_SIZES = ["llama2-7b", "llama2-13b", "llama2-70b"]
NANO_STEPS = [0, 10, 30, 60, 100, 200, 400]

MAP, REGIONS = "capture compare report", "capture probe report"
OVER_MODELS = "capture compare probe cloze report"
EVERYTHING = "capture compare baselines probe describe deactivate cloze generate tasks report"
TEXT = "capture probe generate report"
DEACTIVATION = "capture probe deactivate report"

Point = tuple[str, int | None]
"""A model, and its training step or None for its final weights."""

FINAL_BLOOM: list[Point] = [("bloom-7b1", None)]
BLOOM_OVER_TRAINING: list[Point] = [("bloom-7b1", step) for step in BLOOM_STEPS]
FINAL_LLAMA: list[Point] = [("llama2-7b", None)]

EXPECTED: dict[str, tuple[str, list[Point]]] = {
    "figure2_similarity_map": (MAP, FINAL_BLOOM),
    "figure3_layer_scores": (MAP, FINAL_BLOOM),
    "figure4_training_dynamics": (OVER_MODELS, BLOOM_OVER_TRAINING),
    "figure5_key_neurons_by_layer_and_step": (REGIONS, BLOOM_OVER_TRAINING),
    "figure6_key_neurons_by_language_and_step": (REGIONS, BLOOM_OVER_TRAINING),
    "figure7_model_scale": (OVER_MODELS, [(size, None) for size in BLOOM_SIZES]),
    "figure8_similarity_maps_llama2": (MAP, [(size, None) for size in LLAMA_SIZES]),
    "figure9_layer_scores_llama2": (MAP, FINAL_LLAMA),
    "figure10_model_scale_llama2": (OVER_MODELS, [(size, None) for size in LLAMA_SIZES]),
    "figure11_key_neurons_by_language_llama2": (REGIONS, FINAL_LLAMA),
    "table1_deactivation": (DEACTIVATION, FINAL_BLOOM),
    "table2_generations": (TEXT, FINAL_BLOOM),
    "table3_generations_llama2": (TEXT, FINAL_LLAMA),
    "table4_deactivation_llama2": (DEACTIVATION, FINAL_LLAMA),
}
"""The stages of every figure and table, and the models it is about."""

IN_THE_FOLDER_OF_A_RUN = ["figure2_similarity_map", "figure3_layer_scores", "table1_deactivation", "table2_generations"]

PAPERS: dict[str, list[tuple[Point, str]]] = {
    "paper_bloom": [
        (("bloom-7b1", None), EVERYTHING),
        *[(("bloom-7b1", step), OVER_MODELS) for step in BLOOM_STEPS],
        *[((size, None), OVER_MODELS) for size in BLOOM_SIZES[:-1]],
    ],
    "paper_llama2": [
        (("llama2-7b", None), EVERYTHING),
        (("llama2-13b", None), OVER_MODELS),
        (("llama2-70b", None), OVER_MODELS),
    ],
    "paper_nano": [
        (("bloom-nano", None), EVERYTHING),
        *[(("bloom-nano", step), OVER_MODELS) for step in NANO_STEPS],
        (("bloom-nano-s", None), OVER_MODELS),
        (("bloom-nano-l", None), OVER_MODELS),
        (("llama-nano", None), EVERYTHING),
        (("llama-nano-s", None), OVER_MODELS),
        (("llama-nano-l", None), OVER_MODELS),
    ],
}
"""The jobs of every whole paper, in order: the model and its stages."""


@cache
def composed(*overrides: str) -> DictConfig:
    """The configuration of a command with --multirun."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return loader.load_configuration("config", list(overrides), run_mode=RunMode.MULTIRUN)


@cache
def jobs(*overrides: str) -> list[Config]:
    """The checked configuration of every job of a command, as a multirun checks them."""
    config = composed(*overrides)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        return [checked_config(job_config(config, job, loader)) for job in sweep_jobs(config, list(overrides), loader)]


def is_sweep(experiment: str) -> bool:
    """Whether an experiment starts several jobs without --multirun."""
    return composed(f"experiment={experiment}").hydra.mode is RunMode.MULTIRUN


def point(config: Config) -> Point:
    return config.model.name, config.checkpoint.step


def stages(config: Config) -> str:
    return " ".join(stage.name for stage in config.stages)


def test_every_figure_and_table_of_the_paper_is_one_experiment() -> None:
    numbers = [f"figure{number}" for number in range(2, 12)] + [f"table{number}" for number in range(1, 5)]
    assert sorted(name.partition("_")[0] for name in NUMBERED) == sorted(numbers)
    assert sorted(NUMBERED) == sorted(EXPECTED)


def test_an_experiment_is_named_as_the_module_that_draws_its_figure() -> None:
    modules = {path.stem for path in (ROOT / "lf_experiments" / "figures").glob("*[0-9]_*.py")}
    of_one_run = {"figure5_key_neurons_by_layer", "figure6_key_neurons_by_language"}
    assert of_one_run < modules
    assert modules - of_one_run <= set(NUMBERED)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_second_line_of_an_experiment_is_its_command(experiment: str) -> None:
    first, second, third, *_ = (CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8").splitlines()
    assert (first, second) == ("# @package _global_", f"# python -m lf_experiments experiment={experiment}")
    assert third.startswith("# ")


@pytest.mark.parametrize("experiment", EXPECTED)
def test_a_figure_runs_what_it_needs_on_the_models_of_the_paper(experiment: str) -> None:
    configs = jobs(f"experiment={experiment}")
    needed, points = EXPECTED[experiment]
    assert [point(config) for config in configs] == points
    assert {stages(config) for config in configs} == {needed}
    assert is_sweep(experiment) == (experiment not in IN_THE_FOLDER_OF_A_RUN)


@pytest.mark.parametrize("experiment", PAPERS)
def test_a_whole_paper_is_these_jobs_in_this_order(experiment: str) -> None:
    configs = jobs(f"experiment={experiment}")
    assert [(point(config), stages(config)) for config in configs] == PAPERS[experiment]
    assert [config.cloze.regions for config in configs] == [stages(config) == EVERYTHING for config in configs]
    assert is_sweep(experiment)


@pytest.mark.parametrize(("paper", "family"), [("paper_bloom", "bloom"), ("paper_llama2", "llama2")])
def test_a_whole_paper_is_the_figures_and_tables_of_its_family_and_nothing_else(paper: str, family: str) -> None:
    done = {point(config): set(config.stages) for config in jobs(f"experiment={paper}")}
    needed: dict[Point, set[Stage]] = {}
    for config in [config for name in EXPECTED for config in jobs(f"experiment={name}")]:
        if config.model.name.startswith(family):
            needed.setdefault(point(config), set()).update(config.stages)
    assert set(needed) == set(done)
    assert all(needed[place] <= done[place] for place in done)


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name != "methods"])
def test_no_weights_are_captured_twice_in_one_experiment(experiment: str) -> None:
    weights = [checkpoint_folder_name(config) for config in jobs(f"experiment={experiment}")]
    assert len(set(weights)) == len(weights)


def test_methods_are_compared_on_equal_terms_model_by_model() -> None:
    found = jobs("experiment=methods")
    assert [config.model.name for config in found] == ["bloom-nano"] * 10 + ["llama-nano"] * 10
    assert {config.probe.name for config in found[:10]} == set(names_in(PROBES)) - {"file"}
    assert {(config.probe.budget, config.probe.meanings, config.text.held_out) for config in found} == {
        ("as:zscore", 0.5, True)
    }
    over_training = jobs("experiment=methods", "model=bloom-nano", "probe=zscore,lape", "checkpoint=step0,step30")
    assert [(config.checkpoint.step, config.probe.name) for config in over_training] == [
        (step, probe) for step in (0, 30) for probe in ("zscore", "lape")
    ]


def checkpoint_folder_name(config: Config) -> str:
    """The weights of a job and how they are read with: the last step of a recipe is its final weights."""
    step = config.checkpoint.step
    if step is None and config.model.recipe:
        step = config.model.recipe.steps[-1]
    seed = config.model.recipe.seed if config.model.recipe else None
    return f"{config.model.name} at {step}, trained with seed {seed}, special tokens {config.model.special_tokens.name}"


@pytest.mark.parametrize("experiment", ["figure4_training_dynamics", "paper_bloom", "paper_nano", "nano_training"])
def test_training_is_every_published_step_that_is_not_known_to_be_bad(experiment: str) -> None:
    model = jobs(f"experiment={experiment}")[0].model
    known_bad = model.hub.known_bad if model.hub else {}
    expected = {step for step in model.published_steps if step not in known_bad}
    measured = {config.checkpoint.step for config in jobs(f"experiment={experiment}") if config.model.name == model.name}
    if experiment == "paper_nano":
        measured = measured - {None} | {max(model.recipe.steps)}
    assert measured - {None} == expected


@pytest.mark.parametrize("experiment", [*EXPECTED, "paper_bloom", "paper_llama2"])
def test_the_corpora_are_those_of_the_paper(experiment: str) -> None:
    for config in jobs(f"experiment={experiment}"):
        assert (config.dataset.name, config.dataset.sentences, len(config.languages)) == ("bible", 100, 9)
        assert config.text.name == "xlsum" or Stage.deactivate not in config.stages
        assert config.cloze.name == "xstorycloze" or Stage.cloze not in config.stages
        assert config.probe.threshold == 2


@pytest.mark.parametrize("experiment", ["table2_generations", "table3_generations_llama2", *PAPERS])
def test_three_sentences_in_the_three_languages_of_the_paper_are_continued(experiment: str) -> None:
    for config in jobs(f"experiment={experiment}"):
        assert (config.generation.languages, config.generation.samples) == (["en", "fr", "zh"], 3)


def test_special_tokens_are_an_experiment_on_any_model() -> None:
    own = jobs("experiment=special_tokens", "model=local", "model.path=/models/mine")
    for configs, name in ((jobs("experiment=special_tokens"), "gemma3-270m"), (own, "mine")):
        assert [(config.model.name, config.model.special_tokens.name) for config in configs] == [
            (name, "model"),
            (name, "none"),
        ]
        assert {(config.dataset.name, stages(config)) for config in configs} == {
            ("ntrex", "capture compare probe deactivate generate report")
        }
    assert is_sweep("special_tokens")


@pytest.mark.parametrize("experiment", [*EXPECTED, *PAPERS])
def test_the_models_of_the_paper_are_read_as_they_were_trained(experiment: str) -> None:
    assert {config.model.special_tokens.name for config in jobs(f"experiment={experiment}")} == {"model"}


def test_figure_7_has_a_second_name() -> None:
    assert jobs("experiment=figure7_scale_bloom") == jobs("experiment=figure7_model_scale")
    assert is_sweep("figure7_scale_bloom")


def test_the_paper_in_miniature_reads_nothing_but_the_bundled_world() -> None:
    for config in jobs("experiment=paper_nano"):
        assert config.model.recipe
        assert {config.dataset.name, config.text.name, config.cloze.name} == {"miniature"}


def test_the_command_line_goes_with_every_job_of_a_whole_paper() -> None:
    with_seeds = jobs("experiment=paper_llama2", "seed=1,2", "dataset=miniature")
    assert [(config.model.name, config.seed) for config in with_seeds] == [
        (size, seed) for size in LLAMA_SIZES for seed in (1, 2)
    ]
    assert {config.dataset.name for config in with_seeds} == {"miniature"}


def test_the_command_line_wins_over_a_whole_paper() -> None:
    with_stages = jobs("experiment=paper_llama2", "stages=[capture,report]")
    assert [(config.model.name, stages(config)) for config in with_stages] == [(size, "capture report") for size in LLAMA_SIZES]
    one_model = jobs("experiment=paper_llama2", "model=llama-nano", "stages=[capture]", "cloze.regions=true")
    assert [point(config) for config in one_model] == [("llama-nano", None)]


@pytest.mark.parametrize("size", ["s", "l"])
def test_the_sizes_of_the_tiny_llama_are_those_of_the_tiny_bloom(size: str) -> None:
    recipes = {family: jobs(f"model={family}-nano-{size}")[0].model.recipe for family in ("bloom", "llama")}
    middle = jobs("model=llama-nano")[0].model.recipe
    assert recipes["llama"].architecture.name == "llama"
    assert recipes["llama"].hidden_size == recipes["bloom"].hidden_size != middle.hidden_size
    assert recipes["llama"].heads == recipes["bloom"].heads
    assert recipes["llama"].steps == recipes["bloom"].steps == middle.steps
    assert (recipes["llama"].layers < middle.layers) == (size == "s")


@pytest.mark.slow
def test_one_command_draws_every_figure_and_table_of_the_paper(tmp_path: Path) -> None:
    """The real grids of the paper in miniature, on models that have hardly grown and with fewer training steps."""
    text = (CONF / "experiment" / "paper_nano.yaml").read_text(encoding="utf-8")
    steps = ",".join(f"step{step}" for step in NANO_STEPS)
    assert steps in text
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "tiny_paper.yaml").write_text(text.replace(steps, "step0,step30"), encoding="utf-8")
    growth = ["model.recipe.steps=[0,30,60]", "model.recipe.window=64", "model.recipe.batch_size=2", "model.context=64"]
    reading = [
        "dataset.sentences=8",
        "text.window=64",
        "text.window_count=6",
        "control.draws=1",
        "cloze.stories=3",
        "generation.samples=1",
        "generation.tokens=4",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "lf_experiments", "experiment=tiny_paper", f"hydra.searchpath=[file://{tmp_path / 'conf'}]"]
        + [*growth, *reading, "tracking=none", "hydra.sweep.dir=sweep"],
        cwd=tmp_path,
        env={**os.environ, "LF_EXPERIMENTS_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "sweep").glob("*/run.json")]
    assert len(runs) == 8
    random_weights = sum("baselines" in run["stages"] for run in runs)
    assert found.stderr.count("capture: 100%") == len(runs) + random_weights  # nothing is captured twice
    figures = tmp_path / "sweep" / "figures"
    assert [stem for stem in EXPECTED for suffix in ("png", "pdf") if not (figures / f"{stem}.{suffix}").exists()] == []
