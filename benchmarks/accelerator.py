"""The real thing on one accelerator: `python -m benchmarks.accelerator [--model bloom-7b1] [--sentences 900]`.

A model of the shape of a real one, with random weights, so that nothing is downloaded. Measures a matrix
product, a capture and a perplexity pass in bfloat16, each against the fastest of them, and bfloat16 against float32. The bare
forward pass is that of transformers: of a mixture with its fastest experts. Without an accelerator it runs on the processor;
choose a small model then.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from math import prod
from pathlib import Path

import torch
import yaml
from tabulate import tabulate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from benchmarks.bloom_560m import SpelledIds
from benchmarks.capture_cost import bare_forward, largest_difference
from benchmarks.experts_cost import stock_forward
from benchmarks.ratios import seconds_of, time_ratio
from lf_experiments.config.options import configuration_folder
from lf_experiments.config.schema import Shape
from lf_experiments.evaluations.losses import window_nll
from lf_experiments.evaluations.windows import Window
from lf_experiments.models.families import neuron_sites
from lf_experiments.models.load import Reader
from lf_experiments.models.shapes import shape_config
from lf_experiments.neurons.capture import capture
from lf_experiments.neurons.interventions import Treated, nothing

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bloom-7b1", help="a name in conf/model")
    parser.add_argument("--sentences", type=int, default=900)
    parser.add_argument("--windows", type=int, default=32, help="windows of 2048 tokens for the perplexity pass")
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{device_name()}, torch {torch.__version__}, the shape of {given.model} with random weights")
    exact = random_reader(given.model)
    texts, windows = sentences(exact, given.sentences), text_windows(exact, given.windows)
    in_float32 = capture(exact, texts, given.batch_tokens)["mean"]
    exact.model.to(torch.bfloat16)
    fast = exact
    bare = stock_forward if fast.experts else bare_forward
    difference = largest_difference(in_float32, capture(fast, texts, given.batch_tokens)["mean"])
    found = {
        "matrix product in bfloat16": measured(matrix_product(), rounds=10),
        "capture": measured(lambda: capture(fast, texts, given.batch_tokens)),
        "bare forward pass": measured(lambda: bare(fast, texts, given.batch_tokens)),
        "one perplexity pass": measured(lambda: list(window_nll(fast, windows, given.batch_tokens, True))),
    }
    peak = max(operations / seconds for seconds, operations, _ in found.values())  # on a processor not always the product's
    rows = [
        [name, seconds, operations / 1e15, operations / seconds / peak, memory]
        for name, (seconds, operations, memory) in found.items()
    ]
    print(
        tabulate(
            rows, ["in bfloat16", "seconds", "PFLOP", "share of peak", "peak memory, GiB"], tablefmt="github", floatfmt=".3g"
        )
    )
    overhead = time_ratio(
        "capture / bare forward pass",
        "at most 1.3" if fast.experts else "at most 1.05",
        lambda: (capture(fast, texts, given.batch_tokens), synchronize()),
        lambda: (bare(fast, texts, given.batch_tokens), synchronize()),
        given.rounds,
    )
    print(f"{overhead.name}: min, median, max {', '.join(overhead.row[1:4])} (aim: {overhead.aim}); {overhead.detail}")
    print(f"similarity in bfloat16 differs from float32 by at most {difference:.1e} (aim: 1e-3)")


def random_reader(name: str) -> Reader:
    """A model of the shape of `name` in float32, with the weights its initialisation gives."""
    text = Path(configuration_folder(), "model", f"{name}.yaml").read_text(encoding="utf-8")
    shape = Shape(**yaml.safe_load(text)["shape"])
    torch.manual_seed(0)
    with DEVICE:
        model = AutoModelForCausalLM.from_config(shape_config(shape), dtype=torch.float32).eval()
    return Reader(model, SpelledIds(), neuron_sites(model), prefix=[], context=2048)


def sentences(reader: Reader, count: int) -> list[str]:
    """Sentences of 12 to 70 tokens, spelled as ids."""
    rng = random.Random(0)
    vocabulary = reader.model.config.get_text_config().vocab_size
    return [" ".join(str(rng.randrange(3, vocabulary)) for _ in range(rng.randint(12, 70))) for _ in range(count)]


def text_windows(reader: Reader, count: int) -> list[Treated]:
    """Windows of 2048 random tokens, for the model as it is."""
    rng = random.Random(1)
    vocabulary = reader.model.config.get_text_config().vocab_size
    windows = [Window([rng.randrange(3, vocabulary) for _ in range(2048)], 8192) for _ in range(count)]
    full_model = nothing(reader.widths)
    return [Treated(window, full_model) for window in windows]


def measured(action: Callable[[], object], rounds: int = 3) -> tuple[float, int, float]:
    """Seconds at best, floating-point operations, and the peak memory on the device in GiB."""
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
        action()
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = min(seconds_of(lambda: (action(), synchronize())) for _ in range(rounds))
    memory = torch.cuda.max_memory_allocated() / 2**30 if DEVICE.type == "cuda" else float("nan")
    return seconds, counter.get_total_flops(), memory


def operations_of_product(left: torch.Size, right: torch.Size, *_: object, **__: object) -> int:
    """The operations of a product of matrices of these shapes, of which only the last two sides count on the right.

    Of a batch (B, M, K) and (B, K, N) as of rows and the matrices of their experts, (R, K) and (E, K, N).
    """
    return 2 * prod(left) * right[-1]


UNCOUNTED = {torch.ops.aten._grouped_mm: operations_of_product, torch.ops.aten.bmm: operations_of_product}
"""Products that torch does not count: those of experts, and those of numbers in bfloat16 that are added up in float32."""


def matrix_product() -> Callable[[], Tensor]:
    """A product of two square matrices, large enough to keep the device busy."""
    size = 16_384 if DEVICE.type == "cuda" else 512
    matrix = torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16)
    return lambda: matrix @ matrix


def synchronize() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def device_name() -> str:
    """What is measured on."""
    return torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"processor, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
