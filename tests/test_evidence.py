"""Regions under shuffled languages and in halves: both ways of trying a probe again agree; what is planted is found again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import labelled

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import moments_of, probe
from lf_experiments.measures.probes import zscore
from lf_experiments.measures.uncertainty import evidence as trying
from lf_experiments.measures.uncertainty.evidence import MOST_PERMUTATIONS, MOST_SPLITS, evidence, relabelled
from lf_experiments.measures.uncertainty.replication import REPLICATED
from lf_experiments.neurons.activations import Activations
from lf_experiments.study.probe import against_null, sizes, stability, with_frequency

LANGUAGES, MEANINGS, PLANTED = 6, 20, 5
CONFIGS = {"zscore": ProbeConfig("zscore", 2.0), "cohen_d": ProbeConfig("cohen_d", 0.8)}


@pytest.fixture
def activations() -> Activations:
    """Noise on two layers; five neurons of the first belong to the first language."""
    generator = torch.Generator().manual_seed(0)
    h_L_SN = [2 + torch.randn(LANGUAGES * MEANINGS, width, generator=generator) for width in (40, 25)]
    h_L_SN[0][:MEANINGS, :PLANTED] += 3
    return labelled(h_L_SN, torch.arange(LANGUAGES).repeat_interleave(MEANINGS), torch.arange(MEANINGS).repeat(LANGUAGES))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_sums_and_calling_the_probe_again_give_the_same(activations, config, monkeypatch) -> None:
    fast = evidence(activations, config, 7, 4, 3)
    monkeypatch.setattr(trying, "moments_of", lambda _: None)
    again = evidence(activations, config, 7, 4, 3)
    assert torch.equal(fast.null_LPG, again.null_LPG)
    for one, other in zip(fast.replication.frequency_L_GN, again.replication.frequency_L_GN, strict=True):
        torch.testing.assert_close(one, other)
    assert fast.replication.size_RG.sum() > 0


def test_the_order_of_the_sentences_does_not_matter(activations) -> None:
    order = [language * MEANINGS + meaning for meaning in range(MEANINGS) for language in range(LANGUAGES)]
    by_meaning = replace(
        activations,
        h_L_SN=[h_SN[order] for h_SN in activations.h_L_SN],
        languages=[activations.languages[row] for row in order],
        meanings=[activations.meanings[row] for row in order],
    )
    here, there = (evidence(given, CONFIGS["zscore"], 6, 5, 1) for given in (activations, by_meaning))
    assert torch.equal(here.null_LPG, there.null_LPG)
    assert torch.equal(here.replication.size_RG, there.replication.size_RG)


@pytest.mark.slow
def test_without_an_effect_of_languages_a_twentieth_of_the_p_values_of_sklr_is_below_a_twentieth() -> None:
    """Meanings have an effect, and neurons of a sentence go together, as in a model; languages have none."""
    languages, meanings, config, p_values = 5, 8, ProbeConfig("zscore", 1.5), []
    labels = torch.arange(languages).repeat_interleave(meanings), torch.arange(meanings).repeat(languages)
    for seed in range(1000):
        generator = torch.Generator().manual_seed(seed)
        said, sentence = (
            torch.randn(1, meanings, 60, generator=generator),
            torch.randn(languages, meanings, 1, generator=generator),
        )
        h_GnN = 2 + said + sentence + torch.randn(languages, meanings, 60, generator=generator)
        of_seed = labelled([h_GnN.view(languages * meanings, 60)], *labels)
        p_values.append(evidence(of_seed, config, 99, 0, seed).null.p_value(probe(of_seed, config).sklr))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.05)


def test_what_is_planted_replicates_and_exceeds_its_null(activations) -> None:
    config = CONFIGS["zscore"]
    found = evidence(activations, config, 60, 20, 0)
    regions = with_frequency(probe(activations, config), found.replication)
    again = regions.replicated(REPLICATED)
    assert again.is_key_L_GN[0][0].nonzero().flatten().tolist() == list(range(PLANTED))
    assert again.sklr <= regions.sklr
    table = sizes(regions, again, found)
    assert list(table) == ["language", "layer", "key_neurons", "neurons", "null_mean", "excess", "replicated"]
    planted = table.iloc[0]
    assert planted["replicated"] == PLANTED
    assert planted["excess"] > PLANTED - 3
    assert table["null_mean"].sum() == pytest.approx(found.null.mean)
    by_language = stability("zscore", regions, found.replication).set_index("language")
    assert by_language["size"].sum() == regions.sklr
    assert by_language["stability"].idxmax() == "language 0"
    key_neurons = regions.key_neurons()
    assert (key_neurons["frequency"] >= REPLICATED).sum() == again.sklr
    assert (key_neurons.query("language == 'language 0' and layer == 0 and neuron < 5")["frequency"] == 1).all()


def test_scores_against_a_null(activations) -> None:
    null = evidence(activations, CONFIGS["zscore"], 19, 0, 0).null
    found = against_null(1000, null, 0.9, 65)
    assert found["sklr_excess"] == pytest.approx(1000 - found["sklr_null"])
    assert found["sklr_excess_lo"] == pytest.approx(1000 - found["sklr_null_hi"])
    assert found["sklr_null_fraction"] == pytest.approx(found["sklr_null"] / 65)
    for end in ("", "_lo", "_hi"):
        assert found[f"sklr_excess_fraction{end}"] == pytest.approx(found[f"sklr_excess{end}"] / 65)
    assert found["sklr_p"] == 1 / 20
    without = {"sklr_null", "sklr_null_fraction", "sklr_excess", "sklr_excess_fraction", "sklr_p"}
    assert set(against_null(1000, null, None, 65)) == without


def test_without_shuffles_and_halves_nothing_is_tried_and_the_columns_are_empty(activations) -> None:
    found = evidence(activations, CONFIGS["zscore"], 0, 0, 0)
    assert found.null is None
    assert found.replication is None
    regions = with_frequency(probe(activations, CONFIGS["zscore"]), None)
    table = sizes(regions, None, found)
    assert table[["null_mean", "excess", "replicated"]].isna().all(axis=None)
    assert regions.key_neurons()["frequency"].isna().all()
    assert stability("zscore", regions, None).empty


class Counted:
    """A probe of one's own that counts how often it is called."""

    calls = 0


def counting(activations: Activations, config: ProbeConfig):
    """The largest mean of a language: not a probe by moments."""
    Counted.calls += 1
    assert activations.language_codes == [f"language {number}" for number in range(LANGUAGES)]
    return zscore.zscore(activations, config)


def test_any_other_probe_is_called_again_but_not_as_often(activations) -> None:
    config = ProbeConfig(f"{__name__}:counting", 2.0)
    assert moments_of(config) is None
    found = evidence(activations, config, 100, 20, 0)
    assert Counted.calls == MOST_PERMUTATIONS + 2 * MOST_SPLITS
    assert found.null_LPG.shape == (2, MOST_PERMUTATIONS, LANGUAGES)
    assert len(found.replication.size_RG) == MOST_SPLITS


def test_activations_of_several_pools_are_relabelled_together(activations) -> None:
    language_S = torch.full((LANGUAGES * MEANINGS,), -1)
    language_S[0], language_S[MEANINGS], language_S[1] = 2, 0, 1
    found = relabelled({"mean": activations, "rate": replace(activations, pool="rate")}, language_S)
    assert found["rate"].pool == "rate"
    assert found["mean"].languages == ["language 0", "language 1", "language 2"]
    assert torch.equal(found["mean"].h_L_SN[1], activations.h_L_SN[1][[MEANINGS, 1, 0]])
