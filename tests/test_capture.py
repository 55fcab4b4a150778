"""What is recorded is what the model computed, whatever the batches, and nothing of it stays behind."""

import logging
import math
import pickle
import random
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from recorded import captured, labelled
from torch import nn

from lf_experiments.config.schema import Dtype, ProbeConfig
from lf_experiments.errors import InputError
from lf_experiments.measures.probe import probe
from lf_experiments.measures.similarity import compare
from lf_experiments.models.batches import padded
from lf_experiments.neurons import capture as capture_module
from lf_experiments.neurons.capture import Sentence, all_finite, capture, read_sentences
from lf_experiments.neurons.forward import pooled, pooled_batch
from lf_experiments.neurons.sites import DenseSite

EVERY_BUDGET = [1, 40, 300, 10**6]


@contextmanager
def inputs_of(modules):
    """Inside the block, the first input of every call of each module, in a list per module."""
    seen = defaultdict(list)
    handles = [
        module.register_forward_pre_hook(lambda _, inputs, place=place: seen[place].append(inputs[0].detach().clone()))
        for place, module in enumerate(modules)
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def mlps(reader):
    return [block.mlp for block in getattr(reader.model.base_model, "h", None) or reader.model.base_model.layers]


def neurons_by_hand(mlp, x_TH):
    """The neurons of eq. (1) and of eq. (2) and (3), in float64, from the weights."""
    x_TH = x_TH.double().numpy()
    weight = {name: parameter.detach().double().numpy() for name, parameter in mlp.named_parameters()}
    if "dense_h_to_4h.weight" in weight:
        z_TN = x_TH @ weight["dense_h_to_4h.weight"].T + weight["dense_h_to_4h.bias"]
        return 0.5 * z_TN * (1 + np.tanh(np.sqrt(2 / np.pi) * (z_TN + 0.044715 * z_TN**3)))
    gate_TN, up_TN = x_TH @ weight["gate_proj.weight"].T, x_TH @ weight["up_proj.weight"].T
    return gate_TN / (1 + np.exp(-gate_TN)) * up_TN


@torch.no_grad()
def token_neurons(reader, text):
    """The neurons of every token of one sentence read alone, (L, T, N) in float64, past the sites of the package."""
    ids_BT = torch.tensor([reader.tokenizer(text, add_special_tokens=False)["input_ids"]])
    with inputs_of(mlps(reader)) as seen:
        reader.model(ids_BT)
    return np.stack([neurons_by_hand(mlp, seen[layer][0][0]) for layer, mlp in enumerate(mlps(reader))])


@pytest.fixture(scope="module")
def expected_LSN(reader, sentences, by_hand):
    """Eq. (5) for every sentence by itself."""
    by_sentence = [[by_hand.mean_activation(h_TN) for h_TN in token_neurons(reader, text)] for text in sentences]
    return np.stack(by_sentence, axis=1)


def hooks(model):
    return [name for name, module in model.named_modules() if module._forward_pre_hooks or module._forward_hooks]


@contextmanager
def memory_for(reader, rows_that_fit):
    """A device on which the second layer runs out of memory above a number of rows; yields the batch sizes it was given."""
    sizes = []

    def allocate(_, inputs):
        sizes.append(len(inputs[0]))
        if len(inputs[0]) > rows_that_fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.")

    handle = mlps(reader)[1].register_forward_pre_hook(allocate)
    try:
        yield sizes
    finally:
        handle.remove()


@pytest.mark.parametrize("batch_tokens", EVERY_BUDGET)
def test_capture_equals_the_neurons_recomputed_from_the_weights(reader, sentences, expected_LSN, batch_tokens):
    h_LSN = captured(reader, sentences, batch_tokens)
    assert h_LSN.shape == expected_LSN.shape
    assert h_LSN.dtype == torch.float32
    assert np.abs(expected_LSN).max() > 0.5, "the neurons of the tiny model should not all be near zero"
    np.testing.assert_allclose(h_LSN, expected_LSN, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", EVERY_BUDGET[1:])
def test_batched_equals_one_by_one(reader, sentences, batch_tokens):
    one_by_one = torch.cat([captured(reader, [text], 1) for text in sentences], dim=1)
    torch.testing.assert_close(captured(reader, sentences, batch_tokens), one_by_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_follow_the_texts_in_any_order(reader, sentences, expected_LSN, seed):
    order = random.Random(seed).sample(range(len(sentences)), len(sentences))
    h_LSN = captured(reader, [sentences[row] for row in order], 120)
    np.testing.assert_allclose(h_LSN, expected_LSN[:, order], rtol=1e-5, atol=1e-5)


def test_padding_is_left_out_where_it_would_show(reader, sentences, expected_LSN):
    """The control: a mean over all positions of the padded batch is another number."""
    sequences = reader.token_ids(sentences)
    ids_BT, mask_BT = padded(sequences, reader.model.device)
    with torch.no_grad():
        masked = torch.stack(pooled_batch(reader, ids_BT, mask_BT)["mean"].split(reader.widths, dim=1))
        with pooled(reader.sites, torch.ones_like(mask_BT), ["mean"]) as unmasked:
            reader.model.base_model(input_ids=ids_BT, attention_mask=mask_BT)
    np.testing.assert_allclose(masked, expected_LSN, rtol=1e-5, atol=1e-5)
    shortest = min(range(len(sequences)), key=lambda row: len(sequences[row]))
    unmasked_LBN = torch.stack(unmasked.h_BK["mean"].split(reader.widths, dim=1))
    assert (unmasked_LBN[:, shortest] - masked[:, shortest]).abs().max() > 0.1


def test_scores_and_regions_end_to_end_equal_the_paper_by_hand(reader, parallel, by_hand):
    """Sentences in, eq. (5) to (14) out: the package in batches against one sentence, one pair, one neuron at a time."""
    texts = [text for of_language in parallel.values() for text in of_language]
    meanings_each = len(texts) // len(parallel)
    language_S = torch.arange(len(parallel)).repeat_interleave(meanings_each)
    meaning_S = torch.arange(meanings_each).repeat(len(parallel))
    languages, meanings = language_S.tolist(), meaning_S.tolist()

    activations = labelled(captured(reader, texts, 200), language_S, meaning_S)
    comparison, regions = compare(activations), probe(activations, ProbeConfig("zscore", 2.0))

    by_sentence = [[by_hand.mean_activation(h_TN) for h_TN in token_neurons(reader, text)] for text in texts]
    mean_LSN = np.stack(by_sentence, axis=1)
    map_SS = by_hand.similarity(by_hand.unit_vectors(mean_LSN))
    score_GLN, z_GLN = by_hand.scores_and_z(mean_LSN, languages)
    np.testing.assert_allclose(comparison.similarity_SS, map_SS, rtol=0, atol=1e-5)
    assert comparison.whole["lrds"] == pytest.approx(by_hand.lrds(map_SS, languages, meanings), abs=1e-5)
    assert comparison.whole["sads"] == pytest.approx(by_hand.sads(map_SS, languages, meanings), abs=1e-5)
    np.testing.assert_allclose(torch.stack(regions.score_L_GN, dim=1), score_GLN, rtol=0, atol=1e-5)
    np.testing.assert_allclose(torch.stack(regions.z_L_GN, dim=1), z_GLN, rtol=0, atol=1e-4)
    clear = np.abs(z_GLN - 2.0) > 1e-4
    np.testing.assert_array_equal(torch.stack(regions.is_key_L_GN, dim=1).numpy()[clear], (z_GLN > 2.0)[clear])
    assert regions.sklr > 0


def test_no_hook_stays_behind(reader, sentences):
    capture(reader, sentences, 100)
    assert hooks(reader.model) == []


def test_no_hook_stays_behind_when_the_model_fails(model_folder, load, sentences):
    reader = load(model_folder)

    def fail(*_):
        raise KeyboardInterrupt

    broken = mlps(reader)[-1].register_forward_pre_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        capture(reader, sentences, 100)
    broken.remove()
    assert hooks(reader.model) == []


def test_no_gradient_is_kept(reader):
    assert not captured(reader, ["x"], 10).requires_grad


def test_the_language_model_head_is_not_run(reader, sentences):
    with inputs_of([reader.model.get_output_embeddings()]) as seen:
        capture(reader, sentences, 100)
    assert not seen[0]


def test_no_pass_is_larger_than_the_budget(reader, sentences):
    longest = max(map(len, reader.token_ids(sentences)))
    with inputs_of(mlps(reader)[:1]) as seen:
        capture(reader, sentences, longest + 10)
    assert max(x_BTH.shape[0] * x_BTH.shape[1] for x_BTH in seen[0]) <= longest + 10
    assert len(seen[0]) < len(sentences)


def test_a_site_that_is_never_called_is_an_error(reader):
    bypassed = replace(reader, sites=[reader.sites[0], DenseSite(nn.Linear(reader.widths[1], 1)), *reader.sites[2:]])
    with pytest.raises(RuntimeError, match=r"layers \[1\] were never called"):
        capture(bypassed, ["x"], 10)
    assert hooks(reader.model) == []


def test_bloom_that_computes_in_slices_is_refused(model_folders, load):
    """`slow_but_exact` computes past the module: with the switch set behind the loader's back nothing fires."""
    reader = load(model_folders["bloom"])
    for mlp in mlps(reader):
        mlp.pretraining_tp, mlp.slow_but_exact = 2, True
    with pytest.raises(RuntimeError, match=r"layers \[0, 1, 2\] were never called"):
        capture(reader, ["x"], 10)


def test_bloom_saved_with_slices_is_loaded_without_them(model_folders, load, tmp_path, sentences):
    original = load(model_folders["bloom"])
    sliced = load(model_folders["bloom"])
    sliced.model.config.pretraining_tp, sliced.model.config.slow_but_exact = 2, True
    sliced.model.save_pretrained(tmp_path)
    sliced.tokenizer.save_pretrained(tmp_path)
    assert torch.equal(captured(load(tmp_path), sentences, 100), captured(original, sentences, 100))


def test_a_sentence_without_tokens_is_named(reader):
    with pytest.raises(InputError) as info:
        capture(reader, ["a sentence", "", "another"], 100)
    assert str(info.value) == (
        "dataset='': this sentence has no tokens\nRemedy: take it out of the corpus, or change the tokenizer"
    )


def test_sentences_longer_than_the_context_are_counted_in_a_warning(reader, sentences, caplog):
    lengths = sorted(map(len, reader.token_ids(sentences)))
    assert lengths[-3] < lengths[-2]
    capture(replace(reader, context=lengths[-1]), sentences, 300)
    assert not caplog.messages
    capture(replace(reader, context=lengths[-3]), sentences, 300)
    assert [message for message in caplog.messages if message.startswith(f"2 of {len(sentences)} sentences are longer")]


def test_no_sentence_gives_no_row(reader):
    assert captured(reader, [], 100).shape == (len(reader.sites), 0, reader.widths[0])


def test_a_sentence_much_longer_than_a_batch_is_named_where_no_context_is_known(reader, caplog):
    unknown, long = replace(reader, context=None), "水" * 200
    tokens = len(reader.token_ids([long])[0])
    captured(unknown, ["x", long], tokens // 4 + 1)
    assert not caplog.messages
    captured(unknown, ["x", long], tokens // 5)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        f"The sentence {long[:60]!r} has {tokens} tokens, the most of any sentence and 5 times"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_damaged_weights_are_named_with_their_layer_and_the_remedy(model_folder, load, value, sentences):
    reader = load(model_folder)
    first_matrix = next(parameter for name, parameter in mlps(reader)[1].named_parameters() if name.endswith("weight"))
    with torch.no_grad():
        first_matrix[3] = value
    with pytest.raises(InputError) as info:
        capture(reader, sentences, 300)
    message = str(info.value)
    assert message.startswith("model.dtype=")
    assert "layer 1 gives NaN or infinite activations on the sentence " in message
    assert any(repr(text) in message for text in sentences)
    assert "\nRemedy: use model.dtype=float32 or bfloat16; if it is that already, the weights are damaged" in message


def test_infinite_activations_are_refused_like_nan(model_folder, load):
    """In the last layer, where nothing after it can turn infinity into NaN."""
    reader = load(model_folder)
    reader.sites[-1].matrix.register_forward_pre_hook(
        lambda _, inputs: (inputs[0].index_fill(-1, torch.tensor([3]), float("inf")),)
    )
    with pytest.raises(InputError, match=f"layer {len(reader.sites) - 1} gives NaN or infinite activations"):
        capture(reader, ["x"], 10)


def test_activations_that_are_not_finite_are_laid_to_the_sentence_that_has_them(model_folder, load, tokenizer):
    reader = load(model_folder)
    only_in_second = set(tokenizer("水")["input_ids"]) - set(tokenizer("x")["input_ids"])
    with torch.no_grad():
        reader.model.get_input_embeddings().weight[sorted(only_in_second)] = float("nan")
    with pytest.raises(InputError, match="layer 0 gives NaN or infinite activations on the sentence '水'"):
        capture(reader, ["x", "水"], 100)


@pytest.mark.parametrize("rows_that_fit", [1, 3, 8])
def test_out_of_memory_changes_nothing_but_the_batches(reader, sentences, rows_that_fit, caplog):
    undisturbed = captured(reader, sentences, 10**6)
    with memory_for(reader, rows_that_fit) as sizes, caplog.at_level(logging.WARNING):
        h_LSN = captured(reader, sentences, 10**6)
    assert sizes[0] == len(sentences) > rows_that_fit >= sizes[-1]
    torch.testing.assert_close(h_LSN, undisturbed, rtol=0, atol=1e-5)
    assert f"Out of memory with {len(sentences)} sequences in a batch: going on with half as many." in caplog.messages
    assert hooks(reader.model) == []


def test_memory_for_not_even_one_sentence_is_an_input_error(reader, sentences):
    with memory_for(reader, 0) as sizes, pytest.raises(InputError, match="not even one sequence fits into memory") as info:
        capture(reader, sentences, 10**6)
    assert "runtime.batch_tokens" in str(info.value) and "CUDA out of memory" in str(info.value)
    assert sizes[0] == len(sentences) and sizes[-1] == 1
    assert hooks(reader.model) == []


def test_a_bfloat16_model_is_averaged_in_float32(model_folder, load, sentences):
    reader = load(model_folder, Dtype.bfloat16)
    ids_BT = torch.tensor(reader.token_ids([sentences[-1]]))
    with inputs_of([site.matrix for site in reader.sites]) as seen:
        h_LSN = captured(reader, [sentences[-1]], 10**6)
    exact_LN = torch.stack([seen[layer][0][0].double().mean(dim=0) for layer in range(len(reader.sites))])
    assert seen[0][0].dtype == torch.bfloat16 and ids_BT.shape[1] > 100
    assert h_LSN.dtype == torch.float32
    torch.testing.assert_close(h_LSN[:, 0].double(), exact_LN, rtol=0, atol=1e-6)
    assert (exact_LN.bfloat16().double() - exact_LN).abs().max() > 1e-4, "rounding to bfloat16 would not have shown"


def test_a_bfloat16_model_records_nearly_what_the_float32_model_does(model_folder, load, sentences, expected_LSN):
    h_LSN = captured(load(model_folder, Dtype.bfloat16), sentences, 300)
    assert np.abs(h_LSN.numpy() - expected_LSN).mean() < 0.05 * np.abs(expected_LSN).mean()


def test_the_prefix_is_read_and_the_tokenizer_adds_nothing_by_itself(reader):
    """The tiny tokenizer adds none by itself, so one is made that would."""
    calls = []

    class Tokenizer:
        def __call__(self, texts, add_special_tokens, **_):
            calls.append(add_special_tokens)
            return {"input_ids": [[1, 5] if add_special_tokens else [5] for _ in texts]}

    without = captured(replace(reader, tokenizer=Tokenizer()), ["x"], 10)
    with_special = captured(replace(reader, tokenizer=Tokenizer(), prefix=[1]), ["x"], 10)
    assert calls == [False, False]
    assert (without - with_special).abs().max() > 1e-3


def test_padding_that_overflows_is_no_fault_of_the_sentences(model_folder, load, sentences):
    reader = load(model_folder)
    expected = captured(reader, sentences, 300)
    masks = []

    def overflow(_, inputs):
        h_BTN = inputs[0].clone()
        h_BTN[masks[-1] == 0] = float("inf")
        return (h_BTN,)

    reader.model.base_model.register_forward_pre_hook(
        lambda _, __, arguments: masks.append(arguments["attention_mask"]), with_kwargs=True
    )
    reader.sites[-1].matrix.register_forward_pre_hook(overflow)
    torch.testing.assert_close(captured(reader, sentences, 300), expected, rtol=0, atol=1e-5)
    assert any((mask == 0).any() for mask in masks)


def test_in_however_many_parts_a_batch_is_handed_on_is_the_same(reader, sentences, monkeypatch):
    whole = captured(reader, sentences, 10**6)
    monkeypatch.setattr(capture_module, "PART_BYTES", 3 * 4 * reader.num_neurons)
    handed_on = [len(found.rows) for _, found in read_sentences(reader, as_items(reader, sentences), 10**6, ("mean",))]
    assert handed_on == [3] * (len(sentences) // 3) + [len(sentences) % 3]
    assert torch.equal(captured(reader, sentences, 10**6), whole)


def test_what_is_found_of_a_sentence_goes_to_another_process_without_those_beside_it(reader, sentences, monkeypatch):
    monkeypatch.setattr(capture_module, "PART_BYTES", 4 * reader.num_neurons)
    parts = read_sentences(reader, as_items(reader, sentences), 10**6, ("mean",))
    assert all(len(pickle.dumps(found)) < 4 * reader.num_neurons + 500 for _, found in parts)


def as_items(reader, sentences):
    return [Sentence(row, *both) for row, both in enumerate(zip(sentences, reader.sequences(sentences), strict=True))]


@pytest.mark.parametrize(
    ("values", "finite"),
    [([1.0, -2.0], True), ([3e38, 3e38, 3e38], True), ([1.0, math.nan], False), ([math.inf, -math.inf], False), ([], True)],
)
def test_numbers_are_finite_also_where_their_sum_is_not(values, finite):
    assert all_finite(torch.tensor(values)) == finite
