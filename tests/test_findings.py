"""The paper's findings on the grown models: what a first run must show (slow: whole models are grown)."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from lf_experiments import __main__ as command

NTREX = Path(__file__).parents[2] / "shared" / "data" / "ntrex"
STEPS = [0, 10, 30, 60, 100, 200, 400, 900]
CODES = ["en", "zh", "fr", "es", "pt", "ar", "vi", "hi", "id"]

EVALUATING = "stages=[capture,compare,probe,deactivate,cloze,generate]"
READING = "stages=[capture,compare,probe,deactivate]"

pytestmark = pytest.mark.slow


class Workplace(NamedTuple):
    """A folder for runs, and the cache they share."""

    folder: Path
    cache: Path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, grown_cache: Path) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("findings"), grown_cache)


def run(workplace: Workplace, name: str, *overrides: str) -> Path:
    folder = workplace.folder / name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LF_EXPERIMENTS_CACHE", str(workplace.cache))
        patch.setattr(sys, "argv", ["lf_experiments", "tracking=none", f"hydra.run.dir={folder}", *overrides])
        command.main()
    return folder


def metrics(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def final(workplace: Workplace) -> Path:
    return run(workplace, "final", "control.draws=3", "text.window_count=50", "cloze.regions=false", EVALUATING)


@pytest.fixture(scope="module")
def evolution(workplace: Workplace) -> dict[int, Path]:
    measuring = "stages=[capture,compare,probe]"
    return {step: run(workplace, f"step{step}", f"checkpoint=step{step}", measuring) for step in STEPS}


def test_activations_become_more_language_agnostic(evolution: dict[int, Path]) -> None:
    lrds = [metrics(folder)["lrds"] for folder in evolution.values()]
    assert lrds[-1] <= 0.75 * max(lrds)


def test_semantic_alignment_becomes_more_pronounced(evolution: dict[int, Path]) -> None:
    sads = [metrics(folder)["sads"] for folder in evolution.values()]
    assert sads[-1] >= 3 * min(sads)


def test_linguistic_regions_become_smaller(evolution: dict[int, Path]) -> None:
    sklr = [metrics(folder)["sklr"] for folder in evolution.values()]
    assert sklr[-1] <= 0.9 * max(sklr)


def key_neurons_by_layer(folder: Path) -> np.ndarray:
    return pd.read_csv(folder / "regions.csv").groupby("layer")["key_neurons"].sum().to_numpy()


def test_key_neurons_gather_in_the_first_and_last_layers_of_a_llama(workplace: Workplace) -> None:
    of_layer = key_neurons_by_layer(run(workplace, "llama", "model=llama-nano", "stages=[capture,probe]"))
    assert min(of_layer[0], of_layer[-1]) > of_layer[1:-1].mean()


def test_key_neurons_gather_in_the_first_half_of_a_bloom(evolution: dict[int, Path]) -> None:
    """Unlike in the paper, whose last layers have many too."""
    first, second = np.split(key_neurons_by_layer(evolution[900]), 2)
    assert first.mean() > second.mean()


def test_a_region_matters_most_to_its_own_language(final: Path) -> None:
    table = pd.read_csv(final / "perplexity.csv", keep_default_na=False)
    increase = table[table["deactivated"].isin(CODES)].pivot(index="language", columns="deactivated", values="increase_percent")
    matrix = increase.loc[CODES, CODES].to_numpy()
    own, others = np.diag(matrix), matrix[~np.eye(len(CODES), dtype=bool)]
    random = table[table["deactivated"] == "random"]["increase_percent"]
    assert own.mean() >= 3 * others.mean()
    assert own.mean() > random.mean()
    assert (own > 0).all()
    assert (matrix.argmax(axis=0) == np.arange(len(CODES))).all()


def test_the_model_ends_stories_and_goes_on_in_the_language_of_its_prompt(final: Path) -> None:
    assert pd.read_csv(final / "cloze.csv")["accuracy"].mean() >= 0.75
    written = pd.read_csv(final / "generations.csv", keep_default_na=False).query("deactivated == 'none'")
    by_language = written.groupby("language")["script_share"].mean()
    assert set(by_language.index) == set(CODES)
    assert by_language.mean() >= 0.9


def test_the_final_step_is_the_last_published_one(final: Path, evolution: dict[int, Path]) -> None:
    np.testing.assert_array_equal(np.load(final / "similarity.npy"), np.load(evolution[900] / "similarity.npy"))


@pytest.mark.skipif(not NTREX.is_dir(), reason="the NTREX sentences are not here")
@pytest.mark.parametrize("model", ["bloom-nano", "llama-nano"])
def test_real_sentences_are_read(workplace: Workplace, model: str) -> None:
    folder = run(workplace, f"ntrex-{model}", f"model={model}", "dataset=ntrex", f"dataset.root={NTREX}", READING)
    samples = pd.read_csv(folder / "samples.csv", keep_default_na=False)
    assert len(samples) == 900
    english = (NTREX / "en.txt").read_text(encoding="utf-8").split("\n")
    for row in samples[samples["language"] == "en"].itertuples():
        assert english[int(row.meaning.split()[1]) - 1] == row.text
    found = metrics(folder)
    assert found["lrds"] > 0
    assert 0 < found["sklr"] < found["num_neurons"]
    assert len(pd.read_csv(folder / "perplexity.csv")) == 9 * (1 + 9 + 5)  # none, each region, five controls of its own
