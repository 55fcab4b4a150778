"""`metrics.json`: the facts of a run and every score it came to, in one schema for those who write and those who read it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from lf_experiments.runs.scores import SCORES, Score

METRICS = "metrics.json"

MEASURED = ("num_parameters", "num_layers", "num_neurons")
"""Facts that a stage finds out, as it does scores."""

SIZES = ("training_step", "num_parameters", "num_layers", "num_neurons", "sentences_per_language")
LOW, HIGH, P_VALUE = "_lo", "_hi", "_p"
"""Behind the key of a score: the ends of its interval, and the share of shuffles of the labels that give as much."""


@dataclass(frozen=True)
class Metrics:
    """What a run is about, and its scores by key: None, or no language, where the stage that gives one was not run."""

    model: str
    family: str
    """What models of different sizes have in common: a fact of the model's YAML, never parsed from its name."""
    checkpoint: str
    """`final` or `step<N>`."""
    training_step: int | None
    num_parameters: int | None
    num_layers: int | None
    num_neurons: int | None
    languages: list[str]
    sentences_per_language: int
    scores: dict[str, Any] = field(default_factory=dict)
    """{key: value}, {key: {language: value}} for scores by language; `<key>_lo` and `<key>_hi` where there is an interval."""

    def __getitem__(self, key: str) -> Any:
        """The value of a score, None where it was not measured."""
        return self.scores.get(key)

    def interval(self, key: str) -> tuple[float, float] | None:
        """The interval of a score, None where it has none."""
        low, high = self.scores.get(key + LOW), self.scores.get(key + HIGH)
        return None if low is None or high is None else (low, high)

    def p_value(self, key: str) -> float | None:
        """The share of shuffles of the labels, the true labels among them, that give a score as high; None without shuffles."""
        return self.scores.get(key + P_VALUE)

    def mean(self, key: str) -> float | None:
        """The mean of a score over the languages; None where one is missing: the mean of the others would not compare."""
        values = list((self.scores.get(key) or {}).values())
        return sum(values) / len(values) if values and None not in values else None

    def value(self, score: Score) -> float | None:
        """The one number that stands for a score: of a score by language the mean."""
        return self.mean(score.key) if score.by_language else self[score.key]

    @property
    def moment(self) -> str:
        """The moment of training in words."""
        return f"checkpoint {self.checkpoint}" if self.training_step is None else f"training step {self.training_step:,}"

    def as_json(self) -> dict[str, Any]:
        """The content of `metrics.json`: the facts, then every score of `SCORES`, then the intervals there are."""
        facts = {name.name: getattr(self, name.name) for name in fields(self) if name.name != "scores"}
        known = {score.key: self.scores.get(score.key, {} if score.by_language else None) for score in SCORES}
        return {**facts, **known, **self.scores}

    @classmethod
    def of(cls, scalars: dict[str, Any], **facts: Any) -> Metrics:
        """The metrics of a run from what its stages came to and the other facts."""
        measured: dict[str, Any] = {name: scalars.get(name) for name in MEASURED}
        return cls(**facts, **measured, scores={key: value for key, value in scalars.items() if key not in measured})

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Metrics:
        """The metrics in the content of a `metrics.json`; what an older one lacks is None, and its family is its model.

        Raises `ValueError` where the content is not that of a `metrics.json`.
        """
        if not isinstance(content, dict) or not {"model", "checkpoint"} <= content.keys():
            raise ValueError("not the metrics of a run, which have a model and a checkpoint")
        facts: dict[str, Any] = {name.name: content.get(name.name) for name in fields(cls) if name.name != "scores"}
        facts["family"] = facts["family"] or facts["model"]
        check_numbers(content)
        return cls(**facts, scores={key: value for key, value in content.items() if key not in facts})


def check_numbers(content: dict[str, Any]) -> None:
    """Raises `ValueError` for a size or a score that is no number, or not one per language where it should be."""
    by_language = {score.key for score in SCORES if score.by_language}
    for key in (*SIZES, *(score.key for score in SCORES)):
        value = content.get(key)
        values = value.values() if key in by_language and isinstance(value, dict) else [value]
        if not all(isinstance(number, int | float | None) for number in values):
            raise ValueError(f"{key} is {value}")
