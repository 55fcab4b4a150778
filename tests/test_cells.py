"""Evaluated cells kept between runs: found by what is done to which neurons, by any name, and evaluated again when in doubt."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from lf_experiments.evaluations.cells import Cell, CellCache, KeptCells, cell_file
from lf_experiments.evaluations.matrix import matrix
from lf_experiments.evaluations.windows import Window
from lf_experiments.neurons.interventions import NONE, RANDOM, Intervention

NOWHERE = [torch.zeros(4, dtype=torch.bool), torch.zeros(2, dtype=torch.bool)]
SOME = [torch.tensor([True, False, False, True]), torch.zeros(2, dtype=torch.bool)]
OTHERS = [torch.tensor([True, False, True, False]), torch.zeros(2, dtype=torch.bool)]
FULL, OFF = Intervention(NONE, NOWHERE), Intervention("fr", SOME)
LANGUAGES = ["en", "fr"]


class Evaluation:
    """Notes which cells it is asked for; every answer is another."""

    def __init__(self, start: int = 0) -> None:
        self.asked: list[tuple[str, str]] = []
        self.start = start

    def __call__(self, cells: list[Cell]):
        self.asked = [(cell.under.name, cell.language) for cell in cells]
        for number, _ in enumerate(cells, start=self.start):
            yield [{"value": number + part / 3, "by_window": [0.1 * number]} for part in range(2)]


def cache_in(folder: Path, languages: list[str] = LANGUAGES) -> CellCache:
    return CellCache({language: folder / f"{language}.jsonl" for language in languages})


def evaluated(folder: Path, interventions: list[Intervention], start: int = 0) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The table of a run with a cache in a folder, and the cells that it had to evaluate."""
    evaluation = Evaluation(start)
    table = matrix("test", evaluation, interventions, LANGUAGES, KeptCells(cache=cache_in(folder)))
    return table, evaluation.asked


def test_a_second_run_evaluates_nothing_and_has_the_same_table(tmp_path: Path) -> None:
    first, asked = evaluated(tmp_path, [FULL, OFF])
    assert asked == [(NONE, "en"), (NONE, "fr"), ("fr", "en"), ("fr", "fr")]
    again, asked = evaluated(tmp_path, [FULL, OFF], start=100)
    assert asked == []
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_rows_are_in_the_order_that_is_asked_whatever_was_there(tmp_path: Path) -> None:
    evaluated(tmp_path, [OFF])
    table, asked = evaluated(tmp_path, [FULL, OFF, Intervention(RANDOM, OTHERS)], start=100)
    assert asked == [(NONE, "en"), (NONE, "fr"), (RANDOM, "en"), (RANDOM, "fr")]
    assert table["deactivated"].tolist() == [NONE] * 4 + ["fr"] * 4 + [RANDOM] * 4
    assert table["language"].tolist() == ["en", "en", "fr", "fr"] * 3
    assert table["value"][4:8].tolist() == [0, 1 / 3, 1, 1 + 1 / 3]


def test_the_same_neurons_are_found_under_another_name(tmp_path: Path) -> None:
    first, _ = evaluated(tmp_path, [OFF])
    renamed = Intervention(RANDOM, [where_N.clone() for where_N in SOME], draw=3, matches="")
    table, asked = evaluated(tmp_path, [renamed], start=100)
    assert asked == []
    assert set(table["deactivated"]) == {RANDOM}
    assert set(table["draw"]) == {3}
    assert table["value"].tolist() == first["value"].tolist()


VALUES = [torch.tensor([1.0, 0.0, 0.0, 2.0]), torch.zeros(2)]


@pytest.mark.parametrize(
    "other",
    [
        replace(OFF, where_L_N=OTHERS),
        replace(OFF, where_L_N=[torch.tensor([True, False]), torch.tensor([False, True, False, False])]),
        replace(OFF, dose=0.5),
        replace(OFF, kind="scale"),
        replace(OFF, value_L_N=VALUES),
        FULL,
    ],
)
def test_anything_else_that_is_done_is_evaluated(tmp_path: Path, other: Intervention) -> None:
    evaluated(tmp_path, [OFF])
    _, asked = evaluated(tmp_path, [other])
    assert len(asked) == 2
    assert other.content != OFF.content


