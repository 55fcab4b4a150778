"""Where results come from: the command, the versions, the commit of this package, the memory it took."""

from __future__ import annotations

import re
import resource
import shlex
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "tokenizers", "accelerate", "hydra-core", "numpy", "pandas", "lf_experiments")


def provenance(config: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """The entries of `run.json` that say how a run was started, with what, and when."""
    return {
        "command": shlex.join(["python", "-m", "lf_experiments", *overrides]),
        "overrides": overrides,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "config": config,
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in LIBRARIES}},
        "git_commit": git_commit(),
    }


def peak_memory_bytes() -> int:
    """The largest resident memory of this process so far, in bytes.

    Read from /proc where there is one: `getrusage` may report the memory of the process that started this one.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return 1024 * int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def git_commit() -> str | None:
    """The commit of the source tree this package runs from, followed by `-dirty` where files were changed since.

    None for an installed package, also where it is installed inside somebody else's repository.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None
