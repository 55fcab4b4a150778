"""Neurons switched off are 0 at the site and nowhere else, and on again afterwards."""

from contextlib import contextmanager

import pytest
import torch
from recorded import captured

from lf_experiments.config.schema import Dtype
from lf_experiments.models.batches import padded
from lf_experiments.neurons.interventions import Intervention, intervened
from lf_experiments.neurons.sites import DenseSite


@pytest.fixture
def batch(reader, sentences):
    return padded(reader.token_ids(sentences[:8]), reader.model.device)


@torch.no_grad()
def logits(model, batch):
    """At real tokens only, (tokens, vocabulary)."""
    ids_BT, mask_BT = batch
    return model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits[mask_BT.bool()]


def no_region(reader):
    return torch.zeros(len(reader.sites), reader.widths[0], dtype=torch.bool)


def some_region(reader, share=0.3, seed=0):
    random = torch.rand(no_region(reader).shape, generator=torch.Generator().manual_seed(seed))
    return random < share


def deactivated(reader, off_LN):
    return intervened(reader.sites, Intervention("en", list(off_LN)))


def blocks(model):
    return getattr(model.base_model, "h", None) or model.base_model.layers


@contextmanager
def received(sites):
    """Inside the block, what each site received last; ask for it after `intervened` to see what that left."""
    seen = {}
    handles = [
        site.matrix.register_forward_pre_hook(lambda _, inputs, layer=layer: seen.update({layer: inputs[0].clone()}))
        for layer, site in enumerate(sites)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def test_an_empty_region_changes_no_bit(reader, batch):
    before = logits(reader.model, batch)
    with deactivated(reader, no_region(reader)):
        assert torch.equal(logits(reader.model, batch), before)
        assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


def test_the_model_is_restored_to_the_bit(reader, batch):
    before = logits(reader.model, batch)
    with deactivated(reader, some_region(reader)):
        assert (logits(reader.model, batch) - before).abs().max() > 0.1
    assert torch.equal(logits(reader.model, batch), before)
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


def test_the_model_is_restored_after_an_exception(reader, batch):
    before = logits(reader.model, batch)
    with pytest.raises(KeyboardInterrupt), deactivated(reader, some_region(reader)):
        raise KeyboardInterrupt
    assert torch.equal(logits(reader.model, batch), before)


def test_all_neurons_off_leave_the_bias_of_the_mlp(model_folder, load, reader, batch):
    """Against a model whose MLP returns the residual and its bias (BLOOM), or zero (LLaMA), without computing."""
    stubbed = load(model_folder).model
    for block in blocks(stubbed):
        if hasattr(block.mlp, "dense_4h_to_h"):
            block.mlp.forward = lambda _, residual, bias=block.mlp.dense_4h_to_h.bias: residual + bias
        else:
            block.mlp.forward = torch.zeros_like
    with deactivated(reader, ~no_region(reader)):
        torch.testing.assert_close(logits(reader.model, batch), logits(stubbed, batch), rtol=0, atol=1e-6)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_off_equals_columns_of_the_second_matrix_at_zero(model_folder, load, reader, batch, share):
    off_LN = some_region(reader, share)
    edited = load(model_folder)
    with torch.no_grad():
        for site, off_N in zip(edited.sites, off_LN, strict=True):
            site.matrix.weight[:, off_N] = 0
    with deactivated(reader, off_LN):
        torch.testing.assert_close(logits(reader.model, batch), logits(edited.model, batch), rtol=0, atol=1e-5)


def test_only_the_marked_neurons_change_what_the_site_receives(reader, batch):
    off_LN = no_region(reader)
    off_LN[1, [0, 5, 30]] = True
    with received(reader.sites) as before:
        logits(reader.model, batch)
    with deactivated(reader, off_LN), received(reader.sites) as after:
        logits(reader.model, batch)
    real_BT = batch[1].bool()
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1][:, :, ~off_LN[1]], before[1][:, :, ~off_LN[1]])
    assert (before[1][:, :, off_LN[1]] != 0).all()
    assert (after[1][:, :, off_LN[1]] == 0).all()
    assert not torch.equal(after[2][real_BT], before[2][real_BT])


def test_capture_inside_the_block_sees_the_neurons_at_zero(reader, sentences):
    off_LN = some_region(reader)
    with deactivated(reader, off_LN):
        h_LSN = captured(reader, sentences, 200)
    is_zero_LN = (h_LSN == 0).all(dim=1)
    assert torch.equal(is_zero_LN, off_LN)


def test_nested_blocks_are_their_union_and_end_one_by_one(reader, batch):
    one, other = some_region(reader, seed=1), some_region(reader, seed=2)
    with deactivated(reader, one):
        only_one = logits(reader.model, batch)
    with deactivated(reader, one | other):
        union = logits(reader.model, batch)
    assert not torch.equal(union, only_one)
    with deactivated(reader, one):
        with deactivated(reader, other):
            assert torch.equal(logits(reader.model, batch), union)
        assert torch.equal(logits(reader.model, batch), only_one)


