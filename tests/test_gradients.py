"""The gradient of a batch in halves: that of the whole batch, the same to the bit with a helper, without, or when it dies."""

import copy
import errno
import logging
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select

import pytest
import torch
from alive import ends_within, is_alive
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lf_experiments.config.schema import Architecture, Recipe
from lf_experiments.models.families import join_operations
from lf_experiments.models.fingerprints import weight_fingerprint
from lf_experiments.models.nano import gradients, growth
from lf_experiments.models.nano.gradients import Board, Gradients, Helper, deterministic, helped

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
def started(model: PreTrainedModel) -> Iterator[Gradients]:
    """Gradients with a helper that has started."""
    with deterministic(), helped(model, WINDOWS, TOKENS, has_helper=True) as computed:
        assert select([computed.helper.answers], [], [], 120)[0]
        yield computed


@pytest.mark.parametrize("model", list(Architecture), indirect=True)
@pytest.mark.parametrize("windows", [1, 2, 3, WINDOWS])
def test_the_halves_add_up_to_the_gradient_and_the_loss_of_the_whole_batch(model, batch: Tensor, windows: int) -> None:
    whole = copy.deepcopy(model).double()
    loss = whole(input_ids=batch[:windows], labels=batch[:windows]).loss
    loss.backward()
    with helped(model, windows, TOKENS, has_helper=False) as computed:
        assert computed.compute(batch[:windows]) == pytest.approx(loss.item(), rel=1e-5)
    for found, expected in zip(gradient_of(model), gradient_of(whole), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", list(Architecture), indirect=True)
def test_a_helper_changes_no_bit_also_after_the_weights_have_changed(model, batch: Tensor, monkeypatch) -> None:
    alone, own = copy.deepcopy(model), []
    compute = Board.compute
    monkeypatch.setattr(Board, "compute", lambda board, one, half: own.append((one, half)) or compute(board, one, half))
    with started(model) as computed, helped(alone, WINDOWS, TOKENS, has_helper=False) as expected:
        for ids in (batch, batch.flip(0)):
            assert computed.compute(ids) == expected.compute(ids)
            for found, of_one in zip(gradient_of(model), gradient_of(alone), strict=True):
                assert torch.equal(found, of_one)
            for each in (model, alone):
                torch.optim.SGD(each.parameters(), lr=0.1).step()
    assert own == 2 * [(model, 0), (alone, 0), (alone, 1)]


def killed(helper: Helper) -> bool:
    helper.process.kill()
    helper.process.wait()
    return True


@pytest.mark.parametrize("when", ["waiting", "asked"])
def test_a_helper_that_dies_is_done_without(model, batch: Tensor, when: str, monkeypatch, caplog) -> None:
    alone, ask = copy.deepcopy(model), Helper.ask
    deaths = {"waiting": lambda helper: killed(helper) and ask(helper), "asked": lambda helper: ask(helper) and killed(helper)}
    monkeypatch.setattr(Helper, "ask", deaths[when])
    monkeypatch.setattr(Helper, "DONE", "never said\n")  # a helper may be done before it is killed
    with started(model) as computed, helped(alone, WINDOWS, TOKENS, has_helper=False) as expected:
        for ids in (batch, batch.flip(0)):
            assert computed.compute(ids) == expected.compute(ids)
            for found, of_one in zip(gradient_of(model), gradient_of(alone), strict=True):
                assert torch.equal(found, of_one)
        assert computed.helper is None
    assert "the helper of the growth ended with exit code -9: going on without" in caplog.text


def test_nobody_waits_for_a_helper_that_has_not_started_and_it_does_not_outlive_the_block(model, batch: Tensor) -> None:
    with helped(model, WINDOWS, TOKENS, has_helper=True) as computed:
        helper = computed.helper
        computed.compute(batch)
        assert helper.process.poll() is None
    assert helper.process.poll() is not None


def test_a_helper_that_cannot_start_is_done_without(model, batch: Tensor, monkeypatch, caplog) -> None:
    monkeypatch.setattr(gradients.sys, "executable", "/bin/false")
    with helped(model, WINDOWS, TOKENS, has_helper=True) as computed:
        computed.helper.process.wait()
        computed.compute(batch)
        assert computed.helper is None
    assert "ended with exit code 1: going on without" in caplog.text


@pytest.mark.parametrize("place", [(Path, "write_bytes"), (gradients.subprocess, "Popen")])
def test_without_room_for_the_board_or_a_process_a_model_grows_in_one(model, batch: Tensor, place, monkeypatch, caplog) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "weights")

    monkeypatch.setattr(*place, full)
    with helped(model, WINDOWS, TOKENS, has_helper=True) as computed:
        assert computed.helper is None
        assert computed.compute(batch) > 0
    assert "growing in one process: [Errno 28] No space left on device" in caplog.text


def test_what_a_helper_prints_before_its_answer_is_no_answer() -> None:
    helper = Helper.__new__(Helper)
    command = ["printf", "a library says hello\\ndone\\n"]
    helper.process = gradients.subprocess.Popen(command, stdout=gradients.subprocess.PIPE, text=True)
    helper.answers = helper.process.stdout
    assert helper.wait()
    with pytest.raises(EOFError):
        helper.wait()
    helper.process.communicate()


def test_a_board_in_a_folder_is_seen_by_all_who_open_it(tmp_path: Path) -> None:
    one, other = (Board.of(2, 3, 5, tmp_path) for _ in range(2))
    one.gradients_HW[1, 4] = 7
    assert other.gradients_HW[1, 4] == 7
    assert other.gradients_HW.sum() == 7


def test_a_weight_without_a_gradient_is_not_mistaken_for_the_next(batch: Tensor) -> None:
    config = LlamaConfig(vocab_size=320, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config)
    model.model.norm.weight.requires_grad_(False)
    with helped(model, WINDOWS, TOKENS, has_helper=False) as computed, pytest.raises(RuntimeError):
        computed.compute(batch)


FREEING = """
import ctypes, sys
from pathlib import Path
import torch
from lf_experiments.models.nano.gradients import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
blocks = [libc.malloc(2**20) for _ in range(24)]
for block in blocks:
    libc.memset(block, 1, 2**20)
before = pages()
for block in reversed(blocks):
    libc.free(block)
print(before - pages())
"""
"""Takes 24 MiB, lets them go, and says how many pages the process gives back to the system."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other habits")
@pytest.mark.parametrize("is_kept", [False, True])
def test_what_a_step_frees_is_kept_for_the_next(is_kept: bool) -> None:
    command = [sys.executable, "-c", FREEING, "kept" if is_kept else "not"]
    given_back = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    pages = 24 * 2**20 / resource.getpagesize()
    assert given_back < 0.1 * pages if is_kept else given_back > 0.9 * pages


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
with helped(model, {WINDOWS}, {TOKENS}, has_helper=True) as gradients:
    print(gradients.helper.process.pid, flush=True)
    time.sleep(600)
"""
    leader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    helper = int(leader.stdout.readline())
    assert is_alive(helper)
    leader.kill()
    leader.communicate()
    assert ends_within(helper, seconds=120)
