"""5. describe: regions -> when their strongest neurons are active, and what they write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lf_experiments.config.schema import Config
from lf_experiments.measures.described import SENTENCES, described, strongest
from lf_experiments.neurons.words import ROWS_AT_ONCE, WORDS, written_words
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import FLOAT32, Amount, Cost, RunShape
from lf_experiments.study.stage import Stage

ROW_BYTES = 100
"""Of a row of `neurons.parquet`, beside its lists."""
WORD_BYTES = 12


@dataclass(frozen=True)
class Describe(Stage):
    """The strongest key neurons of every language, for the report to show one by one."""

    name: ClassVar[str] = "describe"
    leaves: ClassVar[tuple[str, ...]] = ("neurons.parquet",)

    activations: str
    regions: str
    neurons: int
    """Of each language."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Describe:
        return cls(known["capture"], known["probe"], config.description.neurons)

    @classmethod
    def is_wanted(cls, config: Config) -> bool:
        return config.description.neurons > 0

    @property
    def needs(self) -> tuple[str, ...]:
        return ("capture", "probe")

    def run(self, bench: Bench) -> dict[str, Any]:
        chosen = strongest(bench.folder.read_table("key_neurons.parquet"), bench.languages, self.neurons)
        table = described(chosen, bench.capture())
        words = bench.load_reader().ask(written_words, table["layer"].tolist(), table["neuron"].tolist())
        bench.folder.write_table("neurons.parquet", table.assign(words=words))
        return {}

    def cost(self, shape: RunShape) -> Cost:
        languages, vocabulary = len(shape.languages), shape.reader.model.config.get_text_config().vocab_size
        rows = languages * self.neurons
        row = ROW_BYTES + FLOAT32 * languages + 2 * FLOAT32 * SENTENCES + WORD_BYTES * WORDS
        return Cost(
            device=min(rows, ROWS_AT_ONCE) * vocabulary * FLOAT32,
            host=shape.num_sentences * max(shape.reader.widths) * FLOAT32,
            host_note="a layer",
            folder=[Amount("neurons.parquet", rows * row, f"at most, {rows:,} key neurons")],
        )
