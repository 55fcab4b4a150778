"""Results on their way from an accelerator to the host, so that nobody waits for a batch before the next is launched."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Arriving(NamedTuple):
    """A tensor that is being copied to the host."""

    host: Tensor
    copied: torch.cuda.Event | None
    """When it is there; None where it is."""

    def tensor(self) -> Tensor:
        """The tensor, after waiting for it and for nothing that was launched later."""
        if self.copied:
            self.copied.synchronize()
        return self.host


def sent(result: Tensor) -> Arriving:
    """Start to copy a result to the host; from a GPU nobody waits for it here."""
    if not result.is_cuda:
        return Arriving(result.cpu(), None)
    stream = way_to_host(result.device)
    stream.wait_stream(torch.cuda.current_stream(result.device))
    host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
    with torch.cuda.stream(stream):
        host.copy_(result, non_blocking=True)
        copied = stream.record_event()
    result.record_stream(stream)  # its memory is not given to others before it is copied
    return Arriving(host, copied)


@lru_cache
def way_to_host(device: torch.device) -> torch.cuda.Stream:
    """The stream of a GPU on which results leave it while it computes the next ones."""
    return torch.cuda.Stream(device)
