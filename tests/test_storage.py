"""Storage: whole or not at all, made once, named by content."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import SafetensorError

from lf_experiments.storage import (
    DigestStore,
    digests,
    file_digest,
    files,
    files_fingerprint,
    fingerprint,
    locked,
    locked_if_possible,
    made_once,
    remove_half_written,
    write_json,
    write_text,
    writing_problem,
    written_whole,
)


def make_slowly(folder: Path, log: Path) -> None:
    with made_once(folder) as partial:
        if partial:
            time.sleep(0.3)
            (partial / "content").write_text("whole")
            with log.open("a") as file:
                file.write("made\n")


def make_and_hang(folder: Path, begun: Path) -> None:
    with made_once(folder) as partial:
        (partial / "content").write_text("half")
        begun.touch()
        time.sleep(60)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with written_whole(path) as temporary:
        temporary.write_text("a")
        assert not path.exists()
        assert temporary.suffix == ".csv"
    assert path.read_text() == "a"
    assert [other.name for other in path.parent.iterdir()] == ["table.csv"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(OSError, match="disk"), written_whole(path) as temporary:
        temporary.write_text("half")
        raise OSError("no space left on the disk")
    assert path.read_text() == "old"
    assert [other.name for other in tmp_path.iterdir()] == ["table.csv"]


def test_json_is_readable_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"名": [1.5, None]})
    assert "名" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"名": [1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_processes_that_need_the_same_folder_make_it_once(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path / "folder", tmp_path / "log"))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "log").read_text() == "made\n"
    assert (tmp_path / "folder" / "content").read_text() == "whole"


def test_a_folder_whose_maker_was_killed_is_made_again(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=make_and_hang, args=(tmp_path / "folder", tmp_path / "begun"))
    process.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "folder").exists()
    with made_once(tmp_path / "folder") as partial:
        assert list(partial.iterdir()) == []
        (partial / "content").write_text("whole")
    assert (tmp_path / "folder" / "content").read_text() == "whole"


def test_a_folder_whose_maker_failed_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power"), made_once(tmp_path / "folder"):
        raise RuntimeError("power cut")
    assert not (tmp_path / "folder").exists()


def test_fingerprints_name_content_and_not_its_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


def test_file_fingerprints_name_content_and_not_names(tmp_path: Path) -> None:
    for name, content in (("a", b"x" * 3_000_000), ("b", b"x" * 3_000_000), ("c", b"x" * 2_999_999 + b"y")):
        (tmp_path / name).write_bytes(content)
    assert files_fingerprint([tmp_path / "a"]) == files_fingerprint([tmp_path / "b"])
    assert files_fingerprint([tmp_path / "a"]) != files_fingerprint([tmp_path / "c"])
    assert files_fingerprint([tmp_path / "a", tmp_path / "c"]) != files_fingerprint([tmp_path / "c", tmp_path / "a"])


# What killed processes have left ------------------------------------------------------------------------------------------


def killed_process() -> int:
    """The number of a process that has ended."""
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return process.pid


def left_by(process: int, path: Path, host: str = files.HOST) -> Path:
    """The temporary file of `path` that a process would have left."""
    left = path.with_name(f".{path.stem}.{host}.{process}.part{path.suffix}")
    left.write_text("half")
    return left


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "table.csv", "whole")
    for name in ("table.csv", "a.b.parquet", "no_suffix"):
        left_by(killed_process(), tmp_path / name)
    remove_half_written(tmp_path, tmp_path / "missing")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_temporary_file_is_named_as_the_cleaning_expects(tmp_path: Path) -> None:
    with written_whole(tmp_path / "table.csv") as temporary:
        temporary.write_text("half")
        assert files.TEMPORARY.fullmatch(temporary.name)["host"] == files.HOST
        assert files.TEMPORARY.fullmatch(temporary.name)["process"] == str(os.getpid())


@pytest.mark.parametrize("name", [".thesis.partial", ".figure.part2.tex", ".download.part", ".a.1.part.csv", "x.host.1.part"])
def test_files_of_others_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    remove_half_written(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_what_a_living_process_writes_is_left_alone_and_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "other run").mkdir()
    living = left_by(os.getppid(), tmp_path / "table.csv")
    below = left_by(killed_process(), tmp_path / "other run" / "table.csv")
    remove_half_written(tmp_path)
    assert living.exists()
    assert below.exists()


def test_what_another_machine_has_written_is_removed_once_it_is_old(tmp_path: Path) -> None:
    new, old = (left_by(1, tmp_path / name, host="node7") for name in ("new.csv", "old.csv"))
    os.utime(old, (0, 0))
    remove_half_written(tmp_path)
    assert (new.exists(), old.exists()) == (True, False)


# Disks that take no more ---------------------------------------------------------------------------------------------------


def test_what_replaces_a_file_is_on_the_disk_before_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(files.os, "fsync", lambda number: flushed.append(str(Path(f"/proc/self/fd/{number}").readlink())))
    with written_whole(tmp_path / "table.csv") as temporary:
        temporary.write_text("whole")
        assert flushed == []
    assert flushed == [str(temporary), str(tmp_path)]


@pytest.mark.parametrize(
    ("raised", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), errno.EDQUOT),
        (OSError("11664 requested and 9184 written"), errno.ENOSPC),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), errno.EFBIG),
        (Exception("Disk quota exceeded (os error 122)"), errno.EDQUOT),
    ],
)
def test_a_disk_that_takes_no_more_is_one_error_with_the_path(tmp_path: Path, raised: Exception, number: int) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(OSError) as error, written_whole(path) as temporary:  # noqa: PT011 the number is checked
        temporary.write_text("half")
        raise raised
    assert (error.value.errno, error.value.filename) == (number, str(path))
    assert error.value.__cause__ is raised
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raised", [ValueError("not JSON compliant"), OSError(errno.ENOENT, "No such file", "/data/en.txt")])
def test_other_errors_of_a_writer_are_its_own(tmp_path: Path, raised: Exception) -> None:
    with pytest.raises(type(raised)) as error, written_whole(tmp_path / "table.csv"):
        raise raised
    assert error.value is raised


WRITERS = {
    "text": "storage.write_text(folder / 'a.txt', 'x' * 100_000)",
    "numpy": "with storage.written_whole(folder / 'a.npy') as path: numpy.save(path, numpy.zeros(100_000))",
    "safetensors": "with storage.written_whole(folder / 'a.safetensors') as path: save_file({'x': torch.zeros(100_000)}, path)",
    "parquet": "with storage.written_whole(folder / 'a.parquet') as path: pandas.DataFrame({'x': noise}).to_parquet(path)",
    "folder": "with storage.made_once(folder / 'model') as new: save_file({'x': torch.zeros(100_000)}, new / 'a.safetensors')",
}
WRITE = """
import resource, signal, sys
from pathlib import Path
import numpy, pandas, torch
from safetensors.torch import save_file
from lf_experiments import storage
folder, noise = Path(sys.argv[1]), numpy.random.default_rng(0).random(50_000)
if "limited" in sys.argv:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    exec(sys.argv[2])
except OSError as error:
    print(error.errno, error.filename)
