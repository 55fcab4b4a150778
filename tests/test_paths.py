"""Errors of paths: the key of the configuration that a path comes from, what is wrong, and the remedy."""

import errno
import os
from pathlib import Path

import pytest

from lf_experiments.errors import InputError
from lf_experiments.paths import PROBLEMS, explained_path_errors, key_of_path, refuse_unwritable

VALUES = {
    "model": {"name": "data", "path": "/models/mine", "offload_folder": "/work/runs/1/offload", "tokenizer": None},
    "dataset": {"root": "data", "sentences": 3},
    "text": {"root": "/work/data"},
    "cache": {"dir": "~/.cache/lf"},
    "hydra": {"run": {"dir": "/work/runs/1"}},
}


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/work/runs/1/similarity.npy", "hydra.run.dir"),
        ("/work/runs/1", "hydra.run.dir"),
        ("/work/runs/1/offload/weight.dat", "model.offload_folder"),
        ("/work/data/en.txt", "dataset.root"),  # of two keys with one folder the first
        ("data/en.txt", "dataset.root"),
        ("/home/me/.cache/lf/captures/.lock", "cache.dir"),
        ("/models/mine/model.safetensors", "model.path"),
        ("/work/runs/10/run.json", None),
        ("/usr/lib/python/numpy.py", None),
    ],
)
def test_a_path_comes_from_the_key_whose_folder_is_nearest(path: str, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os, "getcwd", lambda: "/work")
    assert key_of_path(Path(path), VALUES) == key


@pytest.mark.parametrize("number", PROBLEMS)
def test_an_error_with_a_path_says_the_key_and_the_remedy(number: int) -> None:
    with pytest.raises(InputError) as found, explained_path_errors(VALUES):
        raise OSError(number, os.strerror(number), "/work/runs/1/run.json")
    key, value, problem, remedy = found.value.parts
    assert (key, value, problem) == ("hydra.run.dir", "/work/runs/1/run.json", PROBLEMS[number][0])
    assert "hydra.run.dir=FOLDER" in remedy


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EACCES, "Permission denied", "/usr/lib/x"),
        OSError(errno.ENOENT, "No such file", "/work/runs/1/run.json"),
        OSError(errno.EACCES, "Permission denied", 3),
        RuntimeError("a fault of ours"),
    ],
)
def test_errors_that_no_key_can_mend_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as found, explained_path_errors(VALUES):
        raise error
    assert found.value is error


def test_a_user_without_a_home_is_told_which_key_needs_one() -> None:
    said = r"cache.dir=~/.cache/lf: there is no home folder: HOME is not set\nRemedy: set HOME, or give cache.dir=FOLDER"
    with pytest.raises(InputError, match=said), explained_path_errors(VALUES):
        raise RuntimeError("Could not determine home directory.")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse_unwritable("hydra.run.dir", tmp_path / "new")
    with pytest.raises(InputError, match=r"hydra.run.dir=.*: nothing can be written there: File exists\nRemedy: give another"):
        refuse_unwritable("hydra.run.dir", tmp_path / "file")
