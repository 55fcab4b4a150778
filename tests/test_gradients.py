"""The gradient of a batch in parts: that of the whole batch, the same to the bit however many helpers there are or die."""

import copy
import errno
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lf_experiments.config.schema import Architecture, Recipe
from lf_experiments.models.families import join_operations
from lf_experiments.models.fingerprints import weight_fingerprint
from lf_experiments.models.nano import gradients, growth
from lf_experiments.models.nano.gradients import PARTS, Board, Gradients, Helper, deterministic, helped

WINDOWS, TOKENS = 10, 16


@pytest.fixture
def model(request: pytest.FixtureRequest, tokenizer) -> PreTrainedModel:
    """A BLOOM, or the architecture that a test is given for it."""
    recipe = Recipe(getattr(request, "param", Architecture.bloom), hidden_size=16, layers=2, heads=2, vocabulary=320)
    torch.manual_seed(0)
    model = growth.untrained_model(recipe, tokenizer)
    join_operations(model)
    return model


@pytest.fixture
def batch() -> Tensor:
    return torch.randint(3, 300, (WINDOWS, TOKENS), generator=torch.Generator().manual_seed(1))


def gradient_of(model: PreTrainedModel) -> list[Tensor]:
    return [weight.grad.clone() for weight in model.parameters()]


@contextmanager
def started(model: PreTrainedModel, helpers: int) -> Iterator[Gradients]:
    """Gradients whose helpers have all started."""
    with deterministic(), helped(model, WINDOWS, TOKENS, helpers) as computed:
        until = time.monotonic() + 120
        while not all(helper.can_be_asked() for helper in computed.helpers) and time.monotonic() < until:
            time.sleep(0.05)
        assert [helper.is_ready for helper in computed.helpers] == [True] * helpers
        yield computed


