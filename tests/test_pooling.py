"""Every pool is what it says, token by token; padding and batches change nothing; one pass serves all."""

import math

import pytest
import torch
from recorded import captured
from torch import Tensor

from lf_experiments.errors import InputError
from lf_experiments.models.batches import padded
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.forward import pooled
from lf_experiments.neurons.pooling import POOLS


def pooled_by_hand(h_TN: Tensor) -> dict[str, list[float]]:
    """Every pool of the neurons of one sentence, number by number."""
    columns = h_TN.T.tolist()
    return {
        "mean": [sum(values) / len(values) for values in columns],
        "rate": [sum(value > 0 for value in values) / len(values) for values in columns],
        "magnitude": [sum(map(abs, values)) / len(values) for values in columns],
    }


@torch.no_grad()
def tokens_seen(reader: Reader, text: str) -> list[Tensor]:
    """The neurons of every token of a sentence read alone, layer by layer (T, N), by hooks of this test."""
    seen: list[Tensor] = []
    handles = [
        site.matrix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0].clone())) for site in reader.sites
    ]
    reader.model(torch.tensor(reader.token_ids([text])), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pool", POOLS)
def test_a_pool_is_what_it_says_and_leaves_padding_out(pool: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    h_BTN = torch.randn(3, 6, 4, generator=generator).to(dtype)
    h_BTN[0, 2] = 0  # neither active nor silent for long
    lengths = [6, 1, 4]
    mask_BT = (torch.arange(6) < torch.tensor(lengths)[:, None]).long()
    found_BN = POOLS[pool](h_BTN, mask_BT)
    expected = [pooled_by_hand(h_TN[:length].double())[pool] for h_TN, length in zip(h_BTN, lengths, strict=True)]
    assert found_BN.dtype == torch.float32
    torch.testing.assert_close(found_BN, torch.tensor(expected), rtol=1e-6, atol=1e-6)
    whole_BN = POOLS[pool](h_BTN, torch.ones_like(mask_BT))
    assert (whole_BN - found_BN)[1].abs().max() > 0.05, "padding would have shown"


def test_a_neuron_of_zero_is_not_active() -> None:
    assert POOLS["rate"](torch.tensor([[[0.0], [-0.0], [1e-30]]]), torch.ones(1, 3)).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_visible_in_every_pool(pool: str, value: float) -> None:
    found = POOLS[pool](torch.tensor([[[1.0, 1.0], [value, 1.0]]]), torch.ones(1, 2))
    assert not math.isfinite(found[0, 0]) and math.isfinite(found[0, 1])


@pytest.mark.parametrize("batch_tokens", [1, 40, 10**6])
def test_a_capture_of_every_pool_is_that_of_every_sentence_by_hand(
    reader: Reader, sentences: list[str], batch_tokens: int
) -> None:
    found = capture(reader, sentences, batch_tokens, list(POOLS))
    assert list(found) == list(POOLS)
    for row, text in enumerate(sentences):
        for layer, h_TN in enumerate(tokens_seen(reader, text)):
            for pool, expected in pooled_by_hand(h_TN).items():
                torch.testing.assert_close(found[pool][layer][row], torch.tensor(expected), rtol=1e-4, atol=2e-5)


def test_pools_do_not_depend_on_the_batches(reader: Reader, sentences: list[str]) -> None:
    together, apart = (capture(reader, sentences, budget, ["rate", "magnitude"]) for budget in (10**6, 1))
    for pool, h_L_SN in together.items():
        for layer, h_SN in enumerate(h_L_SN):
            torch.testing.assert_close(h_SN, apart[pool][layer], rtol=0, atol=1e-5)


def test_one_pass_serves_all_pools_and_each_is_what_it_is_alone(reader: Reader, sentences: list[str]) -> None:
    passes = []
    handle = reader.model.base_model.register_forward_pre_hook(lambda *_: passes.append(1))
    found = capture(reader, sentences, 10**6, list(POOLS))
    handle.remove()
    assert len(passes) == 1
    for pool in POOLS:
        assert torch.equal(torch.stack(found[pool]), captured(reader, sentences, 10**6, pool))


def test_infinite_activations_are_refused_whatever_is_kept_of_them(model_folder, load) -> None:
    reader = load(model_folder)
    reader.sites[1].tap(lambda h_BTN: h_BTN.index_fill(-1, torch.tensor([3]), float("inf")))
    with pytest.raises(InputError, match="layer 1 gives NaN or infinite activations on the sentence 'x'"):
        capture(reader, ["x"], 10, ["rate"])


def test_an_unknown_pool_is_a_key_error(reader: Reader) -> None:
    ids_BT, mask_BT = padded(reader.token_ids(["x"]), torch.device("cpu"))
    with pytest.raises(KeyError, match="median"), torch.no_grad(), pooled(reader.sites, mask_BT, ["median"]):
        reader.model.base_model(input_ids=ids_BT, attention_mask=mask_BT)
