"""7. cloze: stories -> the likelier ending, with and without each region (sec. 4.1 and 4.5, app. B)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import pandas as pd

from lf_experiments.config.schema import Config
from lf_experiments.evaluations.generation import kept_per_position
from lf_experiments.evaluations.story_cloze import cloze_table, mean_accuracy, measure_cloze, story_table
from lf_experiments.neurons.interventions import NONE
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.runs.scores import CLOZE
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Branches, Cost, RunShape, beginnings_together, reading_work
from lf_experiments.study.deactivations import Deactivations, full_model
from lf_experiments.study.stage import Stage


@dataclass(frozen=True)
class Cloze(Stage):
    """How often the right ending of a story is the likelier one."""

    name: ClassVar[str] = "cloze"
    leaves: ClassVar[tuple[str, ...]] = ("cloze.csv", "cloze_stories.parquet")
    reads: ClassVar[tuple[str, ...]] = ("cloze",)

    model: str
    stories: str
    context: int | None
    deactivations: Deactivations | None
    """None where only the full model reads the stories."""
    level: float | None
    """Of the intervals; None for none."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Cloze:
        deactivations = Deactivations.of(config, known) if config.cloze.regions else None
        return cls(known["model"], known["cloze"], config.model.context, deactivations, config.uncertainty.level)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("probe",) if self.deactivations else ()

    def run(self, bench: Bench) -> dict[str, Any]:
        interventions = self.deactivations.at_full_dose(bench) if self.deactivations else [full_model(bench)]
        reader, stories = bench.load_reader(), bench.stories
        kept = bench.kept_cells(self, stories, self.context, version("lm_eval"))
        found = measure_cloze(reader, interventions, stories, bench.batch_tokens, kept)
        table, by_story = cloze_table(found, self.level), story_table(found, stories)
        bench.folder.write_table("cloze_stories.parquet", by_story)
        bench.folder.write_table("cloze.csv", table)
        return self.scores(table[table["deactivated"] == NONE].set_index("language"), by_story)

    def scores(self, full_model: pd.DataFrame, by_story: pd.DataFrame) -> dict[str, Any]:
        """The accuracy of the full model in every language, with its interval, and that of their mean."""
        found: dict[str, Any] = {CLOZE.key: full_model["accuracy"].to_dict()}
        if self.level:
            found |= {CLOZE.key + LOW: full_model["lo"].to_dict(), CLOZE.key + HIGH: full_model["hi"].to_dict()}
            low, high = mean_accuracy(by_story).interval(self.level)
            found |= {} if math.isnan(low) else {CLOZE.column + LOW: max(low, 0.0), CLOZE.column + HIGH: min(high, 1.0)}
        return found

    def cost(self, shape: RunShape) -> Cost:
        """As of a model that reads the beginning of a story once, and of stories that it reads whole."""
        passes = self.deactivations.passes(len(shape.languages), at_full_dose=True) if self.deactivations else 1
        told = [branches(shape, language) for language in shape.texts["cloze"]]
        begun, read_on = beginnings_together(told, passes, shape.runtime)
        predicted = sum(map(sum, shape.texts["endings"].values()))
        kept = max((rows * (before + tokens) for rows, tokens, before in read_on), default=0)
        keys_and_values = kept * kept_per_position(shape.reader, shape.bytes_per_weight)
        memory = shape.judging_memory([*begun, *((rows, tokens) for rows, tokens, _ in read_on)])
        return Cost(reading_work(shape, "stories", begun, passes, predicted, read_on), device=memory + keys_and_values)


def branches(shape: RunShape, language: str) -> list[Branches]:
    """The beginning and both endings of every story in a language."""
    told, endings, context = shape.texts["cloze"][language], shape.texts["endings"][language], shape.reader.context
    read = [min(length - 1, context or length) for length in told]
    pairs = zip(read[::2], zip(endings[::2], endings[1::2], strict=True), strict=True)
    return [Branches(length - first + 1, (first, second)) for length, (first, second) in pairs]