def test_other_values_are_another_content() -> None:
    moved = replace(OFF, kind="mean", value_L_N=VALUES)
    assert moved.content != replace(moved, value_L_N=[2 * value_N for value_N in VALUES]).content
    assert moved.content == replace(moved, name="en", value_L_N=[value_N.clone() for value_N in VALUES]).content


def test_an_empty_region_is_the_full_model_at_any_dose() -> None:
    assert Intervention("fr", NOWHERE, kind="scale", dose=0.3).content == FULL.content


def test_what_an_edit_of_ones_own_does_is_not_kept(tmp_path: Path) -> None:
    own = replace(OFF, kind=f"{__name__}:zero")
    assert own.content == ""
    evaluated(tmp_path, [own])
    _, asked = evaluated(tmp_path, [own])
    assert len(asked) == 2
    assert not list(tmp_path.iterdir())


def test_a_language_without_a_file_is_not_kept(tmp_path: Path) -> None:
    for _ in range(2):
        evaluation = Evaluation()
        matrix("test", evaluation, [FULL], LANGUAGES, KeptCells(cache=cache_in(tmp_path, ["en"])))
    assert evaluation.asked == [(NONE, "fr")]


def test_what_this_run_has_left_comes_before_what_others_have_kept(tmp_path: Path) -> None:
    evaluated(tmp_path, [FULL])
    left = [FULL_CELL.identity("language") | {"value": 7}]
    table = matrix("test", Evaluation(), [FULL], ["en"], KeptCells(left, cache=cache_in(tmp_path)))
    assert table["value"].tolist() == [7]


FULL_CELL = Cell(FULL, "en")


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def cut(line: str) -> str:
    return line[: len(line) // 2]


def changed(line: str) -> str:
    check, content, rows = json.loads(line)
    return json.dumps([check, content, [row | {"value": -1} for row in rows]])


@pytest.mark.parametrize(
    "damage", [cut, changed, lambda _: "null", lambda _: "[]", lambda _: "\x00", lambda _: '["a", "b", NaN]']
)
def test_a_damaged_line_is_evaluated_again_and_the_others_are_not(tmp_path: Path, damage, caplog) -> None:
    first, _ = evaluated(tmp_path, [FULL, OFF])
    file = tmp_path / "en.jsonl"
    one, other = file.read_text().splitlines()
    file.write_text(f"{damage(one)}\n{other}\n")
    _, asked = evaluated(tmp_path, [FULL, OFF], start=100)
    assert asked == [(NONE, "en")]
    assert warnings_in(caplog) == [f"1 of the cells kept in {file} are damaged: evaluating them again"]
    caplog.clear()
    table, asked = evaluated(tmp_path, [FULL, OFF])
    assert asked == []
    assert table["value"].tolist()[2:] == first["value"].tolist()[2:]


def test_a_cache_that_cannot_be_written_is_gone_without(read_only_folder: Path, caplog) -> None:
    folder = read_only_folder / "cells"
    table, asked = evaluated(folder, [FULL, OFF])
    assert len(table) == 8
    assert len(asked) == 4
    assert warnings_in(caplog) == [
        f"evaluated cells cannot be kept in {folder} (Read-only file system): going on without (cache.dir)"
    ]


def test_a_file_that_is_read_counts_as_used(tmp_path: Path) -> None:
    evaluated(tmp_path, [FULL])
    for path in tmp_path.iterdir():
        os.utime(path, (1000, 1000))
    evaluated(tmp_path, [FULL])
    assert all(path.stat().st_mtime > 1000 for path in tmp_path.iterdir())


def test_a_file_is_named_by_what_is_read_and_how(tmp_path: Path) -> None:
    windows = [Window([1, 2, 3], bytes=4), Window([5, 6], bytes=7)]
    names = [
        cell_file(tmp_path, windows, 128),
        cell_file(tmp_path, windows[:1], 128),
        cell_file(tmp_path, windows, 64),
        cell_file(tmp_path, [Window([1, 2, 3], bytes=4, given=2), windows[1]], 128),
        cell_file(tmp_path, ["a text"], 128),
    ]
    assert len(set(names)) == len(names)
    assert cell_file(tmp_path, [replace(window) for window in windows], 128) == names[0]