def test_generation_runs_with_the_neurons_off_at_every_new_token(reader, batch):
    off_LN = some_region(reader)
    prompt = batch[0][:1, :4]
    options = {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    with deactivated(reader, off_LN), received(reader.sites) as seen:
        with_cache = reader.model.generate(prompt, use_cache=True, **options)
        assert seen[0].shape[1] == 1, "the last step should have read one token"
        assert all((seen[layer][:, :, off_N] == 0).all() for layer, off_N in enumerate(off_LN))
        assert torch.equal(reader.model.generate(prompt, use_cache=False, **options), with_cache)
    assert not torch.equal(reader.model.generate(prompt, use_cache=True, **options), with_cache)


def beside_each_other(reader):
    """Interventions that differ in region, kind, dose and value, and some that do nothing."""
    values = [torch.linspace(-2, 2, width) for width in reader.widths]
    one, other = list(some_region(reader, seed=1)), list(some_region(reader, seed=2))
    first_layer = [one[0], *(torch.zeros_like(where_N) for where_N in one[1:])]
    return [
        Intervention("none", list(no_region(reader))), Intervention("en", one), Intervention("fr", other),
        Intervention("half", one, dose=0.5), Intervention("moved", other, kind="mean", value_L_N=values),
        Intervention("moved too", one, kind="mean", value_L_N=[-value_N for value_N in values]),
        Intervention("scaled", first_layer, kind="scale", dose=2.0), Intervention("undone", one, dose=0.0),
    ]  # fmt: skip


@torch.no_grad()
def test_every_row_has_its_own_intervention(reader, batch):
    """Against each row alone under its own, in a batch of the same shape."""
    ids_BT, mask_BT = batch
    by_row = beside_each_other(reader)
    before = reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    with intervened(reader.sites, *by_row), received(reader.sites) as seen:
        found = reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    for row, intervention in enumerate(by_row):
        with intervened(reader.sites, intervention), received(reader.sites) as alone:
            logits_BTV = reader.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
        assert torch.equal(found[row], logits_BTV[row])
        assert all(torch.equal(seen[layer][row], alone[layer][row]) for layer in seen)
        assert torch.equal(found[row], before[row]) == (intervention.name in ("none", "undone"))
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


@torch.no_grad()
def test_rows_under_the_same_intervention_are_those_under_one(reader, batch):
    with deactivated(reader, some_region(reader)):
        expected = logits(reader.model, batch)
    with intervened(reader.sites, *[Intervention("en", list(some_region(reader)))] * 8):
        assert torch.equal(logits(reader.model, batch), expected)
    with intervened(reader.sites, *[Intervention("en", list(some_region(reader))) for _ in range(8)]):
        assert torch.equal(logits(reader.model, batch), expected)
    with intervened(reader.sites):
        assert not torch.equal(logits(reader.model, batch), expected)


@pytest.mark.parametrize("rows", [2, 3, 4, 7])
def test_a_batch_of_another_number_of_rows_is_refused(reader, batch, rows):
    by_row = beside_each_other(reader)[1 : 1 + rows]
    said = f"every row has an intervention of its own: a batch must have {rows} rows, and this one has 8"
    with pytest.raises(ValueError, match=said), intervened(reader.sites, *by_row):
        logits(reader.model, batch)
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


def test_the_region_of_any_row_must_fit(reader):
    other = Intervention("en", [torch.ones(5, dtype=torch.bool)] * 3)
    with (
        pytest.raises(ValueError, match="a region of 5 neurons does not fit layer 0, which has"),
        intervened(reader.sites, *beside_each_other(reader), other),
    ):
        pass


def test_a_mask_per_row_is_gathered_where_it_is_used_and_not_kept(reader, batch, monkeypatch):
    """What is kept is a mask for every intervention, not for every row."""
    kept = []
    change = DenseSite.change
    monkeypatch.setattr(DenseSite, "change", lambda site, how, marks: kept.append(marks) or change(site, how, marks))
    _, one, other, *_ = beside_each_other(reader)
    with intervened(reader.sites, *[one, other] * 4):
        logits(reader.model, batch)
    assert [(len(marks.where_IN), marks.of_B.tolist()) for marks in kept] == [(2, [0, 1] * 4)] * 3


@pytest.mark.parametrize("layers", [2, 4])
def test_a_region_of_another_number_of_layers_is_refused(reader, layers):
    off_LN = torch.ones(layers, reader.widths[0], dtype=torch.bool)
    with (
        pytest.raises(ValueError, match=f"a region of {layers} layers does not fit a model of 3"),
        deactivated(reader, off_LN),
    ):
        pass
    assert not any(site.matrix._forward_pre_hooks for site in reader.sites)


def test_the_region_itself_is_not_touched(reader, batch):
    off_LN = some_region(reader)
    copy = off_LN.clone()
    with deactivated(reader, off_LN):
        logits(reader.model, batch)
    assert torch.equal(off_LN, copy)


def test_a_bfloat16_model_stays_bfloat16(model_folder, load, batch):
    reader = load(model_folder, Dtype.bfloat16)
    off_LN = some_region(reader)
    before = logits(reader.model, batch)
    with deactivated(reader, off_LN), received(reader.sites) as seen:
        during = logits(reader.model, batch)
    assert all(h_BTN.dtype == torch.bfloat16 for h_BTN in seen.values())
    assert all((seen[layer][:, :, off_N] == 0).all() for layer, off_N in enumerate(off_LN))
    assert during.dtype == before.dtype and not torch.equal(during, before)
    assert torch.equal(logits(reader.model, batch), before)
