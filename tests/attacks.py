"""A place for attacks on the command, and the answers they may get: right numbers, or a message with a remedy.

Each attack is a line of a table in `test_attacks*.py`: what is done to the place of a run, and what the command answers.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lf_experiments import __main__ as command


@dataclass(frozen=True)
class Place:
    """Where a run takes place: a model, a corpus, a cache and a run folder of its own."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def arguments(self) -> list[str]:
        """The command on this place, without a tracker."""
        languages = ",".join(sorted(f"'{path.stem}'" for path in self.data.glob("*.txt")))
        return [
            "model=local", f"model.path={self.model}", "dataset=files", f"dataset.root={self.data}", "dataset.sentences=3",
            f"language_set.languages=[{languages}]", f"cache.dir={self.cache}", f"hydra.run.dir={self.run}", "tracking=none",
            "stages=[capture,compare]",
        ]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the command answered: its status, its message, and the record and the scores of the run where there are any."""

    place: Place
    status: int
    message: str
    record: dict[str, Any]
    scores: tuple[float, float] | None


class Refused:
    """The command ends with status 1 and a message: the key first, a remedy, and these words."""

    def __init__(self, key: str, *words: str) -> None:
        self.key, self.words = key, words

    def check(self, outcome: Outcome, _: tuple[float, float]) -> None:
        assert outcome.status == 1, outcome
        assert "Traceback" not in outcome.message
        message = " ".join(outcome.message[outcome.message.index("error: ") :].split())
        assert message.startswith(f"error: {self.key}="), message
        assert "Remedy: " in message
        for word in self.words:
            assert word in message, message
        for unhelpful in ("with transformers alone", "weights_only", "hf.co"):
            assert unhelpful not in message


SHORT = "intervals of perplexity rest on fewer than"
"""What every run here that measures perplexity is warned of: its texts are short."""


class Warned:
    """The command ends well and warns with these words and no others. The numbers are right, but those of something else."""

    def __init__(self, *warnings: str) -> None:
        self.warnings = warnings

    def check(self, outcome: Outcome, _: tuple[float, float]) -> None:
        assert outcome.status == 0, outcome.message
        found = [warning for warning in outcome.record["warnings"] if not warning.startswith(SHORT)]
        assert len(found) == len(self.warnings), found
        for words, warning in zip(self.warnings, found, strict=True):
            assert words in warning, warning


class Right(Warned):
    """As `Warned`, with the numbers of an untouched run."""

    def check(self, outcome: Outcome, untouched: tuple[float, float]) -> None:
        super().check(outcome, untouched)
        assert outcome.scores == pytest.approx(untouched, abs=1e-6)


class Kept(Warned):
    """As `Warned`, and every sentence that was read is the line of its file, character by character."""

    def check(self, outcome: Outcome, untouched: tuple[float, float]) -> None:
        super().check(outcome, untouched)
        with (outcome.place.run / "samples.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["language"] for row in rows} == {path.stem for path in outcome.place.data.glob("*.txt")}
        for row in rows:
            lines = (outcome.place.data / f"{row['language']}.txt").read_bytes().decode("utf-8-sig").split("\n")
            assert row["text"] == lines[int(row["meaning"].removeprefix("line ")) - 1]


class Said:
    """Hydra itself refuses the command, before there is a configuration: these words, and no traceback."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def check(self, outcome: Outcome, _: tuple[float, float]) -> None:
        assert outcome.status in (1, 2), outcome
        assert "Traceback" not in outcome.message
        for word in self.words:
            assert word in outcome.message, outcome.message


Answer = Refused | Right | Warned | Said
Damage = Callable[[Place], Any]
"""What is done to a place."""


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Change the weights of the model."""

    def damage(place: Place) -> None:
        path = place.model / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return damage


def answer(place: Place, status: int, message: str) -> Outcome:
    """The outcome of a command that has ended."""
    record, metrics = (content(place.run / name) for name in ("run.json", "metrics.json"))
    return Outcome(place, status, message, record, (metrics.get("lrds"), metrics.get("sads")) if status == 0 else None)


def content(path: Path) -> dict[str, Any]:
    """What a JSON file says, nothing where it says nothing."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def run(place: Place, *overrides: str) -> Outcome:
    """The command in this process, which has imported everything already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lf_experiments", *place.arguments, *overrides])
        patch.setattr(sys, "stderr", said := io.StringIO())
        try:
            command.main()
        except SystemExit as stopped:
            return answer(
                place, *((1, stopped.code) if isinstance(stopped.code, str) else (stopped.code or 0, said.getvalue()))
            )
    return answer(place, 0, "")
