"""Methods compared: a table and a figure of the runs of a sweep, by brute force; one capture and one model for all of them."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from recorded import labelled
from run_folders import edit, write_job
from scipy.stats import spearmanr

from lf_experiments import __main__ as command
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.figures import methods as methods_figure
from lf_experiments.figures import methods_over_training, style
from lf_experiments.measures.probe import probe
from lf_experiments.measures.uncertainty.evidence import on_meanings
from lf_experiments.models import held
from lf_experiments.models.load import Reader
from lf_experiments.neurons import capture
from lf_experiments.neurons.activations import Rows
from lf_experiments.report.methods import sentences, texts
from lf_experiments.runs.methods import agreement_table, methods_table
from lf_experiments.runs.sweep import Sweep
from lf_experiments.sweep import write_sweep

CODES = ["en", "zh", "ar"]
LAYERS, WIDTH, WINDOWS = 3, 20, 30
TOKENS_W = np.array([40 + number % 7 for number in range(WINDOWS)])
OWN = {"zscore": 0.3, "lape": 0.6, "plnd": 0.3}
"""What the regions of a method cost their own language, in nats per token."""


def method_job(folder: Path, method: str, step: int | None = None, own: float | None = None, **probe: object) -> Path:
    """A finished job whose regions cost their own language `own` and the others 0.1, but for noise."""
    settings = {"name": method, "threshold": 2.0, "budget": "as:zscore", **probe}
    write_job(folder, step, languages=CODES, layers=LAYERS, probe=settings, text={"held_out": True})
    random = np.random.default_rng([len(method), ord(method[0]), step or 0])
    windows = window_table(OWN[method] if own is None else own, random)
    windows.to_parquet(folder / "perplexity_windows.parquet")
    scores = pd.DataFrame(random.normal(size=(LAYERS * WIDTH, len(CODES))).astype(np.float32), columns=CODES)
    scores.insert(0, "neuron", np.tile(np.arange(WIDTH), LAYERS))
    scores.insert(0, "layer", np.repeat(np.arange(LAYERS), WIDTH))
    scores.to_parquet(folder / "neuron_scores.parquet")
    cells = [
        (code, *scores.loc[row, ["layer", "neuron"]].astype(int)) for code in CODES for row in scores[code].nlargest(20).index
    ]
    pd.DataFrame(cells, columns=["language", "layer", "neuron"]).to_parquet(folder / "key_neurons.parquet")
    halves = {"method": method, "language": CODES, "dice": [0.5, 0.6, 0.7], "stability": [0.1, 0.2, 0.6]}
    pd.DataFrame(halves).to_csv(folder / "stability.csv", index=False)
    value = selectivity(windows)
    edit(
        folder / "metrics.json",
        num_neurons=LAYERS * WIDTH,
        num_layers=LAYERS,
        selectivity=value,
        selectivity_lo=value - 0.02,
        selectivity_hi=value + 0.02,
        own_effect=OWN[method],
        spill_over=0.2 if method == "plnd" else 0.1,
    )
    return folder


def window_table(own: float, random: np.random.Generator) -> pd.DataFrame:
    """Every window under nothing and under each region; what windows of one language differ in is the same for all methods."""
    rows = []
    for place, language in enumerate(CODES):
        full_W = TOKENS_W * (1 + 0.3 * np.random.default_rng(place).random(WINDOWS))
        for region in ("none", *CODES):
            rise = 0.0 if region == "none" else own if region == language else 0.1
            nll_W = full_W + TOKENS_W * (rise + (region != "none") * random.normal(0, 0.02, WINDOWS))
            rows += [
                (region, 0, "", 1.0, language, window, nll, tokens, 4 * tokens)
                for window, (nll, tokens) in enumerate(zip(nll_W, TOKENS_W, strict=True))
            ]
    columns = ["deactivated", "draw", "matches", "dose", "language", "window", "nll", "tokens", "bytes"]
    return pd.DataFrame(rows, columns=columns)


def selectivity(windows: pd.DataFrame) -> float:
    """The mean over languages of what a region costs its own language less what it costs the others."""
    total = windows.groupby(["deactivated", "language"])["nll"].sum() / TOKENS_W.sum()
    costs = []
    for region in CODES:
        rise = {language: total[region, language] - total["none", language] for language in CODES}
        costs.append(rise[region] - np.mean([rise[language] for language in CODES if language != region]))
    return float(np.mean(costs))


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pixels, and no other figures: they take most of the time."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)
    monkeypatch.setattr("lf_experiments.figures.save.SWEEP_FIGURES", (methods_figure.FIGURE, methods_over_training.FIGURE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep over three methods at the end of a training."""
    for method in OWN:
        method_job(tmp_path / f"probe={method}", method)
    return tmp_path


