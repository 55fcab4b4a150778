"""Several processes: the results of one, errors and warnings of any, no one left waiting; and `accelerate launch`."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch

from lf_experiments.config import Dtype, InputError, ModelConfig
from lf_experiments.evaluations.deactivation import NOTHING, Deactivation, perplexity_table
from lf_experiments.evaluations.perplexity import Window
from lf_experiments.models import team as team_module
from lf_experiments.models.load import Reader
from lf_experiments.models.team import Team, assembled, shares_of_gpus
from lf_experiments.neurons.capture import capture

log = logging.getLogger("lf_experiments.tests")


def squares(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """The last number first: positions say which is which."""
    yield from reversed([(position, number**2) for position, number in enumerate(numbers)])


def whose(_: Reader, items: list[int]) -> Iterator[tuple[int, int]]:
    yield from ((position, os.getpid()) for position in range(len(items)))


def refuse_seven(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    if 7 in numbers:
        raise InputError("numbers", 7, "nobody wants it", "leave it out")
    yield from enumerate(numbers)


def stumble_over_seven(_: Reader, numbers: list[int]) -> Iterator[tuple[int, float]]:
    yield from ((position, 1 / (number - 7)) for position, number in enumerate(numbers))


def die_of_seven(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    if 7 in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from enumerate(numbers)


def warn_of_seven(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    if 7 in numbers:
        log.warning("a seven")
    yield from enumerate(numbers)


@contextmanager
def a_team(folder: Path, size: int = 2) -> Iterator[Team]:
    team = assembled(folder, ModelConfig(name="test", path=str(folder), dtype=Dtype.float32), size)
    try:
        yield team
    finally:
        team.end()


@pytest.fixture(scope="module")
def team(model_folders: dict[str, Path]) -> Iterator[Team]:
    with a_team(model_folders["bloom"]) as team:
        yield team


@pytest.fixture(scope="module")
def alone(model_folders: dict[str, Path], load) -> Reader:
    return load(model_folders["bloom"])


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_item_is_read_once_whoever_reads_it(team: Team, count: int) -> None:
    numbers = list(range(count))
    assert sorted(team.share(squares, numbers)) == [(number, number**2) for number in numbers]


def test_the_processes_take_turns(team: Team) -> None:
    processes = dict(team.share(whose, [0] * 6))
    assert processes[0] == processes[2] == processes[4] == os.getpid()
    assert processes[1] == processes[3] == processes[5] != os.getpid()


def test_one_process_is_no_team(model_folders: dict[str, Path]) -> None:
    folder = model_folders["bloom"]
    reader = assembled(folder, ModelConfig(name="test", path=str(folder)), 1)
    assert not isinstance(reader, Team)
    assert dict(reader.share(whose, [0] * 3)) == dict.fromkeys(range(3), os.getpid())


def test_a_capture_is_that_of_one_process(team: Team, alone: Reader, sentences: list[str]) -> None:
    torch.testing.assert_close(capture(team, sentences, 300), capture(alone, sentences, 300), rtol=0, atol=1e-6)
    assert capture(team, sentences[:1], 300).shape == (len(alone.sites), 1, alone.num_neurons_per_layer)


def test_perplexities_are_those_of_one_process(team: Team, alone: Reader) -> None:
    shape = len(alone.sites), alone.num_neurons_per_layer
    half = torch.zeros(shape, dtype=torch.bool)
    half[:, ::2] = True
    regions = [Deactivation(NOTHING, 0, torch.zeros(shape, dtype=torch.bool)), Deactivation("en", 0, half)]
    windows = {"en": [Window(list(range(start, start + 12)), 30) for start in range(5)]}
    together, apart = (perplexity_table(reader, regions, windows, 24, [], lambda _: None) for reader in (team, alone))
    pd.testing.assert_frame_equal(together, apart, check_exact=False, rtol=1e-6)
    assert abs(together["increase_percent"]).iloc[1] > 0.1


@pytest.mark.parametrize("position", [0, 1], ids=["the leader", "a follower"])
def test_what_a_user_can_mend_comes_back_as_such(team: Team, position: int) -> None:
    numbers = [7 if place == position else 1 for place in range(4)]
    with pytest.raises(InputError, match=r"numbers=7: nobody wants it\nRemedy: leave it out"):
        list(team.share(refuse_seven, numbers))
    assert sorted(team.share(squares, [1, 2, 3])) == [(0, 1), (1, 4), (2, 9)]  # and the team goes on


def test_any_other_error_comes_back_with_its_traceback(team: Team) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)process 1 failed:.*stumble_over_seven.*ZeroDivisionError"):
        list(team.share(stumble_over_seven, [1, 7]))
    assert dict(team.share(squares, [5, 6])) == {0: 25, 1: 36}


def test_two_errors_are_one(team: Team) -> None:
    with pytest.raises(InputError, match="nobody wants it"):
        list(team.share(refuse_seven, [7, 7]))
    assert dict(team.share(squares, [5, 6])) == {0: 25, 1: 36}


def test_warnings_of_a_follower_are_those_of_the_run(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    list(team.share(warn_of_seven, [1, 7]))
    assert caplog.messages == ["process 1: a seven"]
    list(team.share(warn_of_seven, [1, 1]))
    assert caplog.messages == ["process 1: a seven"]


def test_the_death_of_a_follower_ends_the_work(model_folders: dict[str, Path]) -> None:
    with a_team(model_folders["bloom"], 3) as team, pytest.raises(RuntimeError, match="process 2 died with exit code -9"):
        list(team.share(die_of_seven, [1, 1, 7]))
    assert not any(follower.process.is_alive() for follower in team.followers)


def test_the_cores_are_shared_and_given_back(model_folders: dict[str, Path]) -> None:
    torch.set_num_threads(2)
    try:
        with a_team(model_folders["bloom"]):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_model_that_cannot_be_loaded_is_said_once(model_folders: dict[str, Path], tmp_path: Path) -> None:
    for path in model_folders["bloom"].iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="it has no weights"), a_team(tmp_path):
        pass


@pytest.mark.parametrize(
    ("gpus", "processes", "expected"),
    [(0, 2, [[], []]), (1, 1, [[0]]), (8, 2, [[0, 1, 2, 3], [4, 5, 6, 7]]), (5, 2, [[0, 1], [2, 3]]), (2, 2, [[0], [1]])],
)
def test_every_process_has_its_share_of_the_gpus(
    gpus: int, processes: int, expected: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: gpus)
    assert shares_of_gpus(processes) == expected


def test_processes_of_several_machines_have_the_gpus_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert shares_of_gpus(1) == [[0, 1], [2, 3], [0, 1], [2, 3]]


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_module.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="runtime.num_processes=3: there are only 2 GPUs here"):
        shares_of_gpus(3)


def test_another_number_than_launched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="runtime.num_processes=3: the launcher has started 2 processes"):
        shares_of_gpus(3)
