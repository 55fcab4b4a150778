"""Folder names: of a sweep, which is that of its command, and of each job, which is what tells it from the others."""

from __future__ import annotations

import re

from lf_experiments.storage import fingerprint

SWEEP_NAME = "LF_EXPERIMENTS_SWEEP"
"""The environment variable with the folder name of the sweep; jobs in other processes inherit it."""

LONGEST_SWEEP, LONGEST_JOB = 60, 100
"""Bytes of a readable name; file systems take 255."""

MODE_FLAGS = ("-m", "--multirun", "-r", "--run")
SWEPT_BY_HYDRA = ("hydra.sweeper.", "hydra/sweeper", "hydra.searchpath")
"""Keys of Hydra that decide which jobs there are."""


def sweep_name(arguments: list[str]) -> str:
    """The folder name of a command: the same whenever it is typed again, so that it resumes, and different for any other.

    The keys of Hydra that only say how and where jobs run do not count.
    """
    telling = [argument for argument in arguments if argument not in MODE_FLAGS and not is_about_hydra(argument)]
    readable = shortened(cleaned("_".join(telling).replace("experiment=", "")), LONGEST_SWEEP).strip("_-") or "sweep"
    return f"{readable}-{fingerprint(telling)[:8]}"


def is_about_hydra(argument: str) -> bool:
    """Whether an argument sets a key of Hydra that does not decide which jobs there are."""
    return argument.startswith(("hydra.", "hydra/")) and not argument.startswith(SWEPT_BY_HYDRA)


def job_names(jobs: list[list[str]]) -> list[str]:
    """A folder name for the overrides of each job, all different: those overrides that not all jobs share."""
    values = [{key_of(override): override for override in job} for job in jobs]
    telling = telling_keys(values)
    return [file_name(",".join(sorted(job[key] for key in telling if key in job)) or "job") for job in values]


def key_of(override: str) -> str:
    """`seed` of the override `++seed=2`."""
    return override.partition("=")[0].lstrip("+~")


def telling_keys(jobs: list[dict[str, str]]) -> list[str]:
    """The fewest keys, first ones first, whose values give every job a name of its own and none an empty one.

    Keys with the same value in all jobs come last: they name a job that has no others.
    """
    keys = dict.fromkeys(key for job in jobs for key in job)
    chosen: list[str] = []
    for key in sorted(keys, key=lambda key: len({job.get(key) for job in jobs}) == 1):
        if len(names(jobs, [*chosen, key])) > len(names(jobs, chosen)):
            chosen.append(key)
    return chosen


def names(jobs: list[dict[str, str]], keys: list[str]) -> set[tuple[tuple[str, str], ...]]:
    """The different names that the keys give to jobs, and the empty one."""
    return {(), *(tuple((key, job[key]) for key in keys if key in job) for job in jobs)}


def file_name(text: str) -> str:
    """A text as the name of one file or folder: itself, or cleaned, shortened, and with a fingerprint of the whole text."""
    readable = shortened(cleaned(text), LONGEST_JOB)
    return text if readable == text else f"{readable}-{fingerprint(text)[:8]}"


def cleaned(text: str) -> str:
    """Letters, digits and `.,=+-` as they are; anything else, slashes above all, as underscores."""
    return re.sub(r"[^\w.,=+-]+", "_", text)


def shortened(text: str, longest: int) -> str:
    """The beginning of a text, `longest` bytes in UTF-8 at most."""
    return text.encode()[:longest].decode(errors="ignore")
