"""6. deactivate: regions -> perplexity without them (sec. 4.3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from lf_experiments.config.schema import Config, TextConfig, Windows
from lf_experiments.evaluations.perplexity import (
    baseline,
    log_ratios,
    measure_perplexity,
    perplexity_table,
    warn_of_few_windows,
    window_table,
)
from lf_experiments.evaluations.windows import LONGEST_WINDOW, text_windows
from lf_experiments.measures.uncertainty.deactivation import (
    Losses,
    assignment_p,
    cells_against_control,
    dose_table,
    effect_table,
    losses_by_language,
    mean_effects,
)
from lf_experiments.neurons.interventions import NONE, RANDOM
from lf_experiments.runs.metrics import HIGH, LOW
from lf_experiments.study.bench import Bench
from lf_experiments.study.cost import Cost, RunShape, reading_work, together
from lf_experiments.study.deactivations import Deactivations
from lf_experiments.study.operations import Batch
from lf_experiments.study.stage import Stage

DOSES = "doses.csv"
"""What regions cost by dose, where there are several."""
KEYS = {"own": "own_effect", "spill": "spill_over"}
"""What mean effects are called in metrics.json where their name in `effects.csv` says too little."""


@dataclass(frozen=True)
class Deactivate(Stage):
    """The perplexity of every language without each region and without random neurons."""

    name: ClassVar[str] = "deactivate"
    leaves: ClassVar[tuple[str, ...]] = ("perplexity.csv", "perplexity_windows.parquet", "effects.csv")
    reads: ClassVar[tuple[str, ...]] = ("text",)

    deactivations: Deactivations
    text: str
    windows: Windows
    window: int | None
    window_count: int | None
    context: int | None
    level: float | None
    """Of the intervals; None for none."""

    @classmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Deactivate:
        text, deactivations = config.text, Deactivations.of(config, known)
        cut = (text.windows, text.window, text.window_count)
        return cls(deactivations, known["text"], *cut, config.model.context, config.uncertainty.level)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("probe",)

    def run(self, bench: Bench) -> dict[str, Any]:
        reader = bench.load_reader()
        text = TextConfig(windows=self.windows, window=self.window, window_count=self.window_count)
        windows = {language: text_windows(reader, texts, text, language) for language, texts in bench.documents.items()}
        if self.level:
            warn_of_few_windows(windows)
        interventions = self.deactivations.at_every_dose(bench)
        found = measure_perplexity(reader, interventions, windows, bench.batch_tokens, bench.kept_cells(self, windows))
        table, by_window = perplexity_table(found), window_table(found, windows)
        losses = losses_by_language(by_window, NONE, RANDOM)
        bench.folder.write_table("perplexity_windows.parquet", by_window)
        table = table.join(log_ratios(found, windows, self.level))
        bench.folder.write_table("perplexity.csv", beside_control(table, cells_against_control(losses, self.level)))
        bench.folder.write_table("effects.csv", effect_table(losses, self.level))
        if len(self.deactivations.intervention.doses) > 1:
            bench.folder.write_table(DOSES, dose_table(by_window, NONE, RANDOM, self.level))
            bench.folder.further_files.append(DOSES)
        return {"perplexity": baseline(table), **self.scores(losses)}

    def scores(self, losses: dict[str, Losses]) -> dict[str, float]:
        """The mean effects of the key regions, with their intervals, and how likely a wrong assignment would do as much."""
        found: dict[str, float] = {}
        for name, effect in mean_effects(losses).items():
            key = KEYS.get(name, name)
            found[key] = effect.value
            low, high = effect.interval(self.level) if self.level else (math.nan, math.nan)
            found |= {} if math.isnan(low) else {key + LOW: low, key + HIGH: high}
        if self.level:
            found["selectivity_p"] = assignment_p(losses, self.deactivations.seed or 0)
        return found

    def cost(self, shape: RunShape) -> Cost:
        windows = shape.texts["text"].values()
        predicted = sum(sum(lengths) - shape.reader.given * len(lengths) for lengths in windows)
        passes = self.deactivations.passes(len(shape.languages))
        read = together([[length - 1 for length in lengths] for lengths in windows], passes, shape.runtime)
        return Cost(
            reading_work(shape, "text", read, passes, predicted),
            device=shape.judging_memory(read or self.full_windows(shape)),
        )

    def full_windows(self, shape: RunShape) -> list[Batch]:
        """A batch of text that fills whole windows, as far as the size of a window is known."""
        size = self.window or min(shape.reader.context or 0, LONGEST_WINDOW)
        return [(max(1, shape.runtime.batch_tokens // size), size)] if size else []


def beside_control(table: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """`perplexity.csv` with the columns of `cells_against_control`, which are of the full dose."""
    dose = table.loc[table["deactivated"] != NONE, "dose"].max()
    return table.merge(cells.assign(dose=dose), how="left", on=["language", "deactivated", "dose"])
