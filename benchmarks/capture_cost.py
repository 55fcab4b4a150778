"""What recording the neurons costs: against the forward pass alone, and against the paper's procedure."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import bloom_560m
from benchmarks.ratios import Ratio, time_ratio
from lf_experiments.equations import similarity_map
from lf_experiments.models.batches import padded
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture, sentence_batches

BATCH_TOKENS = 2048
SENTENCES = 48


def ratios(rounds: int) -> list[Ratio]:
    """Capture against the bare forward pass and against the paper's procedure, in float32 and in bfloat16."""
    texts = bloom_560m.sentences(SENTENCES)
    exact, fast = bloom_560m.reader(torch.float32), bloom_560m.reader(torch.bfloat16)
    difference = largest_difference(*(capture(reader, texts, BATCH_TOKENS)["mean"] for reader in (exact, fast)))
    return [
        *(
            time_ratio(
                f"capture / bare forward pass of the same batches, {name}",
                "at most 1.05",
                lambda reader=reader: capture(reader, texts, BATCH_TOKENS),
                lambda reader=reader: bare_forward(reader, texts, BATCH_TOKENS),
                rounds,
            )
            for name, reader in (("float32", exact), ("bfloat16", fast))
        ),
        *(
            time_ratio(
                f"paper's procedure in float32 / capture in {name}",
                aim,
                lambda: paper_procedure(exact, texts),
                lambda reader=reader: capture(reader, texts, BATCH_TOKENS),
                rounds,
                detail,
            )
            for name, reader, aim, detail in (
                ("float32", exact, "at least 1.5", ""),
                ("bfloat16", fast, "at least 5", f"similarity differs by at most {difference:.1e}"),
            )
        ),
    ]


@torch.no_grad()
def bare_forward(reader: Reader, texts: list[str], batch_tokens: int) -> None:
    """The batches of a capture through the model, with nothing recorded."""
    sequences = reader.token_ids(texts)
    for rows in sentence_batches([len(sequence) for sequence in sequences], batch_tokens, reader.num_neurons):
        ids_BT, mask_BT = padded([sequences[row] for row in rows], reader.model.device)
        reader.model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)


@torch.no_grad()
def paper_procedure(reader: Reader, texts: list[str]) -> Tensor:
    """One sentence per call that generates one token, the neurons of every layer copied to the host and averaged there."""
    taken: list[Tensor] = []
    handles = [site.tap(lambda h_BTN: taken.append(h_BTN.cpu())) for site in reader.sites]
    vectors = []
    for sequence in reader.token_ids(texts):
        taken.clear()
        reader.model.generate(torch.tensor([sequence]), max_new_tokens=1, do_sample=False, pad_token_id=0)
        vectors.append(torch.stack([h_BTN[0].mean(dim=0) for h_BTN in taken]))
    for handle in handles:
        handle.remove()
    return torch.stack(vectors, dim=1)


def largest_difference(first_L_SN: list[Tensor], second_L_SN: list[Tensor]) -> float:
    """The largest difference between two similarity maps, eq. (7)."""
    maps = [similarity_map(sum(h_SN.double() @ h_SN.double().T for h_SN in h_L_SN)) for h_L_SN in (first_L_SN, second_L_SN)]
    return float((maps[0] - maps[1]).abs().max())
