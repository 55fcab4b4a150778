"""The stages as records of their inputs: what a change redoes, what it leaves, and what a run asks of its folder."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lf_experiments.config import schema
from lf_experiments.config.schema import (
    Baseline,
    CacheConfig,
    CheckpointConfig,
    ClozeConfig,
    Config,
    ControlConfig,
    DatasetConfig,
    DescriptionConfig,
    GenerationConfig,
    InterventionConfig,
    LanguageSetConfig,
    Match,
    ModelConfig,
    ProbeConfig,
    RuntimeConfig,
    TextConfig,
    TrackingConfig,
    UncertaintyConfig,
    Windows,
)
from lf_experiments.storage import fingerprint
from lf_experiments.study import STAGES, corpora_of, declared, tables
from lf_experiments.study import bench as bench_module
from lf_experiments.study.bench import Bench, reading_code
from lf_experiments.study.deactivations import Deactivations
from lf_experiments.study.foresight import ANOTHER, foreseen
from lf_experiments.study.pools import pools_of_run

CONFIG = Config(
    model=ModelConfig(name="m", path="m"),
    checkpoint=CheckpointConfig(step=None),
    language_set=LanguageSetConfig(["en", "fr"]),
    dataset=DatasetConfig(name="d"),
    text=TextConfig(name="t", window=32),
    cloze=ClozeConfig(name="c"),
    probe=ProbeConfig(name="zscore"),
    intervention=InterventionConfig(name="zero"),
    tracking=TrackingConfig(project="p"),
    cache=CacheConfig(dir="nowhere"),
)
KNOWN = {"model": "1", "dataset": "2", "text": "3", "cloze": "4", "ends": "5"}
NAMES = ["capture", "compare", "baselines", "probe", "describe", "deactivate", "cloze", "generate", "tasks", "report"]
EVALUATIONS = {"deactivate", "cloze", "generate", "tasks"}
AFTER_PROBE = {"probe", "describe", *EVALUATIONS}
AFTER_COMPARE = {"compare", "baselines"}
ALL_BUT_REPORT = {"capture", *AFTER_COMPARE, *AFTER_PROBE}


def fingerprints(config: Config = CONFIG, known: dict[str, str] = KNOWN, done: dict | None = None) -> dict[str, str]:
    bench = SimpleNamespace(known=known, folder=SimpleNamespace(done=lambda: done or {}))
    return {name: stage.fingerprint for name, stage in declared(config, bench).items()}


def redone(config: Config = CONFIG, known: dict[str, str] = KNOWN, done: dict | None = None) -> set[str]:
    """The stages whose inputs are not those of `CONFIG`."""
    before, after = fingerprints(), fingerprints(config, known, done)
    return {name for name in after if after[name] != before[name]}


def test_the_configuration_names_the_stages_in_their_order() -> None:
    assert [stage.name for stage in schema.Stage] == [kind.name for kind in STAGES] == NAMES == list(fingerprints())


def test_equal_inputs_have_equal_fingerprints_and_every_stage_its_own() -> None:
    assert fingerprints() == fingerprints(replace(CONFIG))
    assert len(set(fingerprints().values())) == len(NAMES)


def test_another_probe_with_the_same_threshold_is_another_probe() -> None:
    assert redone(replace(CONFIG, probe=ProbeConfig(name="mine:method"))) == AFTER_PROBE


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ({"probe": ProbeConfig(name="zscore", threshold=1.5)}, AFTER_PROBE),
        ({"intervention": InterventionConfig(name="mean")}, EVALUATIONS),
        ({"intervention": InterventionConfig(name="zero", doses=[0.5, 1])}, EVALUATIONS),
        ({"control": ControlConfig(draws=7)}, {"deactivate", "cloze", "tasks"}),
        ({"control": ControlConfig(match=Match.layer)}, {"deactivate", "cloze", "tasks"}),
        ({"uncertainty": UncertaintyConfig(level=0.9)}, {*AFTER_COMPARE, *AFTER_PROBE}),
        ({"uncertainty": UncertaintyConfig(permutations=9)}, {*AFTER_COMPARE, *AFTER_PROBE}),
        ({"uncertainty": UncertaintyConfig(halves=9)}, AFTER_PROBE),
        ({"uncertainty": UncertaintyConfig(over_languages=True)}, AFTER_COMPARE),
        ({"baselines": [Baseline.tokens]}, {"baselines"}),
        ({"probe": ProbeConfig(name="zscore", replicated=True)}, AFTER_PROBE),
        ({"seed": 1}, {*AFTER_COMPARE, *AFTER_PROBE}),  # the sentences that it draws are known by their fingerprint
        ({"model": replace(CONFIG.model, context=64)}, {"deactivate", "cloze", "tasks"}),
        ({"tasks": ["xnli_fr"]}, {"tasks"}),
        ({"text": replace(CONFIG.text, window=64)}, {"deactivate"}),
        ({"text": replace(CONFIG.text, windows=Windows.documents)}, {"deactivate"}),
        ({"cloze": replace(CONFIG.cloze, regions=False)}, {"cloze"}),
        ({"description": DescriptionConfig(neurons=3)}, {"describe"}),
        ({"generation": GenerationConfig(tokens=8)}, {"generate"}),
        ({"generation": GenerationConfig(languages=["fr"])}, {"generate"}),
        ({"tracking": TrackingConfig(project="q")}, {"report"}),
        ({"runtime": RuntimeConfig(1, 2)}, set()),
        ({"cache": CacheConfig(dir="elsewhere", enabled=False)}, set()),
        ({"stages": [schema.Stage.capture]}, set()),
        ({"overwrite": True}, set()),
        ({"dataset": replace(CONFIG.dataset, root="moved", licence="other")}, set()),
        ({"text": replace(CONFIG.text, root="moved")}, set()),
    ],
)
def test_a_change_redoes_what_depends_on_it_and_nothing_else(change: dict, stages: set[str]) -> None:
    assert redone(replace(CONFIG, **change)) == stages


@pytest.mark.parametrize(
    ("what", "stages"),
    [
        ("model", ALL_BUT_REPORT),
        ("dataset", ALL_BUT_REPORT),
        ("text", {"deactivate"}),
        ("cloze", {"cloze"}),
        ("ends", {"generate", "tasks"}),
    ],
)
def test_other_texts_or_weights_redo_what_reads_them_and_what_follows(what: str, stages: set[str]) -> None:
    assert redone(known={**KNOWN, what: "other"}) == stages


def test_the_seed_is_no_input_of_what_draws_nothing() -> None:
    nothing = replace(CONFIG, uncertainty=UncertaintyConfig(None, 0, 0), baselines=[Baseline.tokens])
    assert {name for name in NAMES if fingerprints(nothing)[name] != fingerprints(replace(nothing, seed=1))[name]} == {
        "deactivate",
        "cloze",
        "tasks",
    }


def test_a_cloze_of_the_full_model_alone_does_not_depend_on_the_regions() -> None:
    whole = replace(CONFIG, cloze=replace(CONFIG.cloze, regions=False))
    another = replace(whole, probe=ProbeConfig(name="zscore", threshold=1.0), control=ControlConfig(7), seed=5)
    assert fingerprints(whole)["cloze"] == fingerprints(another)["cloze"]


def test_the_report_is_made_of_the_tables_there_are() -> None:
    tables_there = {"probe": {"files": {"regions.csv": {"bytes": 1, "sha256": "aa"}}}}
    assert redone(done=tables_there) == {"report"}
    folder = SimpleNamespace(done=lambda: {**tables_there, "report": {"files": {"report.html": {}}}})
    assert tables(folder) == {"probe": tables_there["probe"]["files"]}


def test_a_corpus_that_no_stage_reads_is_not_fetched() -> None:
    assert corpora_of({"capture", "generate"}) == {"dataset"}
    assert corpora_of({"deactivate"}) == {"text"}
    assert corpora_of({"capture", "cloze"}) == {"dataset", "cloze"}
    assert set(fingerprints(known={"model": "1", "dataset": "2", "ends": "3"})) == set(NAMES) - {"deactivate", "cloze"}


@pytest.mark.parametrize(
    ("change", "pools"),
    [
        ({}, ["mean", "magnitude"]),
        ({"control": ControlConfig(draws=0)}, ["mean"]),
        ({"control": ControlConfig(match=Match.layer)}, ["mean"]),
        ({"control": ControlConfig(match=Match.uniform)}, ["mean"]),
        ({"stages": [schema.Stage.capture, schema.Stage.probe, schema.Stage.generate]}, ["mean"]),
        ({"stages": [schema.Stage.cloze]}, ["mean", "magnitude"]),
    ],
)
def test_the_magnitude_is_kept_only_where_random_neurons_are_to_match_it(change: dict, pools: list[str]) -> None:
    assert pools_of_run(replace(CONFIG, **change)) == pools
    if change.get("stages") == [schema.Stage.cloze]:
        assert pools_of_run(replace(CONFIG, **change, cloze=replace(CONFIG.cloze, regions=False))) == ["mean"]


@pytest.mark.parametrize(
    ("control", "doses", "cells"),
    [(ControlConfig(), [1.0], 135), (ControlConfig(paper=2), [1.0], 153), (ControlConfig(), [0.5, 1], 261)],
)
def test_a_plan_counts_the_cells_of_nine_languages(control: ControlConfig, doses: list[float], cells: int) -> None:
    deactivations = Deactivations("", InterventionConfig(name="zero", doses=doses), control, 0)
    assert 9 * deactivations.passes(9) == cells


# Before a model is fetched ----------------------------------------------------------------------------------------------

HUB = {"repository": "org/m", "revision": "main", "checkpoint_repository": None, "checkpoint_revision": "step{step}"}
EARLIER = {
    "config": {"model": {"hub": HUB, "special_tokens": "model", "quantization": None}, "checkpoint": {"step": 10}},
    "model": {"fingerprint": "00ff", "end_tokens": [2, 5], "dtype": "float32"},
}


def changed(**values: object) -> dict:
    """The record of a run with another configuration: `changed(model__quantization="nf4")`."""
    record = deepcopy(EARLIER)
    for path, value in values.items():
        *groups, key = path.split("__")
        place = record["config"]
        for group in groups:
            place = place[group]
        place[key] = value
    return record


@pytest.mark.parametrize(
    ("new", "dtype", "model"),
    [
        (changed(), "auto", "00ff"),
        (changed(), "float32", "00ff"),
        (changed(), "bfloat16", ANOTHER),
        (changed(model__special_tokens="none"), "auto", ANOTHER),
        (changed(model__quantization="nf4"), "auto", ANOTHER),
        (changed(model__hub__repository="org/n"), "auto", ANOTHER),
        (changed(model__hub__checkpoint_revision="iter{step}"), "auto", ANOTHER),
        (changed(checkpoint__step=20), "auto", ANOTHER),
        (changed(checkpoint__step=None), "auto", "00ff"),  # the final weights may be those of this step
        (changed(model__hub=None), "auto", "00ff"),  # a local copy may be of this repository
        (changed(model__name="other", model__context=7), "auto", "00ff"),
    ],
)
def test_another_model_is_foreseen_only_where_it_is_certain(new: dict, dtype: str, model: str) -> None:
    found = foreseen(EARLIER, new, replace(CONFIG.model, dtype=schema.Dtype(dtype)))
    assert found == {"model": model, "ends": fingerprint([2, 5])}


def test_another_recipe_grows_another_model() -> None:
    recipe = {"seed": 0, "layers": 2, "steps": [5, 10]}
    old = changed(model__hub=None, model__recipe=recipe)
    for change, model in (({}, "00ff"), ({"steps": [10]}, "00ff"), ({"layers": 3}, ANOTHER)):
        new = changed(model__hub=None, model__recipe={**recipe, **change})
        assert foreseen(old, new, CONFIG.model)["model"] == model


def bench_with(reader, folder: Path, model: str = "m", enabled: bool = True) -> SimpleNamespace:
    """What `Bench.kept_cells` needs of a bench."""
    return SimpleNamespace(
        folder=SimpleNamespace(unfinished=lambda _: SimpleNamespace(kept=[], keep=lambda _: None)),
        _config=SimpleNamespace(cache=SimpleNamespace(enabled=enabled)),
        load_reader=lambda: reader,
        known={"model": model},
        cells=folder,
    )


def test_cells_are_kept_apart_by_model_stage_language_text_and_manner(reader, tmp_path: Path, monkeypatch) -> None:
    stage = SimpleNamespace(name="generate")

    def files(bench: SimpleNamespace, *how: object, named: SimpleNamespace = stage) -> list[Path]:
        kept = Bench.kept_cells(bench, named, {"zh": ["x"], "yue": ["x"], "en": ["y"]}, *how)
        return list(kept._cache.files.values())

    found = files(bench_with(reader, tmp_path), 8)
    assert files(bench_with(reader, tmp_path), 8) == found
    others = [
        files(bench_with(reader, tmp_path), 9),
        files(bench_with(reader, tmp_path, model="n"), 8),
        files(bench_with(reader, tmp_path), 8, named=SimpleNamespace(name="cloze")),
    ]
    monkeypatch.setattr(bench_module, "reading_code", lambda: "edited")
    others.append(files(bench_with(reader, tmp_path), 8))
    assert len({path for paths in (found, *others) for path in paths}) == 15
    assert files(bench_with(reader, tmp_path, enabled=False), 8) == []


def test_an_edit_of_the_code_that_reads_is_noticed(tmp_path: Path, monkeypatch) -> None:
    for room in ("evaluations", "models", "neurons", "figures"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "code.py").write_text("before")
    monkeypatch.setattr(bench_module, "__file__", str(tmp_path / "study" / "bench.py"))
    names = []
    for room in ("figures", "neurons"):
        names.append(reading_code.__wrapped__())
        (tmp_path / room / "code.py").write_text("after")
    assert names[0] == names[1] != reading_code.__wrapped__()
