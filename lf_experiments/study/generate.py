"""8. generate: regions -> what the model writes without them (app. A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lf_experiments.config.schema import Config, GenerationConfig
from lf_experiments.evaluations.generation import continue_prompts, kept_per_position, prompts_at_once
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Cost, RunShape, Work
from lf_experiments.study.deactivations import Deactivations
from lf_experiments.study.operations import Batch, forward_operations
from lf_experiments.study.stage import Stage


@dataclass(frozen=True)
class Generate(Stage):
    """Continuations of the first sentences, with and without each region."""

    name: ClassVar[str] = "generate"
    leaves: ClassVar[tuple[str, ...]] = ("generations.csv",)

    deactivations: Deactivations
    ends: str
    """The tokens that end a text."""
    generation: GenerationConfig

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Generate:
        return cls(Deactivations(known["probe"], config.intervention), known["ends"], config.generation)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("probe",)

    def run(self, bench: Bench) -> dict[str, Any]:
        languages = self.generation.languages or bench.languages
        prompts = {language: bench.sentences.texts[language][: self.generation.samples] for language in languages}
        interventions = self.deactivations.of_regions(bench, languages)
        tokens = self.generation.tokens
        kept = bench.kept_cells(self, prompts, self.ends, tokens)
        table = continue_prompts(bench.load_reader(), interventions, prompts, tokens, kept)
        bench.folder.write_table("generations.csv", table)
        return {}

    def cost(self, shape: RunShape) -> Cost:
        languages = self.generation.languages or shape.languages
        asked = [length for language in languages for length in shape.texts["dataset"][language][: self.generation.samples]]
        new, passes = self.generation.tokens, 1 + len(languages)
        prompts = prompt_batches(shape, asked, passes, new)
        work = Work(
            forward_operations(shape.reader.model, prompts, continued=new),
            f"at most: {len(asked)} sentences, {new} new tokens each, {passes} times",
        )
        per_position = kept_per_position(shape.reader, shape.bytes_per_weight)
        kept = max(per_position * rows * (tokens + new) for rows, tokens in prompts)
        return Cost(work, device=kept + shape.batch_memory(prompts))


def prompt_batches(shape: RunShape, asked: list[int], passes: int, new_tokens: int) -> list[Batch]:
    """The batches in which prompts of so many tokens are continued under so many interventions."""
    processes = shape.runtime.num_processes
    together = processes * prompts_at_once(shape.reader, asked, new_tokens, shape.bytes_per_weight)
    groups = [
        group for first in range(0, passes * len(asked), together) if (group := (passes * asked)[first : first + together])
    ]
    shares = [group[rank::processes] for group in groups for rank in range(processes)]
    return [(len(share), max(share)) for share in shares if share]
