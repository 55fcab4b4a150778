"""What every method together costs, beside the capture that the paper's method needs; and what the backward pass costs."""

from __future__ import annotations

import torch

from benchmarks import bloom_560m
from benchmarks.ratios import Ratio, time_ratio
from lf_experiments.config.schema import ProbeConfig
from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.measures.probe import pool_of, scored
from lf_experiments.models.load import Reader
from lf_experiments.neurons.capture import capture_sentences

BATCH_TOKENS = 2048
LANGUAGES, MEANINGS = 9, 6
METHODS = ["zscore", "cohen_d", "paired_d", "auroc", "average_precision", "overlap", "lape", "lape_lambda", "plnd"]
BACKWARD = "attribution"


def ratios(rounds: int) -> list[Ratio]:
    """All methods against the capture of the mean alone, in float32; those of the forward pass, and the backward one."""
    reader, texts = bloom_560m.reader(torch.float32), bloom_560m.sentences(LANGUAGES * MEANINGS)
    by_language = {f"x{number}": texts[number * MEANINGS : (number + 1) * MEANINGS] for number in range(LANGUAGES)}
    sentences = ParallelSentences([str(number) for number in range(MEANINGS)], by_language)
    detail = f"{LANGUAGES * MEANINGS} sentences, shape of bloom-560m"
    return [
        time_ratio(name, aim, lambda methods=methods: found_by(reader, sentences, methods), mean_alone, rounds, detail)
        for mean_alone in [lambda: capture_sentences(reader, sentences, BATCH_TOKENS, ["mean"])]
        for name, aim, methods in (
            (f"capture and {len(METHODS)} methods / capture of the mean alone", "at most 1.3", METHODS),
            ("attribution, a pass of its own / capture of the mean alone", "at most 3.5", [BACKWARD]),
        )
    ]


def found_by(reader: Reader, sentences: ParallelSentences, methods: list[str]) -> None:
    """One capture of what the methods read, and the scores of each."""
    configs = [ProbeConfig(method, 0.0) for method in methods]
    captured = capture_sentences(reader, sentences, BATCH_TOKENS, list(dict.fromkeys(map(pool_of, configs))))
    for config in configs:
        scored(captured, config)
