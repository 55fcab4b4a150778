"""The gradient of a batch, computed in halves by this process and a helper, the same to the bit with and without one.

A sum of float32 depends on its order, so a batch always has the same halves, each read on one thread, and their gradients are
added in the same order; only who reads the second half changes. Processes that meet once a step lose little beside busy
neighbours; threads that meet after every small operation mostly wait for each other.

Shapes are written as suffixes: H halves, B windows of a batch, b of a half, T tokens of a window, W weights of the model, one
after the other.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.utils.deterministic
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from lf_experiments.models.families import join_operations

log = logging.getLogger(__name__)

HALVES = 2
"""More parts would keep more cores busy: growing bloom-nano on one core takes 28 s for 200 steps in one part, 30 s in two, and
36 s in four."""


@dataclass(frozen=True)
class Board:
    """What the processes show each other."""

    ids_BT: Tensor
    weights_W: Tensor
    gradients_HW: Tensor
    losses_H: Tensor
    """Of each half, and its gradient, times its share of the batch."""

    @classmethod
    def of(cls, windows: int, tokens: int, weights: int, folder: Path | None = None) -> Board:
        """A board in memory, or in files of a folder, which all processes see. Raises `OSError` for a disk without room."""

        def tensor(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            if folder is None:
                return torch.zeros(shape, dtype=dtype)
            path, count = folder / name, torch.Size(shape).numel()
            if not path.exists():
                path.write_bytes(bytes(count * dtype.itemsize))  # takes its room now: a mapped file without any kills
            return torch.from_file(str(path), shared=True, size=count, dtype=dtype).view(shape)

        return cls(
            tensor("ids", windows, tokens, dtype=torch.int64),
            tensor("weights", weights),
            tensor("gradients", HALVES, weights),
            tensor("losses", HALVES),
        )

    def compute(self, model: PreTrainedModel, half: int) -> None:
        """Read half of the batch with the model, and write its loss and its gradient."""
        ids_bT = self.ids_BT.tensor_split(HALVES)[half]
        if not len(ids_bT):  # of a batch of one window
            return
        model.zero_grad()
        loss = model(input_ids=ids_bT, labels=ids_bT).loss * (len(ids_bT) / len(self.ids_BT))
        loss.backward()
        self.losses_H[half] = loss.detach()
        self.gradients_HW[half] = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


class Helper:
    """A process with a copy of the model, which computes the second half of a batch."""

    READY, REQUEST, DONE = "ready\n", "compute\n", "done\n"

    def __init__(self, folder: Path, windows: int, tokens: int) -> None:
        package = str(Path(__file__).parents[3])
        path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lf_experiments.models.nano.gradients", str(folder), str(windows), str(tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.process.stdin
        assert self.process.stdout
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.is_ready = False

    def ask(self) -> bool:
        """Have it compute; False while it starts, which takes seconds that nobody waits for. Raises `EOFError`, `OSError`."""
        if not self.is_ready and select([self.answers], [], [], 0)[0]:
            self.is_ready = self.wait_for(self.READY)
        if self.is_ready:
            self.requests.write(self.REQUEST)
            self.requests.flush()
        return self.is_ready

    def wait(self) -> bool:
        """Wait until it has computed. Raises `EOFError`."""
        return self.wait_for(self.DONE)

    def wait_for(self, answer: str) -> bool:
        """Wait until it says so, whatever else it says; True. Raises `EOFError` if it has died."""
        while line := self.answers.readline():
            if line == answer:
                return True
        raise EOFError

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        with suppress(OSError):  # what it was still to be told
            self.process.communicate()


class Gradients:
    """Computes the gradients of one model, batch by batch."""

    def __init__(self, model: PreTrainedModel, board: Board, helper: Helper | None = None) -> None:
        self.model = model
        self.board = board
        self.helper = helper

    def compute(self, ids_BT: Tensor) -> float:
        """Give every weight its gradient for a batch; returns the loss in nats per token."""
        self.board.ids_BT.copy_(ids_BT)
        self.board.weights_W.copy_(parameters_to_vector(self.model.parameters()))
        is_asked = self.helper_does(Helper.ask)
        self.board.compute(self.model, 0)
        if not (is_asked and self.helper_does(Helper.wait)):
            self.board.compute(self.model, 1)
        weights = list(self.model.parameters())
        gradients = self.board.gradients_HW.sum(dim=0).split([weight.numel() for weight in weights])
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.view_as(weight)
        return self.board.losses_H.sum().item()

    def helper_does(self, act: Callable[[Helper], bool]) -> bool:
        """Whether there is a helper that does it. One that has died is let go: gradients stay the same, and take longer."""
        if self.helper is None:
            return False
        try:
            return act(self.helper)
        except (EOFError, OSError):
            self.helper.end()
            log.warning("the helper of the growth ended with exit code %s: going on without", self.helper.process.returncode)
            self.helper = None
            return False


@contextmanager
def helped(model: PreTrainedModel, windows: int, tokens: int, has_helper: bool) -> Iterator[Gradients]:
    """Gradients of a model for batches of so many windows, inside the block with a helper or without.

    There is none where its files have no room, and where it cannot be started.
    """
    keep_freed_memory()
    size = sum(weight.numel() for weight in model.parameters())
    with ExitStack() as stack:
        gradients = Gradients(model, Board.of(windows, tokens, size))
        if has_helper:
            try:
                folder = Path(stack.enter_context(TemporaryDirectory()))
                model.config.save_pretrained(folder)
                board = Board.of(windows, tokens, size, folder)
                gradients = Gradients(model, board, Helper(folder, windows, tokens))
            except OSError as error:
                log.warning("growing in one process: %s", error)
        if gradients.helper:
            stack.callback(gradients.helper.end)
        yield gradients


def keep_freed_memory() -> None:
    """Have this process keep the memory that a step frees for the next one, as far as glibc's allocator does: up to twice the
    largest block of at most 32 MiB that was freed so far, so one is.

    What is given back is mapped anew, page by page, at every step: a tenth of the time, and more beside busy neighbours.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


@contextmanager
def deterministic() -> Iterator[None]:
    """The same weights for the same seed: one thread, deterministic algorithms, the caller's random numbers untouched.

    New tensors are not filled first, as torch does for those who read what was never written: a tenth of the time.
    """
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    filling = settings.fill_uninitialized_memory
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    settings.fill_uninitialized_memory = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        settings.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(algorithms)
        torch.set_num_threads(threads)


# In the process of a helper -------------------------------------------------------------------------------------------


@deterministic()
def help_growing(folder: Path, windows: int, tokens: int) -> None:
    """Compute the second half of a batch at every line of standard input, until it is closed, and say when it is done."""
    keep_freed_memory()
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    join_operations(model)
    weights = list(model.parameters())
    board = Board.of(windows, tokens, sum(weight.numel() for weight in weights), folder)
    print(Helper.READY, end="", flush=True)
    for _ in sys.stdin:
        given = board.weights_W.split([weight.numel() for weight in weights])
        with torch.no_grad():
            for weight, values in zip(weights, given, strict=True):
                weight.copy_(values.view_as(weight))
        board.compute(model, 1)
        print(Helper.DONE, end="", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        help_growing(Path(sys.argv[1]), *map(int, sys.argv[2:]))