def test_the_table_is_what_the_runs_say_and_its_comparisons_are_those_of_brute_force(folder: Path) -> None:
    write_sweep(folder)
    table = pd.read_csv(folder / "methods.csv").set_index("method")
    assert sorted(table.index) == sorted(OWN) and table.index[0] == "zscore"
    windows = {method: pd.read_parquet(folder / f"probe={method}" / "perplexity_windows.parquet") for method in OWN}
    for method, row in table.iterrows():
        run = folder / f"probe={method}"
        assert row["selectivity"] == pytest.approx(selectivity(windows[method]))
        assert row["selectivity_gain"] == pytest.approx(selectivity(windows[method]) - selectivity(windows["zscore"]))
        regions = pd.read_csv(run / "regions.csv")
        assert row["neurons_per_language"] == pytest.approx(regions["key_neurons"].sum() / 3)
        assert (row["dice"], row["budget"], row["seconds"]) == (pytest.approx(0.6), "as:zscore", 0.75)
    assert table.loc["zscore", ["selectivity_gain", "selectivity_gain_lo"]].tolist() == [0, 0]
    assert table.loc["zscore", ["jaccard_zscore", "rank_correlation_zscore"]].tolist() == [1, 1]
    gain = table["selectivity_gain"]
    assert (table["selectivity_gain_lo"] < gain)[["lape", "plnd"]].all()
    assert table.loc["lape", "selectivity_gain_lo"] > 0.27 and table.loc["lape", "selectivity_gain_hi"] < 0.33


def test_the_interval_of_a_gain_is_paired_over_windows(folder: Path) -> None:
    found = Sweep(folder).comparisons[0].table.set_index("method").loc["lape"]
    windows = {method: pd.read_parquet(folder / f"probe={method}" / "perplexity_windows.parquet") for method in OWN}
    variance = 0.0
    for language in CODES:
        nats_W = np.zeros(WINDOWS)
        for sign, method in ((1, "lape"), (-1, "zscore")):
            cell = windows[method][windows[method]["language"] == language].set_index(["deactivated", "window"])["nll"]
            for region in CODES:
                weight = 1 / 3 if region == language else -1 / 6
                nats_W += sign * weight * (cell[region] - cell["none"]).to_numpy()
        residual_W = nats_W - nats_W.sum() / TOKENS_W.sum() * TOKENS_W
        variance += WINDOWS / (WINDOWS - 1) * (residual_W**2).sum() / TOKENS_W.sum() ** 2
    half = (found["selectivity_gain_hi"] - found["selectivity_gain_lo"]) / 2
    assert half == pytest.approx(1.99 * np.sqrt(variance), rel=0.02)


def test_methods_agree_as_far_as_their_neurons_and_their_ranks_do(folder: Path) -> None:
    table = agreement_table(Sweep(folder).comparisons).set_index(["method", "other"])
    assert len(table) == 3
    for (method, other), row in table.iterrows():
        jaccards, correlations = [], []
        for code in CODES:
            runs = [folder / f"probe={name}" for name in (method, other)]
            first, second = (neurons_of(run, code) for run in runs)
            jaccards.append(len(first & second) / len(first | second))
            scores = [pd.read_parquet(run / "neuron_scores.parquet")[code] for run in runs]
            correlations.append(spearmanr(*scores).statistic)
        assert row["jaccard"] == pytest.approx(np.mean(jaccards)) and row["jaccard"] > 0
        assert row["rank_correlation"] == pytest.approx(np.mean(correlations), abs=1e-6)


def neurons_of(run: Path, code: str) -> set[tuple[int, int]]:
    table = pd.read_parquet(run / "key_neurons.parquet")
    return set(table.loc[table["language"] == code, ["layer", "neuron"]].itertuples(index=False, name=None))


