"""Batches cover every sequence once within the budget, are padded on the right, and shrink when memory ends."""

import logging
import random
import weakref

import pytest
import torch

from lf_experiments.errors import InputError
from lf_experiments.models import batches
from lf_experiments.models.batches import (
    at_once,
    each_group,
    halved_until_it_fits,
    halves,
    padded,
    rows_by_budget,
    warn_of_long_sequences,
)

CPU = torch.device("cpu")


def out_of_memory_above(rows_that_fit, calls):
    """A computation that notes the size of every call and runs out of memory over `rows_that_fit`."""

    def compute(rows):
        calls.append(len(rows))
        if len(rows) > rows_that_fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return [row * 10 for row in rows]

    return compute


@pytest.mark.parametrize("budget", [1, 7, 64, 300, 10**9])
@pytest.mark.parametrize("seed", range(5))
def test_groups_cover_each_row_once_within_the_budget(budget, seed):
    lengths = random.Random(seed).choices(range(1, 100), k=50)
    groups = rows_by_budget(lengths, budget)
    assert sorted(row for group in groups for row in group) == list(range(50))
    for group in groups:
        size_padded = len(group) * max(lengths[row] for row in group)
        assert size_padded <= budget or len(group) == 1


@pytest.mark.parametrize("budget", [7, 64, 300, 10**9])
def test_groups_are_sorted_by_length_and_filled(budget):
    lengths = random.Random(9).choices(range(1, 100), k=50)
    groups = rows_by_budget(lengths, budget)
    in_order = [lengths[row] for group in groups for row in group]
    assert in_order == sorted(lengths, reverse=True)
    for group in groups[:-1]:
        assert (len(group) + 1) * lengths[group[0]] > budget, "another sequence would have fitted"


def test_an_over_long_sequence_is_alone():
    assert rows_by_budget([3, 50, 4, 3], 12) == [[1], [2, 0, 3]]


def test_equal_lengths_keep_their_order():
    assert rows_by_budget([2, 2, 2, 2, 2], 4) == [[0, 1], [2, 3], [4]]


def test_no_group_has_more_rows_than_allowed() -> None:
    assert rows_by_budget([2, 2, 2, 2, 2], 100, batch_rows=2) == [[0, 1], [2, 3], [4]]
    assert rows_by_budget([2, 9, 2], 10, batch_rows=2) == [[1], [0, 2]]
    assert rows_by_budget([2, 2], 100, batch_rows=1) == [[0], [1]]


def test_nothing_to_read_gives_no_group():
    assert rows_by_budget([], 10) == []


def test_padding_is_on_the_right_and_marked_zero_in_the_mask():
    ids_BT, mask_BT = padded([[5, 6, 7], [8], [9, 4]], CPU)
    assert mask_BT.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert (ids_BT * mask_BT).tolist() == [[5, 6, 7], [8, 0, 0], [9, 4, 0]]
    assert ids_BT.shape == mask_BT.shape
    assert ids_BT.dtype == mask_BT.dtype == torch.long
    assert ids_BT.device == mask_BT.device == CPU


def test_token_zero_is_a_token_and_not_padding():
    assert padded([[0, 0], [0]], CPU)[1].tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("rows", [[1], [1, 2], [1, 2, 3], list(range(9))])
def test_halves_hold_the_same_rows_in_two_nearly_equal_parts(rows):
    parts = list(halves(rows))
    assert [row for part in parts for row in part] == rows
    assert all(parts)
    assert max(map(len, parts)) == (len(rows) + 1) // 2


def test_each_group_yields_its_own_result():
    calls = []
    results = list(each_group([[0, 1], [2]], out_of_memory_above(5, calls), at_once))
    assert results == [([0, 1], [0, 10]), ([2], [20])]
    assert calls == [2, 1]


@pytest.mark.parametrize("fit", [1, 2, 3, 7])
def test_groups_shrink_until_they_fit_and_no_row_is_lost(fit, caplog):
    calls = []
    with caplog.at_level(logging.WARNING):
        results = list(each_group([list(range(8)), list(range(8, 13))], out_of_memory_above(fit, calls), at_once))
    assert [row for rows, _ in results for row in rows] == list(range(13))
    assert all(values == [row * 10 for row in rows] and len(rows) <= fit for rows, values in results)
    failures = [size for size in calls if size > fit]
    assert failures
    assert [record.getMessage() for record in caplog.records] == [
        f"Out of memory with {size} sequences in a batch: going on with half as many." for size in failures
    ]


def test_groups_still_to_do_are_halved_with_the_one_that_failed():
    calls = []
    list(each_group([list(range(8)), list(range(8, 16))], out_of_memory_above(4, calls), at_once))
    assert calls == [8, 4, 4, 4, 4]


def test_results_before_memory_ended_are_kept():
    calls = []
    list(each_group([[0, 1], [2, 3, 4, 5], [6]], out_of_memory_above(2, calls), at_once))
    assert calls == [2, 4, 2, 2, 1]