"""


def refused(folder: Path, writer: str, *arguments: str) -> list[str]:
    """What a writer in a process of its own is refused with: the number of the error, and the path."""
    command = [sys.executable, "-c", WRITE, str(folder), WRITERS[writer], *arguments]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout.split()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_may_not_grow_so_large(tmp_path: Path, writer: str) -> None:
    number, path = refused(tmp_path, writer, "limited")
    assert int(number) in (errno.EFBIG, errno.ENOSPC)  # NumPy does not tell them apart
    assert Path(path).parent == tmp_path
    assert not [left for left in tmp_path.iterdir() if ".part." in left.name]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_is_full(small_disk: Path, writer: str) -> None:
    number, path = refused(small_disk, writer)
    assert (int(number), Path(path).parent) == (errno.ENOSPC, small_disk)
    assert not [left for left in small_disk.iterdir() if ".part." in left.name]


def test_a_folder_that_cannot_be_written(read_only_folder: Path) -> None:
    assert writing_problem(read_only_folder) == os.strerror(errno.EROFS)
    assert writing_problem(read_only_folder / "new") == os.strerror(errno.EROFS)
    with pytest.raises(OSError) as error:  # noqa: PT011 the number is checked
        write_text(read_only_folder / "table.csv", "whole")
    assert (error.value.errno, Path(error.value.filename).parent) == (errno.EROFS, read_only_folder)


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path: Path) -> None:
    assert writing_problem(tmp_path / "new") is None
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    assert writing_problem(tmp_path / "file") == os.strerror(errno.EEXIST)


def test_a_folder_that_is_there_may_be_read_only(read_only_folder: Path) -> None:
    with made_once(read_only_folder) as partial:
        assert partial is None


# Locks --------------------------------------------------------------------------------------------------------------------


def hold(path: Path, held: Path, seconds: float) -> None:
    with locked(path):
        held.touch()
        time.sleep(seconds)


def test_waiting_for_another_process_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path / ".lock", tmp_path / "held", 1))
    process.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with caplog.at_level("INFO", logger="lf_experiments"), locked(tmp_path / ".lock"):
        assert caplog.messages == [f"waiting for another process that uses {tmp_path}"]
    process.join()
    with caplog.at_level("INFO", logger="lf_experiments"), locked(tmp_path / ".lock"):
        assert len(caplog.messages) == 1


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", missing)
    with locked(tmp_path / ".lock"):
        marker = max(tmp_path.iterdir())  # its existence is the lock
    with locked(tmp_path / ".lock"):
        pass
    assert not marker.exists()


def test_a_lock_that_cannot_be_had_is_an_answer(read_only_folder: Path, tmp_path: Path) -> None:
    with locked_if_possible(read_only_folder / ".lock") as problem:
        assert problem == os.strerror(errno.EROFS)
    with locked_if_possible(tmp_path / "new" / ".lock") as problem:
        assert problem is None


# Digests ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read for their digest; every file counts as large, and as settled."""
    names: list[str] = []

    def read(path: Path) -> bytes:
        names.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(digests, "file_digest", read)
    monkeypatch.setattr(digests, "LARGE_BYTES", 1)
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    return names


