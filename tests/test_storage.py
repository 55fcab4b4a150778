"""Storage: whole or not at all, made once, named by content."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from lf_experiments.storage import (
    files_fingerprint,
    fingerprint,
    made_once,
    remove_half_written,
    write_json,
    write_text,
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


def test_what_a_killed_writer_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "figures" / "table.csv", "whole")
    half = {}
    with written_whole(tmp_path / "figures" / "table.csv") as temporary:
        temporary.write_text("half")
        half[temporary] = temporary.read_text()
    for path, text in half.items():  # as if the process had been killed inside the block
        path.write_text(text)
    remove_half_written(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["table.csv"]
