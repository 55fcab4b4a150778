"""Whether a process that another one started is still there, for tests that end the one and look for the other."""

import time
from pathlib import Path


def is_alive(process: int) -> bool:
    """Whether a process runs, and is not only waiting to be reaped."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends_within(process: int, seconds: float) -> bool:
    """Whether a process ends in that time."""
    until = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(process)
