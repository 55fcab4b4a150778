"""Several processes: the results of one, errors and warnings of any, no one left waiting; and `accelerate launch`."""

import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path

import pandas as pd
import pytest
import torch
from alive import ends_within, is_alive
from recorded import captured

from lf_experiments.config.schema import Dtype, ModelConfig
from lf_experiments.errors import InputError
from lf_experiments.evaluations.cells import KeptCells
from lf_experiments.evaluations.perplexity import measure_perplexity, perplexity_table
from lf_experiments.evaluations.windows import Window
from lf_experiments.models import team as team_module
from lf_experiments.models.load import Reader
from lf_experiments.models.team import Team, assemble_team, shares_of_gpus
from lf_experiments.neurons.interventions import Intervention, Treated, nothing

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
    team = assemble_team(folder, ModelConfig(name="test", path=str(folder), dtype=Dtype.float32), size)
    try:
        yield team
    finally:
        team.end()


def every_other(reader: Reader) -> Intervention:
    """Half of the neurons of every layer off, as views of one tensor."""
    return Intervention("en", list(torch.arange(reader.widths[0]).expand(len(reader.widths), -1) % 2 == 0))


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
    reader = assemble_team(folder, ModelConfig(name="test", path=str(folder)), 1)
    assert not isinstance(reader, Team)
    assert dict(reader.share(whose, [0] * 3)) == dict.fromkeys(range(3), os.getpid())


def test_a_capture_is_that_of_one_process(team: Team, alone: Reader, sentences: list[str]) -> None:
    torch.testing.assert_close(captured(team, sentences, 300), captured(alone, sentences, 300), rtol=0, atol=1e-6)
    assert captured(team, sentences[:1], 300).shape == (len(alone.sites), 1, alone.widths[0])


def test_perplexities_are_those_of_one_process(team: Team, alone: Reader) -> None:
    regions = [nothing(alone.widths), every_other(alone)]
    windows = {"en": [Window(list(range(start, start + 12)), 30) for start in range(5)]}
    together, apart = (
        perplexity_table(measure_perplexity(reader, regions, windows, 24, KeptCells())) for reader in (team, alone)
    )
    pd.testing.assert_frame_equal(together, apart, check_exact=False, rtol=1e-6)
    assert abs(together["increase_percent"]).iloc[1] > 0.1


@pytest.mark.parametrize("position", [0, 1], ids=["the leader", "a worker"])
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