def test_only_runs_that_differ_in_their_method_alone_are_compared(tmp_path: Path) -> None:
    for method in ("zscore", "lape"):
        method_job(tmp_path / f"{method}-200", method, 200)
        method_job(tmp_path / f"{method}-800", method, 800)
        method_job(tmp_path / f"{method}-top", method, 800, budget="top:0.05")
    method_job(tmp_path / "alone", "plnd", 1000)
    method_job(tmp_path / "failed", "plnd", 800)
    edit(tmp_path / "failed" / "run.json", status="failed", error="no")
    found = [(each.training_step, each.terms, list(each.runs)) for each in Sweep(tmp_path).comparisons]
    assert found == [
        (200, "probe.budget=as:zscore", ["zscore", "lape"]),
        (800, "probe.budget=as:zscore", ["zscore", "lape"]),
        (800, "probe.budget=top:0.05", ["zscore", "lape"]),
    ]


def test_a_sweep_without_several_methods_leaves_no_table_of_them(folder: Path) -> None:
    write_sweep(folder)
    assert (folder / "figures" / "methods.png").is_file()
    for method in ("lape", "plnd"):
        edit(folder / f"probe={method}" / "run.json", status="failed", error="no")
    write_sweep(folder)
    left = [folder / name for name in ("methods.csv", "method_agreement.csv", "figures/methods.png")]
    assert not any(path.exists() for path in left)


def test_runs_without_deactivations_or_scores_are_compared_as_far_as_they_go(folder: Path) -> None:
    for method in OWN:
        for name in ("perplexity_windows.parquet", "neuron_scores.parquet", "stability.csv"):
            (folder / f"probe={method}" / name).unlink()
        edit(folder / f"probe={method}" / "metrics.json", selectivity=None, selectivity_lo=None, selectivity_hi=None)
    sweep = Sweep(folder)
    (found,) = sweep.comparisons
    others = found.table.iloc[1:]
    assert others[["selectivity", "selectivity_gain", "dice", "rank_correlation_zscore"]].isna().all(axis=None)
    assert found.table["jaccard_zscore"].notna().all()
    assert not methods_figure.FIGURE.can_draw(sweep)
    assert "Selectivity" not in texts(found.table) and sentences(found)


