"""The comparison of sentences, layer by layer, equals the paper's procedure on whole activation vectors."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from recorded import labelled

from lf_experiments.equations import lrds, sads, similarity_map
from lf_experiments.errors import InputError
from lf_experiments.languages import same_script
from lf_experiments.measures.similarity import TOGETHER, compare
from lf_experiments.measures.uncertainty.components import COMPONENTS, components
from lf_experiments.measures.uncertainty.estimate import simultaneous_band
from lf_experiments.neurons.activations import Activations

LAYERS, NEURONS, LANGUAGES, MEANINGS = 3, 7, 4, 3


@pytest.fixture
def study():
    """Activations whose layers differ in scale, with languages and meanings in no order."""
    random = torch.Generator().manual_seed(3)
    order = torch.randperm(LANGUAGES * MEANINGS, generator=random)
    language_S = torch.arange(LANGUAGES).repeat_interleave(MEANINGS)[order]
    meaning_S = torch.arange(MEANINGS).repeat(LANGUAGES)[order]
    h_LSN = torch.randn(LAYERS, len(order), NEURONS, generator=random)
    h_LSN[0] += torch.randn(LANGUAGES, NEURONS, generator=random)[language_S]
    h_LSN[1] += 3 * torch.randn(MEANINGS, NEURONS, generator=random)[meaning_S]
    h_LSN[2] *= 5
    return h_LSN, language_S, meaning_S


@dataclass
class Compared:
    """A comparison, with its scores by name."""

    similarity_SS: torch.Tensor
    lrds: float
    sads: float
    layer_lrds: list[float]
    layer_sads: list[float]


def compared(h_LSN, language_S, meaning_S) -> Compared:
    found = compare(labelled(h_LSN, language_S, meaning_S))
    layers = [[layer[key] for layer in found.layers] for key in ("lrds", "sads")]
    return Compared(found.similarity_SS, found.whole["lrds"], found.whole["sads"], *layers)


def test_map_and_scores_equal_the_pair_by_pair_evaluation(study, by_hand):
    h_LSN, language_S, meaning_S = study
    languages, meanings = language_S.tolist(), meaning_S.tolist()
    expected_SS = by_hand.similarity(by_hand.unit_vectors(h_LSN))
    comparison = compared(h_LSN, language_S, meaning_S)
    np.testing.assert_allclose(comparison.similarity_SS, expected_SS, atol=1e-6)
    assert comparison.lrds == pytest.approx(by_hand.lrds(expected_SS, languages, meanings), abs=1e-6)
    assert comparison.sads == pytest.approx(by_hand.sads(expected_SS, languages, meanings), abs=1e-6)


def test_each_layer_has_the_scores_of_a_model_of_that_layer_alone(study, by_hand):
    h_LSN, language_S, meaning_S = study
    comparison = compared(h_LSN, language_S, meaning_S)
    assert len(comparison.layer_lrds) == len(comparison.layer_sads) == LAYERS
    for layer in range(LAYERS):
        alone = compared(h_LSN[layer : layer + 1], language_S, meaning_S)
        assert comparison.layer_lrds[layer] == alone.lrds
        assert comparison.layer_sads[layer] == alone.sads
        map_SS = by_hand.similarity(by_hand.unit_vectors(h_LSN[layer : layer + 1]))
        assert alone.lrds == pytest.approx(by_hand.lrds(map_SS, language_S.tolist(), meaning_S.tolist()), abs=1e-6)
        assert alone.sads == pytest.approx(by_hand.sads(map_SS, language_S.tolist(), meaning_S.tolist()), abs=1e-6)


@pytest.mark.parametrize(("room", "kept"), [(10**6, 3), (200, 2), (1, 1)])
def test_the_map_of_every_layer_is_kept_of_as_many_meanings_as_there_is_room_for(study, by_hand, monkeypatch, room, kept):
    monkeypatch.setattr("lf_experiments.measures.similarity.KEPT_SIMILARITIES", room)  # 3 maps of 8 x 8 are 192
    h_LSN, language_S, meaning_S = study
    found = compare(labelled(h_LSN, language_S, meaning_S)).map_L_RR
    first = list(dict.fromkeys(meaning_S.tolist()))[:kept]
    rows = [row for row, meaning in enumerate(meaning_S.tolist()) if meaning in first]
    assert len(found) == LAYERS
    for layer, map_RR in enumerate(found):
        expected_SS = np.array(by_hand.similarity(by_hand.unit_vectors(h_LSN[layer : layer + 1])))
        assert map_RR.dtype == torch.float16 and len(map_RR) == LANGUAGES * kept
        np.testing.assert_allclose(map_RR, expected_SS[np.ix_(rows, rows)], atol=1e-3)


def test_layers_show_the_language_or_the_meaning_that_was_put_into_them(study):
    comparison = compared(*study)
    assert max(range(LAYERS), key=comparison.layer_lrds.__getitem__) == 0
    assert max(range(LAYERS), key=comparison.layer_sads.__getitem__) == 1


def test_the_whole_model_is_not_the_mean_of_its_layers(study):
    """Eq. (6) joins the layers before it scales them: a layer of large activations weighs more."""
    comparison = compared(*study)
    assert abs(comparison.lrds - np.mean(comparison.layer_lrds)) > 1e-3


def test_the_map_is_symmetric_with_ones_on_the_diagonal(study):
    map_SS = compared(*study).similarity_SS
    assert map_SS.dtype == torch.float64
    torch.testing.assert_close(map_SS, map_SS.T)
    torch.testing.assert_close(map_SS.diagonal(), torch.ones(len(map_SS), dtype=torch.float64))


def test_longer_activations_of_one_sentence_change_nothing(study):
    h_LSN, language_S, meaning_S = study
    louder_LSN = h_LSN.clone()
    louder_LSN[:, 4] *= 16
    torch.testing.assert_close(
        compared(louder_LSN, language_S, meaning_S).similarity_SS, compared(h_LSN, language_S, meaning_S).similarity_SS
    )


def test_rows_may_stand_in_any_order(study):
    h_LSN, language_S, meaning_S = study
    order = torch.randperm(len(language_S), generator=torch.Generator().manual_seed(5))
    here, there = compared(*study), compared(h_LSN[:, order], language_S[order], meaning_S[order])
    torch.testing.assert_close(there.similarity_SS, here.similarity_SS[order][:, order])
    assert there.lrds == pytest.approx(here.lrds, abs=1e-9)
    assert there.sads == pytest.approx(here.sads, abs=1e-9)


def test_meanings_shuffled_within_the_languages_lose_their_alignment(study):
    h_LSN, language_S, meaning_S = study
    shuffled_S = (meaning_S + language_S) % MEANINGS
    assert compared(h_LSN, language_S, meaning_S).sads > compared(h_LSN, language_S, shuffled_S).sads + 0.05


def test_languages_shuffled_lose_their_distinction(study):
    h_LSN, language_S, meaning_S = study
    shuffled_S = (language_S + meaning_S) % LANGUAGES
    assert compared(h_LSN, language_S, meaning_S).layer_lrds[0] > compared(h_LSN, shuffled_S, meaning_S).layer_lrds[0] + 0.05


def test_a_sample_that_activates_nothing_is_like_no_sample():
    similarity_SS = similarity_map(torch.tensor([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 4.0]]))
    assert similarity_SS.tolist() == [[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 1.0]]


MEASURES = {"lrds": lrds, "sads": sads}


@pytest.mark.parametrize("measure", MEASURES)
def test_the_mean_over_pairs_is_the_equation_over_all_sentences(study, measure):
    h_LSN, language_S, meaning_S = study
    comparison = compare(labelled(*study))
    exact = MEASURES[measure](comparison.similarity_SS, language_S, meaning_S)
    assert comparison.whole[measure] == pytest.approx(exact, abs=1e-12)
    pairs = comparison.by_pair()
    whole = pairs[pairs["layer"] == -1]
    assert whole[measure].mean() == pytest.approx(exact, abs=1e-12)
    for layer, h_SN in enumerate(h_LSN):
        alone = MEASURES[measure](similarity_map((h_SN @ h_SN.T).double()), language_S, meaning_S)
        assert pairs.loc[pairs["layer"] == layer, measure].mean() == pytest.approx(alone, abs=1e-12)
        assert comparison.by_layer()[measure][layer] == pytest.approx(alone, abs=1e-12)


def test_the_value_of_a_pair_is_that_of_a_study_of_two_languages(study, by_hand):
    h_LSN, language_S, meaning_S = study
    comparison = compare(labelled(*study))
    map_SS, pairs = comparison.similarity_SS.numpy(), comparison.by_pair()
    assert len(pairs) == (1 + LAYERS) * LANGUAGES * (LANGUAGES - 1) / 2
    for row in pairs[pairs["layer"] == -1].itertuples():
        one, other = (int(name.split()[1]) for name in (row.language, row.other))
        of_two = np.flatnonzero(np.isin(language_S, [one, other]))
        labels = language_S[of_two].tolist(), meaning_S[of_two].tolist()
        assert row.lrds == pytest.approx(by_hand.lrds(map_SS[of_two][:, of_two], *labels), abs=1e-9)
        assert row.sads == pytest.approx(by_hand.sads(map_SS[of_two][:, of_two], *labels), abs=1e-9)
        for language, within in ((one, row.within), (other, row.within_other)):
            rows = np.flatnonzero(language_S == language)
            assert within == pytest.approx(by_hand.average_similarity(map_SS[rows][:, rows]), abs=1e-9)


def test_pairs_stand_once_each_in_the_order_of_the_map_with_their_scripts():
    h_SN = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    codes = ["en", "fr", "ru", "xx"]
    languages, meanings = [code for code in codes for _ in range(2)], ["a", "b"] * 4
    pairs = compare(Activations([h_SN], languages, meanings, torch.ones(8), 1)).by_pair()
    assert list(pairs)[:3] == ["language", "other", "layer"] and list(pairs)[-1] == "same_script"
    whole = pairs[pairs["layer"] == -1]
    names = list(zip(whole["language"], whole["other"], strict=True))
    assert names == [("en", "fr"), ("en", "ru"), ("en", "xx"), ("fr", "ru"), ("fr", "xx"), ("ru", "xx")]
    assert whole["same_script"].tolist() == [True, False, None, False, None, None]


def test_languages_that_share_one_of_their_scripts_share_a_script():
    assert same_script("ja", "zh") and same_script("uz", "en") and same_script("ar", "nowhere") is None


@pytest.mark.parametrize("meanings", ["ab ab aa", "ab ab ac"], ids=["twice", "alone"])
def test_sentences_that_are_not_parallel_are_refused(meanings):
    labels = list(meanings.replace(" ", ""))
    activations = Activations([torch.randn(6, 3)], ["x", "x", "y", "y", "z", "z"], labels, torch.ones(6), 1)
    with pytest.raises(ValueError, match="every language needs one sentence of every meaning: the sentences are not parallel"):
        compare(activations)


def test_a_measure_that_there_is_not_is_refused(study):
    with pytest.raises(InputError, match=r"measures=nearness: there is none of this name\nRemedy: choose among .*lrds.*sads"):
        compare(labelled(*study), ["lrds", "nearness"])


def test_only_the_measures_named_are_taken(study):
    assert list(compare(labelled(*study), ["sads"]).whole.scores()) == ["sads"]


# Intervals, documents, contributions ------------------------------------------------------------------------------------


@pytest.fixture
def sampled() -> Activations:
    """Two layers, four languages, twelve meanings of three documents."""
    random = torch.Generator().manual_seed(8)
    language_S, meaning_S = torch.arange(4).repeat_interleave(12), torch.arange(12).repeat(4)
    language_GN, meaning_MN = torch.randn(4, 9, generator=random), torch.randn(12, 9, generator=random)
    h_L_SN = [1 + language_GN[language_S] + meaning_MN[meaning_S] + torch.randn(48, 9, generator=random) for _ in range(2)]
    return labelled(h_L_SN, language_S, meaning_S)


def in_documents(activations: Activations) -> Activations:
    """The same sentences, where the meanings tell of three documents."""
    return replace(activations, meanings=[f"line {meaning} of d{int(meaning) % 3}" for meaning in activations.meanings])


def test_every_part_is_a_score_and_alignment_one_of_pairs(sampled: Activations) -> None:
    found = compare(sampled)
    parts = components(found.similarity_SS, 4)
    assert set(found.whole.scores()) == {*COMPONENTS, "mexa", "cka", "anc", "language_id"}
    for name in COMPONENTS:
        assert found.whole[name] == pytest.approx(parts[name].value, abs=1e-12)
    pairs = found.by_pair().query("layer == -1")
    assert not set(TOGETHER) & set(pairs)
    assert pairs["alignment"].mean() == pytest.approx(parts["alignment"].value, abs=1e-12)
    for layer in found.layers:
        assert layer["common"] + layer["lrds"] + layer["sads"] + layer["rest"] == pytest.approx(1, abs=1e-9)


def test_intervals_are_those_of_the_estimates_and_bands_hold_for_all_layers(sampled: Activations) -> None:
    found = compare(sampled)
    parts = components(found.similarity_SS, 4)
    assert found.intervals(0.9)["lrds"] == pytest.approx(parts["lrds"].interval(0.9))
    assert "mexa" not in found.intervals(0.9)
    layers = found.by_layer(0.9, seed=3)
    assert list(layers)[:3] == ["layer", "alignment", "cka"]
    band = simultaneous_band([layer.estimate["sads"] for layer in found.layers], 0.9, 3)
    assert list(zip(layers["sads_lo"], layers["sads_hi"], strict=True)) == band
    assert not [name for name in found.by_layer() if name.endswith(("_lo", "_hi"))]


def test_sentences_of_one_document_count_as_one(sampled: Activations) -> None:
    alone, together = compare(sampled), compare(in_documents(sampled))
    assert together.whole.scores() == alone.whole.scores()
    expected = alone.whole.estimate["sads"].of_groups(torch.arange(12) % 3).interval(0.95)
    assert together.intervals(0.95)["sads"] == pytest.approx(expected)
    assert together.intervals(0.95)["sads"] != pytest.approx(alone.intervals(0.95)["sads"])
    one = replace(sampled, meanings=[f"line {meaning} of d" for meaning in sampled.meanings])
    assert compare(one).intervals(0.95) == {}, "one document has no spread"


def test_contributions_average_to_the_scores_and_pair_the_runs(sampled: Activations) -> None:
    found = compare(sampled)
    table = found.contributions()
    assert list(table) == ["meaning", "layer", "lrds", "sads"]
    assert table["meaning"].tolist() == list(map(str, range(12))) * 3
    means = table.groupby("layer")[["lrds", "sads"]].mean()
    assert means.loc[-1].tolist() == pytest.approx([found.whole["lrds"], found.whole["sads"]], abs=1e-12)
    assert means.loc[1].tolist() == pytest.approx([found.layers[1]["lrds"], found.layers[1]["sads"]], abs=1e-12)
    whole = table.query("layer == -1")["sads"]
    assert whole.std() / np.sqrt(12) == pytest.approx(found.whole.estimate["sads"].error())


def test_two_meanings_have_scores_and_no_intervals(sampled: Activations) -> None:
    few = [row for row, meaning in enumerate(sampled.meanings) if meaning in ("0", "1")]
    activations = replace(
        sampled,
        h_L_SN=[h_SN[few] for h_SN in sampled.h_L_SN],
        languages=[sampled.languages[row] for row in few],
        meanings=[sampled.meanings[row] for row in few],
        tokens_S=sampled.tokens_S[few],
    )
    found = compare(activations)
    assert found.intervals(0.95) == {}
    assert np.isfinite(list(found.whole.scores().values())).all()
    assert list(found.by_layer(0.95)) == list(found.by_layer())