@pytest.mark.parametrize("model", list(Architecture), indirect=True)
@pytest.mark.parametrize("windows", [1, 3, WINDOWS])
def test_the_parts_add_up_to_the_gradient_and_the_loss_of_the_whole_batch(model, batch: Tensor, windows: int) -> None:
    whole = copy.deepcopy(model).double()
    loss = whole(input_ids=batch[:windows], labels=batch[:windows]).loss
    loss.backward()
    with helped(model, windows, TOKENS, helpers=0) as computed:
        assert computed.compute(batch[:windows]) == pytest.approx(loss.item(), rel=1e-5)
    for found, expected in zip(gradient_of(model), gradient_of(whole), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", list(Architecture), indirect=True)
def test_helpers_change_no_bit_also_after_the_weights_have_changed(model, batch: Tensor) -> None:
    alone = copy.deepcopy(model)
    with started(model, helpers=1) as computed, helped(alone, WINDOWS, TOKENS, helpers=0) as expected:
        for ids in (batch, batch.flip(0)):
            own, asked = computed.distribute()
            assert sorted([*own, *(part for parts, _ in asked.values() for part in parts)]) == list(range(PARTS))
            assert len(asked) == 1
            for helper, (_, answer) in asked.items():
                helper.wait_for(answer)
            assert computed.compute(ids) == expected.compute(ids)
            for found, of_one in zip(gradient_of(model), gradient_of(alone), strict=True):
                assert torch.equal(found, of_one)
            for each in (model, alone):
                torch.optim.SGD(each.parameters(), lr=0.1).step()


def kill_waiting(computed: Gradients) -> None:
    """A helper dies between two batches."""
    computed.helpers[0].process.kill()
    computed.helpers[0].process.wait()


def kill_asked(computed: Gradients) -> None:
    """A helper dies while it computes."""
    ask = Helper.ask

    def ask_and_kill(helper: Helper, parts: list[int]) -> str:
        helper.process.kill()
        helper.process.wait()
        with pytest.raises(OSError):  # noqa: PT011  # the pipe is closed
            ask(helper, parts)
        return "0"

    computed.helpers[0].ask = lambda parts: ask_and_kill(computed.helpers[0], parts)


@pytest.mark.parametrize("kill", [kill_waiting, kill_asked])
def test_a_helper_that_dies_is_done_without(model, batch: Tensor, kill: Callable[[Gradients], None], caplog) -> None:
    alone = copy.deepcopy(model)
    with started(model, 1) as computed, helped(alone, WINDOWS, TOKENS, helpers=0) as expected:
        kill(computed)
        for ids in (batch, batch.flip(0)):
            assert computed.compute(ids) == expected.compute(ids)
            for found, of_one in zip(gradient_of(model), gradient_of(alone), strict=True):
                assert torch.equal(found, of_one)
        assert not computed.helpers
    assert "a helper of the growth ended with exit code -9: going on without it" in caplog.text


def test_nobody_waits_for_a_helper_that_has_not_started_and_none_outlives_the_block(model, batch: Tensor) -> None:
    with helped(model, WINDOWS, TOKENS, helpers=1) as computed:
        (helper,) = computed.helpers
        helper.can_be_asked = lambda: False
        assert computed.distribute() == (list(range(PARTS)), {})
        computed.compute(batch)
        assert helper.process.poll() is None
    assert helper.process.poll() is not None


def test_a_helper_that_cannot_start_is_done_without(model, batch: Tensor, monkeypatch, caplog) -> None:
    monkeypatch.setattr(gradients.sys, "executable", "/bin/false")
    with helped(model, WINDOWS, TOKENS, helpers=1) as computed:
        computed.helpers[0].process.wait()
        computed.compute(batch)
        assert not computed.helpers
    assert "ended with exit code 1: going on without it" in caplog.text


def test_without_room_for_the_board_a_model_grows_in_one_process(model, batch: Tensor, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "weights")

    monkeypatch.setattr(Path, "write_bytes", full)
    with helped(model, WINDOWS, TOKENS, helpers=2) as computed:
        assert not computed.helpers
        assert computed.compute(batch) > 0
    assert "growing in one process: [Errno 28] No space left on device" in caplog.text


def test_what_a_helper_prints_before_its_answer_is_no_answer() -> None:
    helper = Helper.__new__(Helper)
    command = ["printf", "a library says hello\\n0 2\\n"]
    helper.process = gradients.subprocess.Popen(command, stdout=gradients.subprocess.PIPE, text=True)
    helper.answers = helper.process.stdout
    helper.wait_for("0 2")
    with pytest.raises(EOFError):
        helper.wait_for("0 2")
    helper.process.communicate()


def test_a_board_in_a_folder_is_seen_by_all_who_open_it(tmp_path: Path) -> None:
    one, other = (Board.of(2, 3, 5, tmp_path) for _ in range(2))
    one.gradients_PW[1, 4] = 7
    assert other.gradients_PW[1, 4] == 7
    assert other.gradients_PW.sum() == 7


def test_a_weight_without_a_gradient_is_not_mistaken_for_the_next(batch: Tensor) -> None:
    config = LlamaConfig(vocab_size=320, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config)
    model.model.norm.weight.requires_grad_(False)
    with helped(model, WINDOWS, TOKENS, helpers=0) as computed, pytest.raises(RuntimeError):
        computed.compute(batch)


@pytest.mark.slow
def test_a_model_is_the_same_grown_by_one_process_or_by_two(tmp_path: Path, caplog) -> None:
    steps = [0, growth.STEPS_WORTH_HELP]
    recipe = Recipe(Architecture.bloom, hidden_size=16, layers=2, heads=2, vocabulary=320, steps=steps)
    threads = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        try:
            growth.grow(recipe, tmp_path / str(number), "tiny")
        finally:
            torch.set_num_threads(threads)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    one, two = (weight_fingerprint(tmp_path / number / f"step{steps[-1]}") for number in ("1", "2"))
    assert one == two


@pytest.mark.slow
def test_no_helper_outlives_a_process_that_is_killed(model, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    code = f"""
import time
from transformers import AutoConfig, AutoModelForCausalLM
from lf_experiments.models.nano.gradients import helped
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained({str(tmp_path)!r}))
with helped(model, {WINDOWS}, {TOKENS}, helpers=1) as gradients:
    print(*[helper.process.pid for helper in gradients.helpers], flush=True)
    time.sleep(600)
"""
    leader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    helpers = [Path("/proc", number) for number in leader.stdout.readline().split()]
    assert len([path for path in helpers if path.is_dir()]) == 1
    leader.kill()
    leader.communicate()
    until = time.monotonic() + 120
    while any(is_running(path) for path in helpers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(is_running(path) for path in helpers)


def is_running(process: Path) -> bool:
    """Whether a process, by its folder in /proc, is there and has not ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