def test_warnings_of_a_worker_are_those_of_the_run(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    list(team.share(warn_of_seven, [1, 7]))
    assert caplog.messages == ["process 1: a seven"]
    list(team.share(warn_of_seven, [1, 1]))
    assert caplog.messages == ["process 1: a seven"]


def test_the_death_of_a_worker_ends_the_work(model_folders: dict[str, Path]) -> None:
    with a_team(model_folders["bloom"], 3) as team, pytest.raises(RuntimeError, match="process 2 died with exit code -9"):
        list(team.share(die_of_seven, [1, 1, 7]))
    assert not any(worker.process.is_alive() for worker in team.workers)


def die_at_once(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    """A seven ends the process; any other number takes a quarter of a second."""
    for position, number in enumerate(numbers):
        if number == 7:
            os._exit(3)
        time.sleep(0.25)
        yield position, number


def test_a_dead_worker_is_noticed_while_the_leader_reads(model_folders: dict[str, Path]) -> None:
    with a_team(model_folders["bloom"]) as team:
        started, found = time.monotonic(), []
        with pytest.raises(RuntimeError, match="process 1 died with exit code 3"):
            found.extend(team.share(die_at_once, [1, 7] * 100))  # 25 s of the leader's own
        assert time.monotonic() - started < 10
        with pytest.raises(RuntimeError, match="process 1 died with exit code 3"):
            list(team.share(squares, [1, 2]))


def slowly(_: Reader, numbers: list[int]) -> Iterator[tuple[int, float]]:
    """When each number was read."""
    for position, number in enumerate(numbers):
        time.sleep(number)
        yield position, time.time()


def test_results_come_as_they_are_found(team: Team) -> None:
    arrived = {position: time.time() for position, _ in team.share(slowly, [0.3, 0.1] * 6)}
    read = dict(team.share(slowly, [0.3, 0.1] * 6))
    assert len(read) == 12
    assert arrived[1] < arrived[10]  # the worker's first before the leader's last


def test_a_busy_leader_keeps_no_worker_waiting(team: Team) -> None:
    """Results larger than a connection holds are sent while the worker goes on."""
    found = dict(team.share(megabytes, [0] * 16))
    leader, worker = (found[position][0] for position in (14, 15))
    assert worker < leader - 0.5  # the worker's last was there long before the leader's


def megabytes(_: Reader, numbers: list[int]) -> Iterator[tuple[int, tuple[float, bytes]]]:
    """When each item was read, and a million bytes; in the leader each takes a fifth of a second."""
    for position in range(len(numbers)):
        time.sleep(0.01 if parent_process() else 0.2)
        yield position, (time.time(), bytes(10**6))


def test_an_error_of_the_leader_stops_the_workers(team: Team) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="nobody wants it"):
        list(team.share(refuse_seven_or_be_slow, [7, 1] * 100))
    assert time.monotonic() - started < 5  # not the 20 s that the worker would have read
    assert dict(team.share(squares, [5, 6])) == {0: 25, 1: 36}


def refuse_seven_or_be_slow(_: Reader, numbers: list[int]) -> Iterator[tuple[int, int]]:
    for position, number in enumerate(numbers):
        if number == 7:
            raise InputError("numbers", 7, "nobody wants it", "leave it out")
        time.sleep(0.2)
        yield position, number


def test_a_consumer_that_has_enough_leaves_the_team_free(team: Team) -> None:
    results = team.share(squares, list(range(20)))
    next(results)
    results.close()
    assert dict(team.share(squares, [5, 6])) == {0: 25, 1: 36}


def test_an_intervention_is_open_in_every_process_and_only_while_it_reads(team: Team, alone: Reader) -> None:
    off, full = every_other(alone), nothing(alone.widths)
    tokens, under = [3, 4, 3, 4, 5], [off, off, full, full, off]
    expected = {}
    for position, (token, intervention) in enumerate(zip(tokens, under, strict=True)):
        with alone.intervened(intervention), torch.no_grad():
            expected[position] = alone.model(torch.tensor([[token]])).logits[0, 0]
    found = dict(team.share(logits, list(map(Treated, tokens, under))))
    for position in expected:
        torch.testing.assert_close(found[position], expected[position])
    assert (found[0] - found[2]).abs().max() > 0.1
    without = dict(team.share(logits, [Treated(3, full)] * 2))
    assert all(torch.equal(without[position], dict(logits(alone, [Treated(3, full)]))[0]) for position in (0, 1))


@torch.no_grad()
def logits(reader: Reader, rows: list[Treated]) -> Iterator[tuple[int, torch.Tensor]]:
    """Of tokens, all in one batch."""
    with reader.intervened(*[under for _, under in rows]):
        yield from enumerate(reader.model(torch.tensor([[token] for token, _ in rows])).logits[:, 0])


def test_a_mask_is_sent_without_what_it_is_a_view_of() -> None:
    views = Intervention("en", list(torch.zeros(80, 1000, dtype=torch.bool)), value_L_N=list(torch.zeros(80, 1000)))
    sent = pickle.dumps([Treated(number, views) for number in range(10)])
    assert len(sent) < 80 * 1000 * 5 + 80 * 2000 < len(pickle.dumps(vars(views)))
    received = pickle.loads(sent)
    assert all(torch.equal(*pair) for pair in zip(received[3].under.where_L_N, views.where_L_N, strict=True))
    assert {id(under) for _, under in received} == {id(received[0].under)}
    assert pickle.loads(pickle.dumps(nothing([2, 3]))).value_L_N is None


LEADER = '''
import sys, time
from pathlib import Path
from lf_experiments.config.schema import ModelConfig
from lf_experiments.models.team import assemble_team

def sleep(reader, items):
    """One item that takes a minute: a batch of a large model."""
    time.sleep(60)
    yield 0, 0

if __name__ == "__main__":
    team = assemble_team(Path(sys.argv[1]), ModelConfig(name="test", path=sys.argv[1]), 2)
    print(team.workers[0].process.pid, flush=True)
    list(team.share(sleep, [0, 0]))
'''


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_leader_in_the_middle_of_a_batch(
    model_folders: dict[str, Path], tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "leader.py").write_text(LEADER)
    root = Path(__file__).parents[1]
    leader = subprocess.Popen(
        [sys.executable, tmp_path / "leader.py", model_folders["bloom"]],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    worker = int(leader.stdout.readline())
    time.sleep(1)  # it has its order
    assert is_alive(worker)
    leader.send_signal(how)
    leader.wait(10)
    assert leader.returncode == -how
    assert ends_within(worker, seconds=5)


def test_a_worker_ends_when_its_connection_closes(model_folders: dict[str, Path]) -> None:
    with a_team(model_folders["bloom"]) as team:
        process = team.workers[0].process
        assert process.is_alive()
    assert process.exitcode == 0


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
