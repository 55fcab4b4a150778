"""A mixture of experts through the whole study: its tables name experts, and its regions are switched off."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mixtures import CHOSEN, DENSE, EXPERTS, WIDTH, tiny_mixture
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from lf_experiments import __main__ as command
from lf_experiments.measures.routing import SHARED, routing_shares, with_experts
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.sites import NO_EXPERTS, Experts

slow = pytest.mark.slow  # of what needs a whole run

ROUTED, ALWAYS = EXPERTS * WIDTH, 2 * WIDTH
"""Neurons of the routed experts of a layer, and of its two shared ones."""


@pytest.fixture(scope="module")
def folder(tokenizer: PreTrainedTokenizerBase, awakened, tmp_path_factory) -> Path:
    """A tiny DeepSeek-V3: a dense layer, then two with routed and shared experts."""
    folder = tmp_path_factory.mktemp("mixture")
    config = tiny_mixture("deepseek_v3", vocab_size=len(tokenizer), max_position_embeddings=256)
    awakened(AutoModelForCausalLM.from_config(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with every stage that a tiny model can take."""
    run, cache = tmp_path_factory.mktemp("finished") / "run", tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LF_EXPERIMENTS_CACHE", str(cache))
        small = ["language_set.languages=[en,fr,zh]", "dataset.sentences=12", "text.window=64", "control.draws=1"]
        small += ["cloze.stories=4", "generation.samples=1", "generation.tokens=8"]
        overrides = [f"model.path={folder}", f"hydra.run.dir={run}", "probe.threshold=1.0", "tracking=none", *small]
        patch.setattr(sys, "argv", ["lf_experiments", "model=local", *overrides])
        command.main()
    return run


@slow
def test_every_stage_is_done_and_counts_the_neurons_of_all_experts(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "done"
    assert {"capture", "compare", "probe", "deactivate", "cloze", "generate", "report"} <= set(record["stages"])
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["num_neurons"] == DENSE + 2 * (ROUTED + ALWAYS)
    assert "experts.csv" in record["stages"]["capture"]["files"]


@slow
def test_routing_is_told_for_every_language_layer_and_expert(finished: Path) -> None:
    shares = pd.read_csv(finished / "experts.csv")
    languages = pd.read_csv(finished / "samples.csv")["language"].unique()
    assert list(shares) == ["language", "layer", "expert", "share"]
    assert len(shares) == len(languages) * 2 * EXPERTS and set(shares["layer"]) == {1, 2}
    np.testing.assert_allclose(shares.groupby(["language", "layer"])["share"].sum(), CHOSEN, rtol=1e-6)
    assert shares["share"].between(0, 1).all() and shares.groupby("expert")["share"].std().max() > 0


@slow
def test_every_key_neuron_names_its_expert(finished: Path) -> None:
    neurons = pd.read_parquet(finished / "key_neurons.parquet")
    assert list(neurons)[:4] == ["language", "layer", "neuron", "expert"]
    is_routed = (neurons["layer"] > 0) & (neurons["neuron"] < ROUTED)
    assert is_routed.any() and (~is_routed & (neurons["layer"] > 0)).any() and (neurons["layer"] == 0).any()
    assert (neurons["expert"][is_routed] == neurons["neuron"][is_routed] // WIDTH).all()
    assert (neurons["expert"][~is_routed] == SHARED).all()


@slow
def test_regions_without_their_neurons_change_perplexity_cloze_and_text(finished: Path) -> None:
    perplexity = pd.read_csv(finished / "perplexity.csv")
    off = perplexity[~perplexity["deactivated"].isin(["none", "random"])]
    assert (off["increase_percent"].abs() > 1e-6).all()
    stories = pd.read_parquet(finished / "cloze_stories.parquet")
    assert stories["deactivated"].nunique() > 2
    texts = pd.read_csv(finished / "generations.csv")
    assert texts.groupby(["language", "prompt"])["text"].nunique().max() > 1


# The functions ------------------------------------------------------------------------------------------------------------


def test_a_share_weighs_every_token_the_same() -> None:
    share_SE = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    routing = Activations([share_SE], ["en", "en", "fr"], ["0", "1", "0"], torch.tensor([2, 6, 5]), 1, "routing")
    found = routing_shares(routing)
    assert found["language"].tolist() == ["en", "en", "fr", "fr"]
    assert found["share"].tolist() == pytest.approx([(2 * 1 + 6 * 0.25) / 8, 6 * 0.75 / 8, 0.5, 0.5])


def test_experts_are_named_by_layer_and_a_dense_model_has_no_such_column() -> None:
    neurons = pd.DataFrame({"language": ["en"] * 4, "layer": [0, 1, 1, 1], "neuron": [7, 0, 11, 12], "score": 1.0})
    found = with_experts(neurons, [NO_EXPERTS, Experts(3, 4)])
    assert found["expert"].tolist() == [SHARED, 0, 2, SHARED]
    assert list(found) == ["language", "layer", "neuron", "expert", "score"]
    assert with_experts(neurons, []) is neurons
    assert with_experts(neurons[:0], [NO_EXPERTS, Experts(3, 4)])["expert"].tolist() == []