def test_the_report_says_which_method_is_better_beyond_doubt_and_which_is_not(folder: Path) -> None:
    write_sweep(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Most selective are the regions of lape" in page
    assert "More selective than those of zscore, with an interval that leaves out 0: lape." in page
    assert "Undecided: plnd." in page
    assert "Without the regions of plnd other languages lose more than half of what their own does" in page
    assert "No document of the text holds one of the sentences" in page


def test_the_figure_has_the_most_selective_method_first_and_an_interval_for_each(folder: Path) -> None:
    picture = methods_figure.FIGURE.picture(Sweep(folder))
    effects, points, halves, square = picture.axes
    assert [label.get_text() for label in effects.get_yticklabels()][0] == "lape"
    own, others = (line.get_xdata().tolist() for line in effects.lines[:2])
    assert own == [0.6, 0.3, 0.3] and sorted(others) == [0.1, 0.1, 0.2]
    (intervals,) = [artist for artist in points.collections if artist.get_gid() == style.INTERVAL]
    assert len(intervals.get_segments()) == 3
    assert halves.get_xlim()[1] > 1 and len(square.texts) == 9


def test_over_training_there_is_a_line_per_method(tmp_path: Path) -> None:
    for step in (100, 400, 1500):
        for method in ("zscore", "lape"):
            method_job(tmp_path / f"{method}-{step}", method, step, own=0.1 + step / 5000)
    sweep = Sweep(tmp_path)
    table = methods_table(sweep.comparisons)
    assert table["training_step"].tolist() == [100, 100, 400, 400, 1500, 1500]
    (axes,) = methods_over_training.FIGURE.picture(sweep).axes
    drawn = {line.get_label(): line for line in axes.lines if line.get_label() in OWN}
    assert sorted(drawn) == ["lape", "zscore"]
    of_lape = table[table["method"] == "lape"]["selectivity"]
    assert drawn["lape"].get_ydata().tolist() == pytest.approx(of_lape.tolist())
    assert len([artist for artist in axes.collections if artist.get_gid() == style.INTERVAL]) == 2
    assert methods_figure.last_comparisons(sweep)[0].training_step == 1500


# Half of the meanings -------------------------------------------------------------------------------------------------


def test_regions_on_a_share_of_the_meanings_are_those_of_these_sentences_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    h_L_SN = [torch.randn(6 * 10, 30, generator=generator) for _ in range(2)]
    language_S, meaning_S = torch.arange(6).repeat_interleave(10), torch.arange(10).repeat(6)
    captured = {"mean": labelled(h_L_SN, language_S, meaning_S)}
    part = on_meanings(captured, 0.5, 3)["mean"]
    meanings = sorted(set(part.meanings))
    assert len(meanings) == 5 and part.languages == [f"language {number}" for number in range(6) for _ in range(5)]
    assert on_meanings(captured, 0.5, 4)["mean"].meanings != part.meanings
    kept_S = torch.tensor([str(int(meaning)) in meanings for meaning in meaning_S])
    alone = labelled([h_SN[kept_S] for h_SN in h_L_SN], language_S[kept_S], meaning_S[kept_S])
    for one, other in zip(*(probe(each, ProbeConfig("zscore", 1.5)).is_key_L_GN for each in (part, alone)), strict=True):
        assert torch.equal(one, other) and one.any()
    assert on_meanings(captured, 1.0, 0) is captured


# One capture and one model --------------------------------------------------------------------------------------------

Typed = Callable[..., Path]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model is grown once; the tests read different sentences, or keep none."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sweep(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Runs a sweep over methods in this process; returns its folder."""
    monkeypatch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
    monkeypatch.setattr("lf_experiments.multirun.sweep.put_side_by_side", lambda *_: True)

    def run(*overrides: str) -> Path:
        given = ("experiment=smoke", "stages=[capture,probe]", "probe.budget=as:zscore", "uncertainty=none", *overrides)
        monkeypatch.setattr(sys, "argv", ["lf_experiments", "--multirun", *given, f"hydra.sweep.dir={tmp_path / 'sweep'}"])
        command.main()
        return tmp_path / "sweep"

    return run


class Loaded:
    """Counts models as they are loaded, and how many of them are in memory then."""

    def __init__(self) -> None:
        self.models: list[weakref.ref] = []
        self.beside: list[int] = []
        self.load = held.assemble_team

    def __call__(self, *arguments: object) -> Reader:
        self.beside.append(sum(model() is not None for model in self.models))
        reader = self.load(*arguments)
        self.models.append(weakref.ref(reader.model))
        return reader


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    counter = Loaded()
    monkeypatch.setattr(held, "assemble_team", counter)
    held.HELD.release()
    return counter


def test_methods_share_one_capture_and_one_model(sweep: Typed, loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[list[str]] = []
    write = capture.write_pools

    def counted(reader: Reader, texts: list[str], batch_tokens: int, rows: dict[str, Rows]) -> None:
        passes.append(list(rows))
        write(reader, texts, batch_tokens, rows)

    monkeypatch.setattr(capture, "write_pools", counted)
    overrides = ("dataset.sentences=6", "cache.pools=[gate_rate,impact]", "probe.keep_scores=true")
    folder = sweep("probe=zscore,lape,plnd,attribution", *overrides)
    assert passes == [["mean", "gate_rate", "impact"], ["attribution"]]
    assert len(loaded.models) == 1
    sizes = {job.name: len(pd.read_parquet(job / "key_neurons.parquet")) for job in folder.glob("probe=*")}
    assert sizes["probe=zscore"] == sizes["probe=attribution"] > 0
    scores = pd.read_parquet(folder / "probe=plnd" / "neuron_scores.parquet")
    assert list(scores)[:3] == ["layer", "neuron", "en"] and len(scores) == 3 * 64


def test_another_model_is_loaded_once_and_alone(sweep: Typed, loaded: Loaded) -> None:
    sweep("probe=zscore,auroc", "checkpoint=step0,step30", "cache.enabled=false", "dataset.sentences=3")
    assert loaded.beside == [0, 0]


def test_a_run_that_fails_and_a_run_by_itself_keep_no_model(
    sweep: Typed, loaded: Loaded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lf_experiments.study.probe.probe", lambda *_: 1 / 0)
    folder = sweep("seed=7", "dataset.sentences=3")
    assert [json.loads(path.read_text())["status"] for path in folder.glob("*/run.json")] == ["failed"]
    arguments = ["experiment=smoke", "stages=[capture]", "seed=8", "dataset.sentences=3", f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["lf_experiments", *arguments])
    command.main()
    gc.collect()
    assert len(loaded.models) == 2
    assert held.HELD.reader is None and not [model for model in loaded.models if model()]
