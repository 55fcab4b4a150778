"""Cross-lingual story cloze: a story in some language, two endings in English, the likelier one wins (sec. 4.1, app. B).

The endings are scored by the harness the paper used, lm_eval, on the model as it is loaded.
"""

from __future__ import annotations

import logging
import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import asdict, dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from torch import Tensor

from lf_experiments.config import InputError
from lf_experiments.corpora.stories import Story
from lf_experiments.evaluations.deactivation import Cell, Deactivation, every_cell
from lf_experiments.models.load import Reader, Results, input_device
from lf_experiments.neurons.deactivate import deactivated

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM

log = logging.getLogger(__name__)

CUE = "The ending in English:"

HELD_LOGITS = 1 << 28
"""Logits of a batch: 1 GiB in float32. The harness holds those of every token."""


@dataclass(frozen=True)
class Cloze:
    """How often the right ending is the likelier one."""

    accuracy: float
    stderr: float | None
    """Standard error of the accuracy, sqrt(p (1 - p) / (n - 1)); None for a single story."""
    items: int
    """Stories."""


def prompt(story: Story) -> str:
    """The beginning of a story and the announcement of its ending, joined by spaces, as in the paper's appendix B."""
    return " ".join([*story.sentences, CUE])


def cloze_table(
    reader: Reader,
    deactivations: list[Deactivation],
    stories: dict[str, list[Story]],
    batch_tokens: int,
    cells: list[Cell],
    keep: Callable[[list[Cell]], None],
) -> pd.DataFrame:
    """The accuracy on the stories of every language under every deactivation, in the columns of `cloze.csv`.

    `cells` and `keep` as in `every_cell`.
    """
    warn_of_cuts(reader, [story for told in stories.values() for story in told])

    def evaluate(language: str, off_LN: Tensor) -> Cell:
        return asdict(cloze(reader, stories[language], batch_tokens, off_LN))

    return every_cell("story cloze", deactivations, list(stories), evaluate, cells, keep)


def warn_of_cuts(reader: Reader, stories: list[Story]) -> None:
    """Say how many stories the harness cuts from the left, because the model does not read so much at once."""
    too_long = sum(length > reader.context for length in lengths(reader, stories)) if reader.context else 0
    if too_long:
        log.warning(
            "%d of %d stories, each with one ending, are longer than the %d tokens the model reads: their first words are cut",
            too_long,
            2 * len(stories),
            reader.context,
        )


def lengths(reader: Reader, stories: list[Story]) -> list[int]:
    """The tokens of every story with each of its endings, one after the other."""
    texts = [f"{prompt(story)} {ending}" for story in stories for ending in story.endings]
    return [len(ids) for ids in reader.token_ids(texts)]


def cloze(reader: Reader, stories: list[Story], batch_tokens: int, off_LN: Tensor) -> Cloze:
    """The accuracy on one or more stories with the neurons of `off_LN` off."""
    points = [point for _, point in reader.share(judged, stories, batch_tokens, off_LN)]
    accuracy = sum(points) / len(points)
    stderr = math.sqrt(accuracy * (1 - accuracy) / (len(points) - 1)) if len(points) > 1 else None
    return Cloze(accuracy, stderr, len(points))


def judged(reader: Reader, stories: list[Story], batch_tokens: int, off_LN: Tensor) -> Results:
    """Yields the position of each story and its point: 1.0 where, with the neurons of `off_LN` off, the right ending wins."""
    if not stories:
        return
    with deactivated(reader.sites, off_LN):
        samples = samples_within_memory(reader, stories, rows_at_once(reader, stories, batch_tokens))
    for sample in samples:
        yield sample["doc_id"], sample["acc"]


def rows_at_once(reader: Reader, stories: list[Story], batch_tokens: int) -> int:
    """How many sequences, a story with an ending each, one forward pass may read."""
    tokens = min(batch_tokens, HELD_LOGITS // reader.model.config.get_text_config().vocab_size)
    return max(1, tokens // max(lengths(reader, stories)))


def samples_within_memory(reader: Reader, stories: list[Story], rows: int) -> list[dict[str, Any]]:
    """What the harness finds for each story, in batches of `rows` sequences or, where memory ends, of fewer.

    Raises `InputError` when a single sequence does not fit.
    """
    while True:
        try:
            return harness_samples(reader, stories, rows)
        except Exception as error:
            if not should_reduce_batch_size(error):
                raise
            if rows == 1:
                raise InputError(
                    "runtime.batch_tokens",
                    f"(tried down to one sequence; {error})",
                    "not even one story fits into memory",
                    "use model.dtype=bfloat16, a larger device, or model.device_map=auto",
                ) from error
        log.warning("Out of memory with %d sequences in a batch: going on with half as many.", rows)
        clear_device_cache(garbage_collection=True)
        rows //= 2


def harness_samples(reader: Reader, stories: list[Story], rows: int) -> list[dict[str, Any]]:
    """The samples lm_eval logs: `doc_id`, the position of the story, `acc`, and in `filtered_resps` both log-likelihoods."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with random_state_kept(), redirect_stderr(StringIO()):  # the harness has a progress bar for everything
        tasks = TaskManager(include_defaults=False).load([task(stories)])
        return lm_eval.evaluate(lm=harness_model(reader, rows), task_dict=tasks)["samples"]["cloze"]


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Python's random numbers after the block are as if it had not been: the harness draws names for its tasks."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def task(stories: list[Story]) -> dict[str, Any]:
    """The stories as a task of the harness that needs neither files nor network."""
    from datasets import Dataset

    rows = [{"prompt": prompt(story), "endings": list(story.endings), "right": story.right} for story in stories]
    return {
        "task": "cloze",
        "dataset_path": "in-memory",
        "custom_dataset": lambda **_: {"test": Dataset.from_list(rows)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "endings",
        "doc_to_target": "right",
        "target_delimiter": " ",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def harness_model(reader: Reader, rows: int) -> HFLM:
    """The loaded model in the harness's hands: the reader's tokens, log-likelihoods in float32, `rows` sequences at once."""
    from lm_eval.models.huggingface import HFLM

    tokenizer = deepcopy(reader.tokenizer)  # the harness gives it a padding token where it has none
    tokenizer.model_max_length = sys.maxsize  # the harness cuts what is too long; the tokenizer need not warn of it
    model = HFLM(
        pretrained=reader.model,
        tokenizer=tokenizer,
        add_bos_token=reader.add_special_tokens,
        softmax_dtype=torch.float32,
        max_length=reader.context,
        batch_size=rows,
    )
    model._device = input_device(reader.model)  # of an offloaded model, `model.device` is where nothing can be computed
    return model
