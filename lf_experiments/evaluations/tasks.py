"""Any task of lm_eval under every intervention, by its name in the harness or as a YAML file of one's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from lf_experiments.evaluations.beginnings import reading_of
from lf_experiments.evaluations.cells import Cell, KeptCells, Row
from lf_experiments.evaluations.finite import refuse_infinite
from lf_experiments.evaluations.generation import defaults_of_no_model
from lf_experiments.evaluations.harness import harness_model, quiet_harness
from lf_experiments.evaluations.matrix import matrix
from lf_experiments.evaluations.reading import Reading
from lf_experiments.evaluations.task_index import load_tasks
from lf_experiments.intervals import Effect
from lf_experiments.measures.uncertainty.stories import paired_difference, wilson_interval
from lf_experiments.models.batches import halved_until_it_fits
from lf_experiments.models.load import Reader, Results
from lf_experiments.neurons.interventions import NONE, Intervention, Treated

Item = TypeVar("Item")

FEWSHOT_SEED = 1234
"""The harness's own default: which examples stand before a question."""

BOOTSTRAP_DRAWS = 1000
"""Draws behind the standard error of a metric that has no formula for it, such as F1."""

STDERR = "_stderr"
"""Behind the name of a metric: its standard error."""


class Scored(NamedTuple):
    """What the harness says of one task."""

    rows: list[Row]
    is_finite: bool
    """Whether all its log-likelihoods are."""


def measure_tasks(
    reader: Reader,
    interventions: list[Intervention],
    tasks: list[str],
    batch_tokens: int,
    kept: KeptCells,
) -> pd.DataFrame:
    """Run tasks, as `task_names` returns them, under every intervention: the cells for `task_table`.

    Processes of a team take whole tasks. `kept` as in `matrix`. Raises `InputError` for a task that cannot be loaded
    or run, and for logits that are not finite.
    """
    reading = reading_of(reader, batch_tokens)

    def evaluate(cells: list[Cell]) -> Iterator[list[Row]]:
        rows = [Treated(name, under) for under, name in cells]
        for cell, scored in in_order(cells, reader.share(run_tasks, rows, reading)):
            refuse_infinite(scored.is_finite, f"the task {cell.language}", cell.under)
            yield scored.rows

    return matrix("tasks", evaluate, interventions, tasks, kept, column="name")


def task_table(cells: pd.DataFrame, level: float | None) -> pd.DataFrame:
    """The content of `tasks.csv`: a row per task, intervention and metric. A group has rows of its own beside its tasks'.

    `lo` and `hi` are the interval of the value (Wilson's where every item is right or wrong), `difference` the change against
    the full model on the same items, with its paired interval. Without a level there are no intervals.
    """
    rows = cells.to_dict("records")
    full = {(row["task"], row["metric"]): row["by_item"] for row in rows if row["deactivated"] == NONE}
    found = pd.DataFrame([uncertainty(row, full.get((row["task"], row["metric"])), level) for row in rows], cells.index)
    table = cells[["task", "deactivated", "draw", "dose", "metric", "value", "stderr", "items"]]
    return pd.concat([table, found.reindex(columns=["lo", "hi", "difference", "difference_lo", "difference_hi"])], axis=1)


def uncertainty(row: Row, full: list[float] | None, level: float | None) -> Row:
    """The interval of a metric, and its change against the full model; `full` has its value of every item there."""
    found: Row = {}
    if level:
        found["lo"], found["hi"] = interval(row, level)
    items, before = row["by_item"], full
    if row["deactivated"] != NONE and items and before and len(items) == len(before):
        change = paired_difference(np.array(before), np.array(items))
        low, high = change.interval(level) if level else (math.nan, math.nan)
        found |= {"difference": change.value, "difference_lo": low, "difference_hi": high}
    return found


def interval(row: Row, level: float) -> tuple[float, float]:
    """The interval of the value of a metric; NaN where the harness gives no standard error."""
    items = row["by_item"]
    if items and set(items) <= {0.0, 1.0}:
        return wilson_interval(int(sum(items)), len(items), level)
    value, stderr = (math.nan if row[name] is None else row[name] for name in ("value", "stderr"))
    return Effect(value, stderr, math.inf).interval(level)


