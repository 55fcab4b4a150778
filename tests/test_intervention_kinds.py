"""What can be done to neurons beside silencing them: towards a mean, by a dose, and by an edit of one's own."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from lf_experiments.config.schema import Dtype
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.errors import InputError
from lf_experiments.measures.regions import Region, random_region, region_of
from lf_experiments.models.load import Reader
from lf_experiments.neurons.activations import Activations
from lf_experiments.neurons.capture import capture, capture_sentences
from lf_experiments.neurons.interventions import EDITS, VALUES, Intervention, edit_of, intervened

TEXTS = {
    "en": ["The child reads.", "No."],
    "fr": ["Après la pluie, un enfant lit un livre.", "Non."],
    "zh": ["孩子在看书。", "不。"],
}


@pytest.fixture(scope="module")
def activations(reader: Reader) -> Activations:
    return capture_sentences(reader, ParallelSentences(["reads", "no"], TEXTS), 200)["mean"]


@pytest.fixture
def region(reader: Reader) -> Region:
    """Some neurons of every layer, as if they were those of French."""
    return Region("fr", random_region(reader.widths, 20, seed=1).where_L_N)


@torch.no_grad()
def token_mean(reader: Reader, texts: list[str]) -> list[Tensor]:
    """The mean of every neuron over all tokens of some texts, read one by one, layer by layer (N,)."""
    seen: list[list[Tensor]] = [[] for _ in reader.sites]
    handles = [site.tap(lambda h, layer=layer: seen[layer].extend(h[0].unbind())) for layer, site in enumerate(reader.sites)]
    for text in texts:
        reader.model(torch.tensor(reader.token_ids([text])), use_cache=False)
    for handle in handles:
        handle.remove()
    return [torch.stack(tokens_N).mean(dim=0) for tokens_N in seen]


@torch.no_grad()
def neurons_under(reader: Reader, intervention: Intervention) -> list[Tensor]:
    """The neurons at every token of a sentence, as their second matrices receive them, layer by layer (T, N)."""
    seen: list[Tensor] = []
    with intervened(reader.sites, intervention):
        handles = [site.tap(lambda h: seen.append(h[0].clone())) for site in reader.sites]
        reader.model(torch.tensor(reader.token_ids(["She saw two horses."])), use_cache=False)
        for handle in handles:
            handle.remove()
    return seen


def test_the_means_weigh_tokens_within_a_language_and_languages_alike(reader: Reader, activations: Activations) -> None:
    of_language = {code: token_mean(reader, texts) for code, texts in TEXTS.items()}
    for layer in range(len(reader.sites)):
        en, fr, zh = (of_language[code][layer] for code in TEXTS)
        everywhere, elsewhere = (VALUES[kind](activations, "fr")[layer] for kind in ("mean", "others"))
        torch.testing.assert_close(everywhere, (en + fr + zh) / 3, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(elsewhere, (en + zh) / 2, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(VALUES["steer"](activations, "fr")[layer], fr, rtol=1e-4, atol=1e-5)
    assert (everywhere - elsewhere).abs().max() > 1e-2


def test_the_others_of_random_neurons_are_all_languages(activations: Activations) -> None:
    means = [VALUES[kind](activations, "random") for kind in ("mean", "others", "steer")]
    assert all(torch.equal(means[0][layer], same[layer]) for same in means[1:] for layer in range(len(means[0])))


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("dose", [0.25, 1.0])
def test_neurons_are_moved_towards_the_mean_and_no_other_is(
    reader: Reader, activations: Activations, region: Region, kind: str, dose: float
) -> None:
    """In the first layer, whose neurons no other layer has changed before."""
    before_TN = neurons_under(reader, Intervention("none", [torch.zeros_like(where_N) for where_N in region.where_L_N]))[0]
    found = neurons_under(reader, region.intervention(kind, activations, dose))
    value_N, where_N = VALUES[kind](activations, "fr")[0], region.where_L_N[0]
    torch.testing.assert_close(found[0][:, where_N], (before_TN + dose * (value_N - before_TN))[:, where_N])
    assert torch.equal(found[0][:, ~where_N], before_TN[:, ~where_N])
    if dose == 1:
        for h_TN, value_N, where_N in zip(found, VALUES[kind](activations, "fr"), region.where_L_N, strict=True):
            assert torch.equal(h_TN[:, where_N], value_N[where_N].expand(len(h_TN), -1))


@pytest.mark.parametrize("kind", EDITS)
@torch.no_grad()
def test_a_dose_of_nothing_changes_no_bit(reader: Reader, activations: Activations, region: Region, kind: str) -> None:
    ids_1T = torch.tensor(reader.token_ids(["She saw two horses."]))
    before = reader.model(ids_1T).logits
    with intervened(reader.sites, region.intervention(kind, activations, dose=0)):
        assert torch.equal(reader.model(ids_1T).logits, before)
    with intervened(reader.sites, region.intervention(kind, activations, dose=1)):
        assert not torch.equal(reader.model(ids_1T).logits, before)
    assert torch.equal(reader.model(ids_1T).logits, before)


def test_half_a_deactivation_halves(reader: Reader, region: Region) -> None:
    before_TN, half_TN = (neurons_under(reader, region.intervention("zero", dose=dose))[0] for dose in (0, 0.5))
    where_N = region.where_L_N[0]
    torch.testing.assert_close(half_TN[:, where_N], before_TN[:, where_N] / 2)
    assert torch.equal(half_TN[:, ~where_N], before_TN[:, ~where_N])


@pytest.mark.parametrize(("dose", "times"), [(1, 2), (0.5, 1.5), (-1, 0), (-0.5, 0.5)])
def test_scaling_multiplies(reader: Reader, region: Region, dose: float, times: float) -> None:
    before_TN, scaled_TN = (neurons_under(reader, region.intervention("scale", dose=each))[0] for each in (0, dose))
    where_N = region.where_L_N[0]
    torch.testing.assert_close(scaled_TN[:, where_N], times * before_TN[:, where_N])
    assert torch.equal(scaled_TN[:, ~where_N], before_TN[:, ~where_N])


def test_a_fraction_of_a_region_are_its_neurons_with_the_highest_z() -> None:
    table = pd.DataFrame(
        [("fr", 0, 3, 2.5), ("fr", 0, 5, 2.9), ("fr", 1, 0, 2.1), ("fr", 1, 2, 2.7), ("fr", 1, 3, 2.5), ("en", 0, 1, 9.0)],
        columns=["language", "layer", "neuron", "z"],
    )
    found = {}
    for fraction in (0.1, 0.5, 0.8, 1.0):
        masks = region_of("fr", table, [6, 4], fraction).where_L_N
        found[fraction] = [(layer, n) for layer, mask in enumerate(masks) for n in mask.nonzero()[:, 0].tolist()]
    assert found == {
        0.1: [(0, 5)],
        0.5: [(0, 3), (0, 5), (1, 2)],
        0.8: [(0, 3), (0, 5), (1, 2), (1, 3)],
        1.0: [(0, 3), (0, 5), (1, 0), (1, 2), (1, 3)],
    }
    assert region_of("zh", table, [6, 4], 0.5).size == 0


def test_the_number_format_of_the_model_stays(model_folder: Path, load, activations: Activations, region: Region) -> None:
    found = neurons_under(load(model_folder, Dtype.bfloat16), region.intervention("mean", activations))
    assert {h_TN.dtype for h_TN in found} == {torch.bfloat16}


def test_zero_is_the_deactivation_of_the_paper(region: Region) -> None:
    same = [(each.name, each.kind, each.dose, each.draw, each.size) for each in (region.intervention("zero"), region.zero())]
    assert same == [("fr", "zero", 1.0, 0, 20)] * 2


def test_means_need_activations(reader: Reader, region: Region) -> None:
    with pytest.raises(
        ValueError, match="the intervention others moves neurons to a mean: give the activations of the pool mean"
    ):
        region.intervention("others")
    rates = capture_sentences(reader, ParallelSentences(["no"], {"en": ["No."]}), 200, ["rate"])["rate"]
    with pytest.raises(ValueError, match="give the activations of the pool mean"):
        region.intervention("mean", rates)
    bare = Intervention("fr", region.where_L_N, kind="mean")
    with pytest.raises(ValueError, match="the intervention has none"), intervened(reader.sites, bare):
        capture(reader, ["x"], 10)
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


def test_an_intervention_that_there_is_not_is_told_those_there_are() -> None:
    with pytest.raises(
        InputError,
        match=r"intervention.name=freeze: there is none of this name\nRemedy: choose among zero, mean, others, scale, steer",
    ):
        edit_of("freeze")


def test_an_edit_of_ones_own_needs_no_fork(reader: Reader, region: Region, tmp_path: Path, monkeypatch) -> None:
    code = "def negated(h_N, where_N, value_N, dose):\n    return h_N.where(~where_N, -dose * h_N)\n"
    (tmp_path / "edits_of_mine.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    before_TN = neurons_under(reader, region.intervention("zero", dose=0))[0]
    found_TN = neurons_under(reader, region.intervention("edits_of_mine:negated", dose=2))[0]
    where_N = region.where_L_N[0]
    assert torch.equal(found_TN[:, where_N], -2 * before_TN[:, where_N]) and region.size == 20
