"""Run and Sweep read what is in the folders, name what they cannot read, and a sweep's table says so instead of ending."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from run_folders import edit, family_of, write_job, write_run_folder

from lf_experiments.errors import InputError
from lf_experiments.runs.cells import bits_per_byte, cells
from lf_experiments.runs.derived import continuations, full_model, increases, language_similarities
from lf_experiments.runs.metrics import Metrics
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import CLOZE, LRDS, PERPLEXITY, SCORES
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.variants import variant_texts

CODES = ["en", "zh", "ar"]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_run_folder(tmp_path / "run", CODES)


@pytest.fixture
def sweep_folder(tmp_path) -> Path:
    for step in (0, 30, 100):
        write_job(tmp_path / f"step{step}", step, languages=CODES, cloze=True)
    return tmp_path


# One run ----------------------------------------------------------------------------------------------------------------


def test_a_run_says_what_its_files_say_and_reads_each_once(folder):
    run = Run(str(folder))
    assert (run.status, run.name, run.title) == ("done", "bloom-nano", "bloom-nano, training step 3,000")
    assert run.metrics["lrds"] == 0.2113 and run.metrics.family == "bloom-nano"
    pd.testing.assert_frame_equal(run.perplexity, pd.read_csv(folder / "perplexity.csv"))
    np.testing.assert_array_equal(run.similarity, np.load(folder / "similarity.npy"))
    assert run.perplexity is run.perplexity
    assert run.has("layers.csv", "regions.csv") and not run.has("layers.csv", "none.csv")


def test_what_is_not_there_is_none(tmp_path):
    run = Run(tmp_path / "empty")
    assert run.record is run.metrics is run.regions is run.pairs is run.similarity is run.language_similarities is None
    assert (run.status, run.name, run.title, run.stages_done) == ("unknown", "empty", "", 0)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("run.json", b'{"status": "do', "JSONDecodeError"),
        ("run.json", b"", "JSONDecodeError"),
        ("run.json", b"\xff\xfe\x00", "UnicodeDecodeError"),
        ("run.json", b"[]", "not the record of a run"),
        ("run.json", b'{"foo": 1}', "not the record of a run"),
        ("metrics.json", b'{"lrds": 1', "JSONDecodeError"),
        ("metrics.json", b'{"foo": 1}', "not the metrics of a run"),
        ("metrics.json", b'{"model": "m", "checkpoint": "final", "lrds": "high"}', "lrds is high"),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_names_the_file(folder, name, content, words):
    (folder / name).write_bytes(content)
    run = Run(folder)
    with pytest.raises(InputError, match=words) as error:
        _ = run.record, run.metrics
    assert str(folder / name) in str(error.value) and "Remedy:" in str(error.value)
    assert run.status == "unreadable"


@pytest.mark.parametrize("name", ["perplexity.csv", "key_neurons.parquet", "similarity.npy"])
def test_a_cut_table_is_an_error_that_names_it(folder, name):
    (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name}: it cannot be read"):
        getattr(Run(folder), name.partition(".")[0])


def test_a_mean_over_languages_needs_all_of_them():
    metrics = Metrics.from_json({"model": "m", "checkpoint": "final", "perplexity": {"en": 2.0, "zh": 4.0}, "lrds": 0.5})
    assert (metrics.value(PERPLEXITY), metrics.value(LRDS), metrics.value(CLOZE)) == (3.0, 0.5, None)
    lacking = Metrics.from_json({"model": "m", "checkpoint": "final", "perplexity": {"en": 2.0, "zh": None}})
    assert lacking.value(PERPLEXITY) is None


def test_metrics_come_back_as_they_were_written(folder):
    content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    written = Metrics.from_json(content).as_json()
    not_measured = {score.key: {} if score.by_language else None for score in SCORES if score.key not in content}
    assert written == content | not_measured
    ends = {"lrds_lo": 0.2, "lrds_hi": 0.22}
    assert Metrics.from_json(content | ends).interval("lrds") == (0.2, 0.22)
    assert Metrics.from_json(content).interval("lrds") is None


def test_what_follows_from_the_tables(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    assert full_model(table).to_dict() == {"en": 13.94, "zh": 24.01, "ar": 14.45}
    found = increases(table)
    assert list(found.columns) == [*CODES, "random"]
    rows = table[(table["deactivated"] == "random") & (table["language"] == "zh")]
    assert found.loc["zh", "random"] == pytest.approx(rows["increase_percent"].mean())


def test_the_increase_is_that_at_the_full_dose(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    half = table[table["deactivated"] != "none"].assign(dose=0.5, increase_percent=-99.0)
    pd.testing.assert_frame_equal(increases(pd.concat([table.assign(dose=1.0), half])), increases(table))


def test_the_cells_of_the_matrix_are_nats_at_the_full_dose_with_their_intervals_and_controls_last(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    found = cells(Run(folder)).set_index(["language", "deactivated"])
    assert list(found.index.get_level_values("deactivated").unique()) == [*CODES, "random"]
    assert found[["nats_lo", "against_control"]].isna().all(axis=None)  # an older run has none
    nats = np.log1p(table["increase_percent"] / 100)
    half = table.assign(dose=0.5, log_ratio=nats / 2, lo=nats / 2 - 0.1, hi=nats / 2 + 0.1)
    whole = table.assign(dose=1.0, log_ratio=nats, lo=nats - 0.2, hi=nats + 0.2, against_control=nats - 0.3)
    pd.concat([whole, half[half["deactivated"] != "none"]]).assign(matches="").to_csv(folder / "perplexity.csv", index=False)
    found = cells(Run(folder)).set_index(["language", "deactivated"])
    for (language, off), cell in found.iterrows():
        rows = table[(table["language"] == language) & (table["deactivated"] == off)]
        expected = np.log(rows["perplexity"]).mean() - math.log(table[table["language"] == language]["perplexity"].iloc[0])
        assert cell["nats"] == pytest.approx(expected)
        if off == "random":  # the interval of one draw is not that of their mean
            assert math.isnan(cell["nats_lo"])
        else:
            assert [cell["nats_lo"], cell["nats_hi"]] == pytest.approx([expected - 0.2, expected + 0.2])
            assert cell["against_control"] == pytest.approx(expected - 0.3)


def test_a_nat_in_bits_per_byte_is_that_of_the_full_model(folder):
    table = pd.read_csv(folder / "perplexity.csv").query("deactivated == 'none'").set_index("language")
    bits = bits_per_byte(Run(folder).perplexity) * np.log(table["perplexity"])
    pd.testing.assert_series_equal(bits, table["bits_per_byte"], check_names=False)


def test_the_means_of_the_languages_are_those_of_the_blocks_of_the_map():
    samples = pd.DataFrame({"language": ["en", "zh", "en", "zh"], "meaning": ["a", "a", "b", "b"]})
    map_SS = np.arange(16.0).reshape(4, 4)
    map_SS = (map_SS + map_SS.T) / 2
    same_GG, different_GG = language_similarities(map_SS, samples)
    assert same_GG.loc["en", "zh"] == (map_SS[0, 1] + map_SS[2, 3]) / 2
    assert different_GG.loc["en", "zh"] == (map_SS[0, 3] + map_SS[2, 1]) / 2
    assert different_GG.loc["en", "en"] == map_SS[0, 2]


def test_continuations_stand_in_the_order_of_the_languages(folder):
    table = continuations(Run(folder).generations.iloc[::-1])
    assert list(table["deactivated"].unique()) == ["none", "ar", "zh", "en"]
    assert set(table["sample"]) == {0, 1}


# Sweeps -----------------------------------------------------------------------------------------------------------------


def test_a_sweep_has_its_runs_lines_and_families(sweep_folder):
    sweep = Sweep(str(sweep_folder))
    assert [run.folder.name for run in sweep.runs] == ["step0", "step30", "step100"]
    assert list(sweep.lines()) == list(sweep.lines("training_tokens")) == ["bloom-nano"]
    assert sweep.families == {} and sweep.main_run is None
    write_job(sweep_folder / "final", None, "bloom-7b1", 7_000_000_000, languages=CODES)
    sweep = Sweep([sweep_folder])
    assert list(sweep.families) == [family_of("bloom-7b1")] and sweep.main_run.folder.name == "final"
    assert {name: run.folder.name for name, run in sweep.last_runs.items()} == {"bloom-nano": "step100", "bloom-7b1": "final"}


def test_a_folder_without_runs_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match="no run.json is in or below it\nRemedy: give the folder of a sweep"):
        Sweep(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80", b"[]", b'{"foo": 1}', b'{"status": "done", "overrides"'])
@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
def test_a_run_that_cannot_be_read_is_a_row_that_says_so(sweep_folder, name, content):
    (sweep_folder / "step30" / name).write_bytes(content)
    table = Sweep(sweep_folder).table.set_index("job")
    row = table.loc["step30"]
    assert row["status"] == "unreadable" and name in row["error"] and "cannot be read" in row["error"]
    assert row[["lrds", "perplexity_mean", "cloze_stderr", "num_parameters"]].isna().all()
    assert (row["model"], row["checkpoint"]) == (("", "") if name == "run.json" else ("bloom-nano", "step30"))
    assert list(table.drop("step30")["status"]) == ["done", "done"] and table.drop("step30")["lrds"].notna().all()
    assert list(Sweep(sweep_folder).lines()["bloom-nano"]["lrds"].notna()) == (
        [True, True] if name == "run.json" else [True, False, True]
    )


def test_a_folder_of_the_name_of_a_record_is_none(sweep_folder):
    (sweep_folder / "odd" / "run.json").mkdir(parents=True)
    assert len(Sweep(sweep_folder).table) == 3


def test_every_score_has_a_column_and_its_interval_where_it_has_one(sweep_folder):
    edit(sweep_folder / "step0" / "metrics.json", lrds_lo=0.1, lrds_hi=0.9)
    table = Sweep(sweep_folder).table
    assert {score.column for score in SCORES} <= set(table)
    assert list(table["lrds_lo"].dropna()) == [0.1] and list(table["lrds_hi"].dropna()) == [0.9]
    assert "sads_lo" not in table
    error = table["cloze_stderr"]
    np.testing.assert_allclose(table["cloze_accuracy_mean_hi"] - table["cloze_accuracy_mean"], error)
    np.testing.assert_allclose(table["cloze_accuracy_mean"] - table["cloze_accuracy_mean_lo"], error)


def test_an_interval_of_the_run_goes_before_the_standard_error(sweep_folder):
    edit(sweep_folder / "step0" / "metrics.json", cloze_accuracy_mean_lo=0.25, cloze_accuracy_mean_hi=0.75)
    row = Sweep(sweep_folder).table.set_index("job").loc["step0"]
    assert (row["cloze_accuracy_mean_lo"], row["cloze_accuracy_mean_hi"]) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"model": {"dtype": "auto"}}, {"model": {"dtype": "float16"}}, ["model.dtype=auto", "model.dtype=float16"]),
        ({"model": {"path": "/x"}}, {"model": {"path": "/y"}}, ["", ""]),
        ({"a_new_group": {"key": 1}}, {"a_new_group": {"key": 2}}, ["", ""]),
        ({"seed": 1}, {}, ["", ""]),
        ({"probe": {"name": "zscore"}}, {"probe": {"name": "lape"}}, ["probe.name=zscore", "probe.name=lape"]),
        (
            {"intervention": {"name": "zero"}},
            {"intervention": {"name": "mean"}},
            ["intervention.name=zero", "intervention.name=mean"],
        ),
    ],
)
def test_only_what_changes_scores_makes_a_variant(one, other, expected):
    assert variant_texts([one, other]) == expected