def test_a_file_that_did_not_change_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    (tmp_path / "link").symlink_to(path)
    for name in ("weights", "link", "weights"):
        assert DigestStore(tmp_path / "digests").digest(tmp_path / name) == file_digest(path)
    assert reads == ["weights"]


@pytest.mark.parametrize("change", ["content", "size", "other file", "time stamp set back"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, reads: list[str], change: str) -> None:
    path, store = tmp_path / "weights", DigestStore(tmp_path / "digests")
    path.write_bytes(b"weights")
    before, times = store.digest(path), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    time.sleep(0.02)  # the clock of the file system
    if change == "other file":
        (tmp_path / "other").write_bytes(b"WEIGHTS")
        (tmp_path / "other").replace(path)
    else:
        path.write_bytes(b"more weights" if change == "size" else b"WEIGHTS")
    if change == "time stamp set back":
        os.utime(path, ns=times)
    assert store.digest(path) == file_digest(path) != before
    assert reads == ["weights"] * 2


def test_a_file_that_may_still_change_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", 60 * 10**9)
    path, store = tmp_path / "weights", DigestStore(tmp_path / "digests")
    path.write_bytes(b"weights")
    assert store.digest(path) == store.digest(path) == file_digest(path)
    assert reads == ["weights"] * 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "short"}', "\xff"])
def test_a_damaged_memory_is_not_believed(tmp_path: Path, reads: list[str], content: str) -> None:
    path, store = tmp_path / "weights", DigestStore(tmp_path / "digests")
    path.write_bytes(b"weights")
    store.digest(path)
    (kept,) = (tmp_path / "digests").iterdir()
    kept.write_text(content, encoding="latin-1")
    assert store.digest(path) == file_digest(path)
    assert reads == ["weights"] * 2


def test_digests_need_no_place_to_be_kept(tmp_path: Path, reads: list[str], read_only_folder: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    store = DigestStore(read_only_folder / "digests")
    assert store.digest(tmp_path / "weights") == file_digest(tmp_path / "weights")
    assert reads == ["weights"]
