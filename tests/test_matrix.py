"""The loop of every evaluation: each cell once, rows in order, kept as they come, and none again after an interruption."""

import json
import math

import pandas as pd
import pytest
import torch

from lf_experiments.errors import InputError
from lf_experiments.evaluations.cells import Cell, KeptCells
from lf_experiments.evaluations.finite import refuse_infinite
from lf_experiments.evaluations.matrix import matrix, neighbours, read_cells
from lf_experiments.neurons.interventions import NONE, RANDOM, Intervention

NOWHERE = [torch.zeros(4, dtype=torch.bool)]
INTERVENTIONS = [
    Intervention(NONE, NOWHERE),
    Intervention("fr", NOWHERE, dose=0.5),
    Intervention("fr", NOWHERE, dose=1.0),
    Intervention(RANDOM, NOWHERE, draw=0),
    Intervention(RANDOM, NOWHERE, draw=1),
]
LANGUAGES = ["en", "fr", "zh"]


class Evaluation:
    """Notes what it is asked for, once; two rows of each cell."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int, str]] = []

    def __call__(self, cells: list[Cell]):
        assert not self.asked
        self.asked = [(under.name, under.dose, under.draw, language) for under, language in cells]
        for under, language in cells:
            yield [{"value": f"{under.name} {language} {row}"} for row in range(2)]


def stopped_after(cells: int) -> list[dict]:
    """The rows that a run leaves which is interrupted after so many cells, through JSON."""
    left: list[list[dict]] = []

    def keep(rows: list[dict]) -> None:
        left.append(json.loads(json.dumps(rows)))
        if len(left) == cells:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matrix("test", Evaluation(), INTERVENTIONS, LANGUAGES, KeptCells(keep=keep))
    return [row for rows in left for row in rows]


def test_every_cell_is_evaluated_once_in_order() -> None:
    evaluation, kept = Evaluation(), []
    table = matrix("test", evaluation, INTERVENTIONS, LANGUAGES, KeptCells(keep=lambda rows: kept.append(len(rows))))
    assert list(table.columns) == ["deactivated", "draw", "matches", "dose", "language", "value"]
    assert kept == [2] * 15
    cells = [tuple(cell) for cell in table[["deactivated", "draw", "dose", "language"]].drop_duplicates().to_numpy().tolist()]
    assert cells == [(each.name, each.draw, each.dose, language) for each in INTERVENTIONS for language in LANGUAGES]
    assert list(table["value"][:3]) == ["none en 0", "none en 1", "none fr 0"]


@pytest.mark.parametrize("cells", [1, 3, 4, 14])
def test_only_missing_cells_are_evaluated_after_an_interruption(cells: int) -> None:
    whole = matrix("test", Evaluation(), INTERVENTIONS, LANGUAGES, KeptCells())
    evaluation = Evaluation()
    resumed = matrix("test", evaluation, INTERVENTIONS, LANGUAGES, KeptCells(stopped_after(cells)))
    assert len(evaluation.asked) == 15 - cells
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_doses_and_draws_are_cells_of_their_own() -> None:
    evaluation = Evaluation()
    matrix("test", evaluation, INTERVENTIONS, LANGUAGES, KeptCells(stopped_after(6)))
    left = [("fr", 1.0, 0), (RANDOM, 1.0, 0), (RANDOM, 1.0, 1)]
    assert evaluation.asked == [(*names, language) for names in left for language in LANGUAGES]


def test_a_control_is_evaluated_on_the_language_that_it_matches_alone() -> None:
    controls = [Intervention(RANDOM, NOWHERE, draw, matches=language) for language in ("fr", "zh", "sw") for draw in range(2)]
    evaluation = Evaluation()
    table = matrix("test", evaluation, [*INTERVENTIONS, *controls], LANGUAGES, KeptCells())
    found = table[table["matches"] != ""].drop_duplicates(["matches", "draw", "language"])
    assert found[["matches", "draw", "language"]].to_numpy().tolist() == [
        ["fr", 0, "fr"], ["fr", 1, "fr"], ["zh", 0, "zh"], ["zh", 1, "zh"],
    ]  # fmt: skip
    again = Evaluation()
    kept = table[table["draw"] == 0].to_dict("records")
    matrix("test", again, [*INTERVENTIONS, *controls], LANGUAGES, KeptCells(kept))
    assert again.asked == [(RANDOM, 1.0, 1, language) for language in [*LANGUAGES, "fr", "zh"]]


class Shared:
    """Stands for a reader, alone or one of several: notes what is read together, and finds the intervention of every row."""

    def __init__(self, copies: int = 1) -> None:
        self.copies, self.together = copies, []

    def share(self, read, rows, *arguments):
        self.together.append([(row.under.name, row.under.dose, row.item) for row in rows])
        found = list(read(self, rows, *arguments))
        yield from reversed(found)  # in any order, as from a team


def named(_: Shared, rows, end: str):
    """What a row is."""
    for position, (item, under) in enumerate(rows):
        yield position, f"{item} {under.name} {under.dose}{end}"


CELLS = [Cell(under, language) for under in INTERVENTIONS[:3] for language in ("en", "fr")]
ITEMS = {"en": ["a", "b", "c"], "fr": ["d"], "zh": []}


@pytest.mark.parametrize(("most", "processes", "groups"), [
    (1, 1, [3, 1, 3, 1, 3, 1]), (3, 1, [3, 1, 3, 1, 3, 1]), (4, 1, [4, 4, 4]), (7, 1, [7, 5]), (4, 2, [8, 4]), (100, 1, [12]),
])  # fmt: skip
def test_cells_are_read_side_by_side_as_far_as_there_is_room(most: int, processes: int, groups: list[int]) -> None:
    reader = Shared(processes)
    sizes = {language: len(items) for language, items in ITEMS.items()}
    found = list(read_cells(reader, CELLS, ITEMS, sizes, most, named, "!"))
    assert [cell for cell, _ in found] == CELLS
    for (under, language), results in found:
        assert results == [f"{item} {under.name} {under.dose}!" for item in ITEMS[language]]
    assert list(map(len, reader.together)) == groups


def test_what_was_read_is_there_before_the_next_cells_are_read() -> None:
    """So that a run that is killed keeps it."""
    reader = Shared()
    cells = read_cells(reader, CELLS, ITEMS, {"en": 3, "fr": 1}, 4, named, "!")
    for number in range(len(CELLS)):
        next(cells)
        assert len(reader.together) == number // 2 + 1


def test_a_cell_of_nothing_is_nothing() -> None:
    cells = [Cell(INTERVENTIONS[0], "zh"), Cell(INTERVENTIONS[0], "en")]
    found = list(read_cells(Shared(), cells, ITEMS, {"zh": 0, "en": 3}, 3, named, ""))
    assert [len(results) for _, results in found] == [0, 3]
    assert list(read_cells(Shared(), [], ITEMS, {}, 3, named, "")) == []


def test_neighbours_are_grouped_in_their_order() -> None:
    assert neighbours([2, 2, 9, 1, 1, 1], 3) == [[0], [1], [2], [3, 4, 5]]
    assert neighbours([2, 2, 9, 1, 1, 1], 4) == [[0, 1], [2], [3, 4, 5]]
    assert neighbours([], 4) == []


def test_the_last_column_can_be_another(capsys: pytest.CaptureFixture) -> None:
    table = matrix("test", Evaluation(), INTERVENTIONS[:1], ["arc"], KeptCells(), column="task")
    assert list(table.columns) == ["deactivated", "draw", "matches", "dose", "task", "value"]
    assert "1/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("intervention", "said"),
    [
        (INTERVENTIONS[0], "the model gives NaN or infinite logits on the text in zh\nRemedy: use model.dtype=float32"),
        (INTERVENTIONS[1], r"the model under the intervention fr \(zero, dose 0.5\) gives"),
        (INTERVENTIONS[4], r"the model under the intervention random \(zero, dose 1, draw 1\) gives.*too strong"),
        (
            Intervention(RANDOM, NOWHERE, matches="fr"),
            r"the model under the intervention random \(zero, dose 1, matched to fr\) gives",
        ),
    ],
)
def test_scores_that_are_not_finite_are_refused(intervention: Intervention, said: str) -> None:
    refuse_infinite(math.isfinite(1.0), "the text in zh", intervention)
    with pytest.raises(InputError, match=rf"(?s)model.dtype=\(as loaded\): {said}"):
        refuse_infinite(math.isfinite(math.nan), "the text in zh", intervention)
