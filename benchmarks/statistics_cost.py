"""What intervals, shuffled labels and halves cost beside a capture: `python -m benchmarks.statistics_cost`.

By default at the size of BLOOM-7B1: 30 layers of 16,384 neurons, 900 sentences in nine languages, random activations. They are
made anew layer by layer, so that what the statistics take of the memory stands out. Seconds are of the processor, all threads
together, which a busy machine hardly lengthens: on two free cores it takes half as long.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lf_experiments.config.schema import ProbeConfig
from lf_experiments.measures.probe import probe
from lf_experiments.measures.similarity import compare
from lf_experiments.measures.uncertainty.evidence import evidence
from lf_experiments.measures.uncertainty.nulls import lrds_null, sads_null
from lf_experiments.neurons.activations import Activations

LANGUAGES = 9
LEVEL, PERMUTATIONS, SPLITS = 0.95, 100, 20
"""The defaults of the configuration."""


@dataclass(frozen=True)
class RandomLayers(Sequence[Tensor]):
    """Random activations, (S, N) a layer, made whenever a layer is read."""

    layers: int
    sentences: int
    neurons: int

    def __len__(self) -> int:
        return self.layers

    def __getitem__(self, layer: int) -> Tensor:
        if layer >= self.layers:
            raise IndexError(layer)
        return torch.randn(self.sentences, self.neurons, generator=torch.Generator().manual_seed(layer))


def random_activations(layers: int, neurons: int, meanings: int) -> Activations:
    """Activations of so many meanings in nine languages."""
    sentences = LANGUAGES * meanings
    languages = [f"language {number}" for number in range(LANGUAGES) for _ in range(meanings)]
    names = [str(number) for number in range(meanings)] * LANGUAGES
    return Activations(RandomLayers(layers, sentences, neurons), languages, names, torch.ones(sentences, dtype=torch.int64), 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--neurons", type=int, default=16384, help="of a layer")
    parser.add_argument("--meanings", type=int, default=100)
    given = parser.parse_args()
    activations, config = random_activations(given.layers, given.neurons, given.meanings), ProbeConfig("zscore")
    made = seconds_of(lambda: [h_SN.sum() for h_SN in activations.h_L_SN])
    comparison = []
    seconds = {"compare": seconds_of(lambda: comparison.append(compare(activations))) - made}
    seconds["probe"] = seconds_of(lambda: probe(activations, config)) - 2 * made
    before = peak_bytes()
    seconds["intervals and bands"] = seconds_of(lambda: comparison[0].by_layer(LEVEL))
    labels = comparison[0].similarity_SS, LANGUAGES, PERMUTATIONS, 0
    seconds["shuffled labels of LRDS and SADS"] = seconds_of(lambda: (lrds_null(*labels), sads_null(*labels)))
    evidence_seconds = seconds_of(lambda: evidence(activations, config, PERMUTATIONS, SPLITS, 0)) - 2 * made
    seconds["shuffled labels and halves of the regions"] = evidence_seconds
    statistics = sum(list(seconds.values())[2:])
    print(f"{given.layers} layers of {given.neurons:,} neurons, {LANGUAGES * given.meanings} sentences, ", end="")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n")
    for name, taken in seconds.items():
        print(f"{name:42} {taken:8.2f} s")
    print(f"{'statistics together':42} {statistics:8.2f} s")
    print(f"{'memory beyond that of compare and probe':42} {(peak_bytes() - before) / 2**30:8.2f} GiB")


def seconds_of(action: Callable[[], object]) -> float:
    """Processor seconds of one call, all threads together."""
    started = time.process_time()
    action()
    return time.process_time() - started


def peak_bytes() -> int:
    """The most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