def in_order(items: list[Item], results: Results) -> Iterator[tuple[Item, Any]]:
    """Yields every item with its result, in the order of the items, each as soon as those before it are there."""
    waiting: dict[int, Any] = {}
    following = iter(range(len(items)))
    position = next(following, None)
    for found, result in results:
        waiting[found] = result
        while position in waiting:
            yield items[position], waiting.pop(position)
            position = next(following, None)


# In each process ------------------------------------------------------------------------------------------------------


def run_tasks(reader: Reader, names: list[Treated], reading: Reading) -> Results:
    """Yields the position of each task, or group of tasks, and what the harness says of it under its intervention.

    Interventions are not side by side here: the requests of a task fill batches under one.
    """
    for position, (name, under) in enumerate(names):
        with quiet_harness(), defaults_of_no_model(reader.model), reader.intervened(under):
            scored = run_task(reader, name, reading)
        yield position, scored


def run_task(reader: Reader, name: str, reading: Reading) -> Scored:
    """Run one task, or one group of tasks. Raises `InputError` as `load_tasks`."""
    loaded = load_tasks(name)
    rows = max(1, reading.batch_tokens // longest_request(reader, loaded))
    results = halved_until_it_fits(lambda rows: harness_results(reader, loaded, reading._replace(rows=rows)), rows)
    by_item = values_by_item(results["samples"])
    responses = [sample["resps"] for samples in results["samples"].values() for sample in samples]
    return Scored(
        [row for task, scores in results["results"].items() for row in metric_rows(task, scores, by_item)],
        all(map(math.isfinite, floats(responses))),
    )


def harness_results(reader: Reader, loaded: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """What `lm_eval.evaluate` returns, with the same examples before a question every time."""
    import lm_eval

    for task in loaded["tasks"].values():
        task.set_fewshot_seed(FEWSHOT_SEED)
    return lm_eval.evaluate(lm=harness_model(reader, reading, []), task_dict=loaded, bootstrap_iters=BOOTSTRAP_DRAWS)


def longest_request(reader: Reader, tasks: dict[str, Any]) -> int:
    """The tokens of the longest text that the tasks ask about, at most those that the model reads at once."""
    texts = []
    for task in tasks["tasks"].values():
        task.set_fewshot_seed(FEWSHOT_SEED)
        task.build_all_requests(rank=0, world_size=1)
        texts += ["".join(part for part in request.args if isinstance(part, str)) for request in task.instances]
    longest = max((len(ids) for ids in reader.sequences(texts)), default=1)
    return max(1, min(longest, reader.context or longest))


def values_by_item(samples: dict[str, list[dict[str, Any]]]) -> dict[tuple[str, str], list[float]]:
    """{(task, `metric,filter`): its value of every item, in their order}, of metrics that are one number per item."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for task, of_task in samples.items():
        for sample in of_task:
            for metric in sample.get("metrics", ()):
                number = finite_number(sample.get(metric))
                if number is not None:
                    found.setdefault((task, f"{metric},{sample.get('filter', 'none')}"), {})[sample["doc_id"]] = number
    return {key: [values[item] for item in sorted(values)] for key, values in found.items()}


def metric_rows(task: str, scores: dict[str, Any], by_item: dict[tuple[str, str], list[float]]) -> list[Row]:
    """A row for every metric of a task. `scores` has them as `metric,filter`, where the filter `none` goes without saying."""
    rows = []
    for key, value in scores.items():
        metric, comma, chosen = key.partition(",")
        if comma and not metric.endswith(STDERR):
            name = metric if chosen == "none" else key
            stderr = finite_number(scores.get(f"{metric}{STDERR},{chosen}"))
            row: Row = {"task": task, "metric": name, "value": finite_number(value), "stderr": stderr}
            rows.append(row | {"by_item": of_mean(by_item.get((task, key)), row["value"])})
    return [{**row, "items": scores.get("sample_len")} for row in rows]


def of_mean(items: list[float] | None, value: float | None) -> list[float] | None:
    """The values of the items where the metric is their mean; None for one such as F1, which is made of them in another way."""
    return items if items and value is not None and math.isclose(math.fsum(items) / len(items), value, abs_tol=1e-9) else None


def finite_number(value: Any) -> float | None:
    """A number as JSON can hold it; None for anything else."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def floats(value: Any) -> Iterator[float]:
    """Every float in nested lists and tuples."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from floats(part)
