"""A stage of the study: a record of everything its results depend on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from lf_experiments import storage
from lf_experiments.config.schema import Config

if TYPE_CHECKING:
    from lf_experiments.study.bench import Bench
    from lf_experiments.study.cost import Cost, RunShape


@dataclass(frozen=True)
class Stage(ABC):
    """The fields of a stage are its inputs: what it does not declare it does not see, and nothing it depends on is forgotten.

    What is too large for a field (a corpus, a model, what an earlier stage left) stands there as its fingerprint, so that a
    change of it redoes this stage and all that follow. Changes of anything else leave the results as they are.
    """

    name: ClassVar[str]
    """In the configuration (`stages`) and in `run.json`."""
    leaves: ClassVar[tuple[str, ...]]
    """The files it leaves in the run folder."""
    reads: ClassVar[tuple[str, ...]] = ()
    """The corpora it reads, by their keys in the configuration."""

    @classmethod
    @abstractmethod
    def of(cls, config: Config, known: Mapping[str, str]) -> Stage:
        """The stage of a run. `known` has the fingerprints of the model, of the corpora, and of the stages before it."""

    @abstractmethod
    def run(self, bench: Bench) -> dict[str, Any]:
        """Write the files, and return the scores by the keys of `SCORES` (`runs/scores.py`)."""

    @classmethod
    def is_wanted(cls, config: Config) -> bool:  # noqa: ARG003
        """Whether the configuration gives it anything to do."""
        return True

    @abstractmethod
    def cost(self, shape: RunShape) -> Cost:
        """What it takes in a run of this shape. Its fingerprints may be empty: a plan knows none."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose results it uses."""
        return ()

    @property
    def fingerprint(self) -> str:
        """The name of its inputs: sixteen hexadecimal digits."""
        return storage.fingerprint([self.name, asdict(self, dict_factory=plain)])


def plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary without enumerations, which JSON does not know."""
    return {key: value.name if isinstance(value, Enum) else value for key, value in items}