class Accelerator:
    """Notes the order of what it is asked: a group is launched, then its results arrive."""

    def __init__(self, rows_that_fit: int = 100) -> None:
        self.rows_that_fit, self.order = rows_that_fit, []

    def launch(self, rows: list[int]) -> list[int]:
        self.order.append(f"launch {rows}")
        if len(rows) > self.rows_that_fit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows

    def arrived(self, rows: list[int], launched: list[int]) -> int:
        assert launched is rows
        self.order.append(f"read {rows}")
        return sum(rows)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(batches, "clear_device_cache", lambda **_: None)


@pytest.mark.usefixtures("with_gpu")
def test_results_are_read_after_the_next_group_was_launched() -> None:
    accelerator = Accelerator()
    assert list(each_group([[0, 1], [2], [3]], accelerator.launch, accelerator.arrived)) == [([0, 1], 1), ([2], 2), ([3], 3)]
    assert accelerator.order == ["launch [0, 1]", "launch [2]", "read [0, 1]", "launch [3]", "read [2]", "read [3]"]


def test_a_processor_holds_the_results_of_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    accelerator = Accelerator()
    assert list(each_group([[0, 1], [2]], accelerator.launch, accelerator.arrived)) == [([0, 1], 1), ([2], 2)]
    assert accelerator.order == ["launch [0, 1]", "read [0, 1]", "launch [2]", "read [2]"]


@pytest.mark.usefixtures("with_gpu")
def test_a_single_group_and_none_are_read_too() -> None:
    accelerator = Accelerator()
    assert list(each_group([[4]], accelerator.launch, accelerator.arrived)) == [([4], 4)]
    assert list(each_group([], accelerator.launch, accelerator.arrived)) == []
    assert accelerator.order == ["launch [4]", "read [4]"]


@pytest.mark.usefixtures("with_gpu")
def test_what_is_under_way_when_memory_ends_is_read_in_its_turn() -> None:
    accelerator = Accelerator(rows_that_fit=2)
    found = list(each_group([[0, 1], [2, 3, 4], [5]], accelerator.launch, accelerator.arrived))
    assert found == [([0, 1], 1), ([2, 3], 5), ([4], 4), ([5], 5)]
    assert accelerator.order[:5] == ["launch [0, 1]", "launch [2, 3, 4]", "launch [2, 3]", "read [0, 1]", "launch [4]"]


def test_a_single_row_that_does_not_fit_is_an_input_error():
    with pytest.raises(
        InputError, match=r"(?s)runtime.batch_tokens=.*CUDA out of memory.*not even one.*Remedy: .*bfloat16"
    ) as info:
        list(each_group([[0, 1, 2]], out_of_memory_above(0, []), at_once))
    assert isinstance(info.value.__cause__, torch.OutOfMemoryError)


def test_other_errors_pass_unchanged(caplog):
    def compute(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(each_group([[0, 1]], compute, at_once))
    assert not caplog.records


def test_what_the_failed_pass_held_is_free_before_the_cache_is_cleared(monkeypatch):
    held, still_there = [], []

    def compute(rows):
        if len(rows) > 1:
            activations = torch.ones(10)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rows

    monkeypatch.setattr(batches, "clear_device_cache", lambda **_: still_there.append(held[-1]() is not None))
    assert len(list(each_group([[0, 1]], compute, at_once))) == 2
    assert still_there == [False]


@pytest.mark.parametrize(("fit", "tried"), [(16, [9]), (2, [9, 4, 2]), (1, [9, 4, 2, 1])])
def test_a_computation_that_makes_its_own_batches_is_given_fewer_rows(fit, tried, caplog):
    calls = []
    compute = out_of_memory_above(fit, calls)
    assert halved_until_it_fits(lambda rows: len(compute(list(range(rows)))), 9) == tried[-1] == calls[-1]
    assert calls == tried
    assert caplog.messages == [
        f"Out of memory with {rows} sequences in a batch: going on with half as many." for rows in tried[:-1]
    ]


def test_a_computation_whose_single_row_does_not_fit_is_an_input_error():
    compute = out_of_memory_above(0, [])
    with pytest.raises(InputError, match=r"(?s)runtime.batch_tokens=.*CUDA out of memory.*not even one.*Remedy: .*bfloat16"):
        halved_until_it_fits(lambda rows: compute(list(range(rows))), 3)


@pytest.mark.parametrize(("longest", "warned"), [(40, False), (41, True)])
def test_a_sequence_of_more_than_four_batches_is_named(longest, warned, caplog):
    warn_of_long_sequences("sentence", [3, longest, 5], 10, lambda row: f"Sentence {row}")
    assert [message.split(",")[0] for message in caplog.messages] == ["Sentence 1 has 41 tokens"] * warned


def test_no_sequence_is_not_too_long(caplog):
    warn_of_long_sequences("sentence", [], 10, str)
    assert not caplog.messages
