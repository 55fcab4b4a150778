"""The gradient of a batch, computed in parts by this process and by helpers, the same to the bit however many there are.

A sum of float32 depends on its order, so a batch always has the same parts, each read on one thread, and their gradients are
always added in the same order; only who reads which part changes. Processes that meet once a step lose little beside busy
neighbours; threads that meet after every small operation mostly wait for each other.

Shapes are written as suffixes: P parts, B windows of a batch, b of a part, T tokens of a window, W weights of the model, one
after the other.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
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

PARTS = 2
"""Of a batch. Growing bloom-nano on one core took 28 s for 200 steps in one part, 30 s in two and 36 s in four."""


@dataclass(frozen=True)
class Board:
    """What the processes show each other."""

    ids_BT: Tensor
    weights_W: Tensor
    gradients_PW: Tensor
    losses_P: Tensor
    """Of each part, and its gradient, times its share of the batch."""

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
            tensor("gradients", PARTS, weights),
            tensor("losses", PARTS),
        )

    def compute(self, model: PreTrainedModel, part: int) -> None:
        """Read a part of the batch with the model, and write its loss and its gradient."""
        ids_bT = self.ids_BT.tensor_split(PARTS)[part]
        if not len(ids_bT):  # of a batch with fewer windows than parts
            return
        model.zero_grad()
        loss = model(input_ids=ids_bT, labels=ids_bT).loss * (len(ids_bT) / len(self.ids_BT))
        loss.backward()
        self.losses_P[part] = loss.detach()
        self.gradients_PW[part] = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


class Helper:
    """A process with a copy of the model, which computes the parts it is asked for."""

    READY = "ready"

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

    def can_be_asked(self) -> bool:
        """Whether it has started, which takes seconds that nobody waits for. Raises `EOFError` if it has died."""
        if not self.is_ready and select([self.answers], [], [], 0)[0]:
            self.wait_for(self.READY)
            self.is_ready = True
        return self.is_ready

    def ask(self, parts: Sequence[int]) -> str:
        """Have it compute some parts of the batch; returns what it will answer. Raises `OSError` if it has died."""
        request = " ".join(map(str, parts))
        self.requests.write(f"{request}\n")
        self.requests.flush()
        return request

    def wait_for(self, answer: str) -> None:
        """Wait until it says so. Raises `EOFError` if it has died."""
        while line := self.answers.readline():
            if line.rstrip() == answer:
                return
        raise EOFError

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        with suppress(OSError):  # what it was still to be told
            self.process.communicate()


class Gradients:
    """Computes the gradients of one model, batch by batch."""

    def __init__(self, model: PreTrainedModel, board: Board, helpers: list[Helper]) -> None:
        self.model = model
        self.board = board
        self.helpers = helpers

    def compute(self, ids_BT: Tensor) -> float:
        """Give every weight its gradient for a batch; returns the loss in nats per token."""
        self.board.ids_BT.copy_(ids_BT)
        self.board.weights_W.copy_(parameters_to_vector(self.model.parameters()))
        own, asked = self.distribute()
        for part in own:
            self.board.compute(self.model, part)
        for helper, (parts, answer) in asked.items():
            try:
                helper.wait_for(answer)
            except EOFError:
                self.go_on_without(helper)
                for part in parts:
                    self.board.compute(self.model, part)
        weights = list(self.model.parameters())
        gradients = self.board.gradients_PW.sum(dim=0).split([weight.numel() for weight in weights])
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.view_as(weight)
        return self.board.losses_P.sum().item()

    def distribute(self) -> tuple[Sequence[int], dict[Helper, tuple[Sequence[int], str]]]:
        """Ask the helpers that have started; returns the parts that are left to this process, and those of each helper."""
        asked: dict[Helper, tuple[Sequence[int], str]] = {}
        own = list(range(PARTS))
        ready = [helper for helper in self.helpers if self.is_there(helper)]
        for number, helper in enumerate(ready, start=1):
            parts = range(PARTS)[number :: len(ready) + 1]
            try:
                asked[helper] = parts, helper.ask(parts)
            except OSError:
                self.go_on_without(helper)
                continue
            own = [part for part in own if part not in parts]
        return own, asked

    def is_there(self, helper: Helper) -> bool:
        """Whether a helper has started and not died."""
        try:
            return helper.can_be_asked()
        except EOFError:
            self.go_on_without(helper)
            return False

    def go_on_without(self, helper: Helper) -> None:
        """Let go of a helper that has died: the gradients stay the same, and take longer."""
        helper.end()
        self.helpers = [other for other in self.helpers if other is not helper]
        log.warning("a helper of the growth ended with exit code %s: going on without it", helper.process.returncode)


@contextmanager
def helped(model: PreTrainedModel, windows: int, tokens: int, helpers: int) -> Iterator[Gradients]:
    """Gradients of a model for batches of so many windows, with so many helpers inside the block.

    There are no more of them than have something to do, and none where there is no room for the files they need.
    """
    size = sum(weight.numel() for weight in model.parameters())
    with ExitStack() as stack:
        board, started = Board.of(windows, tokens, size), []
        if helpers:
            try:
                folder = Path(stack.enter_context(TemporaryDirectory()))
                model.config.save_pretrained(folder)
                board = Board.of(windows, tokens, size, folder)
            except OSError as error:
                log.warning("growing in one process: %s", error)
            else:
                started = [Helper(folder, windows, tokens) for _ in range(min(helpers, PARTS - 1))]
        gradients = Gradients(model, board, started)
        for helper in started:
            stack.callback(helper.end)
        yield gradients


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
    """Compute the parts that standard input names, a line at a time, until it is closed; each answer is that line again."""
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    join_operations(model)
    weights = list(model.parameters())
    board = Board.of(windows, tokens, sum(weight.numel() for weight in weights), folder)
    print(Helper.READY, flush=True)
    for line in sys.stdin:
        given = board.weights_W.split([weight.numel() for weight in weights])
        with torch.no_grad():
            for weight, values in zip(weights, given, strict=True):
                weight.copy_(values.view_as(weight))
        for part in line.split():
            board.compute(model, int(part))
        print(line, end="", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        help_growing(Path(sys.argv[1]), *map(int, sys.argv[2:]))
