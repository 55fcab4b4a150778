"""Beginnings that are read once give the scores of texts read whole, and spare what they are meant to spare."""

import math
from collections.abc import Callable

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    MistralConfig,
    MixtralConfig,
    OPTConfig,
    PreTrainedModel,
    Qwen3Config,
)

from lf_experiments.evaluations.beginnings import beginnings_can_be_shared, continuation_scores, reading_of
from lf_experiments.evaluations.losses import likelihood_and_misses, summed_scores
from lf_experiments.evaluations.reading import Request
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader
from lf_experiments.neurons.interventions import Intervention, Treated, nothing

SIZES = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZES |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128}
OTHERS = {
    "sliding windows": Gemma3TextConfig(**SIZES | {"num_hidden_layers": 7, "sliding_window": 6}),
    "sliding windows alone": MistralConfig(**SIZES, sliding_window=5),
    "experts": MixtralConfig(**SIZES, num_local_experts=4),
    "norms of queries": Qwen3Config(**SIZES),
    "learnt positions": GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    "positions from the mask": OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32),
}


def texts(reader: Reader) -> list[Treated]:
    """Beginnings of several lengths with one to four continuations, of one to nine tokens, under two interventions."""
    generator = torch.Generator().manual_seed(0)
    off = Intervention("x", [torch.arange(width) % 2 == 0 for width in reader.widths])
    found = []
    for length, endings in ((30, (4, 9)), (7, (1, 1, 3)), (19, (5,)), (1, (2, 2)), (12, (6, 1, 2, 6)), (25, (1, 1))):
        beginning = torch.randint(3, 300, (length,), generator=generator).tolist()
        for ending in endings:
            ids = beginning + torch.randint(3, 300, (ending,), generator=generator).tolist()
            found += [Treated(Request(ids, length), under) for under in (nothing(reader.widths), off)]
    under = {text.under.name: text.under for text in found}
    return [Treated(text.item, under[text.under.name]) for text in found]


def assert_equal(reader: Reader, batch_tokens: int, chunked: bool = True) -> None:
    rows = texts(reader)
    found, expected = (
        sorted(read(reader, rows, batch_tokens, chunked, likelihood_and_misses))
        for read in (continuation_scores, summed_scores)
    )
    assert [position for position, _ in found] == list(range(len(rows)))
    for (_, (nll, misses)), (_, (whole_nll, whole_misses)) in zip(found, expected, strict=True):
        assert nll == pytest.approx(whole_nll, rel=1e-4)
        assert misses == whole_misses


@pytest.mark.parametrize("batch_tokens", [1, 200, 10_000])
@pytest.mark.parametrize("chunked", [True, False])
def test_scores_are_those_of_texts_read_whole(reader: Reader, batch_tokens: int, chunked: bool) -> None:
    assert_equal(reader, batch_tokens, chunked)


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest, reader: Reader, awakened: Callable[[PreTrainedModel], PreTrainedModel]) -> Reader:
    torch.manual_seed(0)
    model = awakened(AutoModelForCausalLM.from_config(OTHERS[request.param]))
    return Reader(model, reader.tokenizer, neuron_sites(model), [], 128)


def test_other_architectures_keep_keys_and_values_too(other: Reader) -> None:
    assert_equal(other, 10_000)
    assert reading_of(other, 100).shared


def tokens_read(reader: Reader, read: Callable[..., object]) -> int:
    """The tokens that the model reads, without padding."""
    counts: list[int] = []

    def count(_: object, __: object, given: dict) -> None:
        counts.append(int(given["attention_mask"][:, -given["input_ids"].shape[1] :].sum()))

    handle = reader.model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    list(read(reader, texts(reader), 10_000, True, likelihood_and_misses))
    handle.remove()
    return sum(counts)


def test_each_beginning_is_read_once(reader: Reader) -> None:
    same: dict[tuple, list[Request]] = {}
    for text, under in texts(reader):
        same.setdefault((id(under), *text.ids[: text.given]), []).append(text)
    expected = sum(of_same[0].given + sum(len(text.ids) - text.given - 1 for text in of_same) for of_same in same.values())
    assert tokens_read(reader, continuation_scores) == expected < 0.75 * tokens_read(reader, summed_scores)


@pytest.mark.parametrize("way", ["forgets", "refuses"])
def test_a_model_that_cannot_read_on_is_read_whole(way: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert beginnings_can_be_shared(reader, chunked=True)
    base = reader.model.base_model
    forward = type(base).forward

    def without_past(self: object, *ids: torch.Tensor, past_key_values: object = None, **given: object) -> object:
        if past_key_values is not None and way == "refuses":
            raise TypeError("this model keeps nothing")
        if past_key_values is not None:
            given |= {"attention_mask": given["attention_mask"][:, -given["input_ids"].shape[1] :], "use_cache": False}
        return forward(self, *ids, **given)

    monkeypatch.setattr(type(base), "forward", without_past)
    assert not beginnings_can_be_shared(reader, chunked=True)
    assert not reading_of(reader, 100).shared
    assert reading_of(reader, 100).chunked


def test_scores_that_are_no_numbers_stay_so(reader: Reader) -> None:
    model = AutoModelForCausalLM.from_config(OTHERS["norms of queries"])
    with torch.no_grad():
        model.lm_head.weight[5] = float("nan")
    broken = Reader(model, reader.tokenizer, neuron_sites(model), [], 128)
    found = dict(continuation_scores(broken, texts(broken), 10_000, True, likelihood_and_misses))
    assert found.keys() == set(range(len(texts(broken))))
    assert all(math.isnan(nll) for nll, _ in found.values())
