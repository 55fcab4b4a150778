"""Kept captures: each language once, checked when read, bounded in size, and safe between processes."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest
import torch

from lf_experiments.neurons import kept_capture
from lf_experiments.neurons.kept_capture import Captured, evict, kept_captures

TEXTS = {"en": ["one", "three"], "fr": ["un"], "hi": ["ek", "do", "teen"]}


def made(texts: list[str]) -> Captured:
    """Two layers of three neurons, told from the text alone."""
    h_SN = torch.tensor([[len(text), ord(text[0]), ord(text[-1])] for text in texts], dtype=torch.float32)
    return Captured(torch.stack([h_SN, -h_SN]), torch.tensor([len(text) for text in texts]), 42)


class Maker:
    """Makes captures and remembers of what."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> Captured:
        self.calls.append(texts)
        return made(texts)


def same(found: Captured, texts: dict[str, list[str]]) -> bool:
    expected = made([text for sentences in texts.values() for text in sentences])
    equal = torch.equal(found.h_LSN, expected.h_LSN) and torch.equal(found.tokens_S, expected.tokens_S)
    return equal and found.num_parameters == expected.num_parameters


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    make = Maker()
    assert same(kept_captures(tmp_path, TEXTS, make), TEXTS)
    assert same(kept_captures(tmp_path, TEXTS, make), TEXTS)
    assert make.calls == [["one", "three", "un", "ek", "do", "teen"]]


def test_languages_are_kept_apart_so_that_a_subset_and_another_order_need_no_model(tmp_path: Path) -> None:
    kept_captures(tmp_path, TEXTS, made)
    fewer = {"hi": TEXTS["hi"], "en": TEXTS["en"]}
    assert same(kept_captures(tmp_path, fewer, lambda _: pytest.fail("made again")), fewer)


def test_only_the_languages_that_are_missing_are_made(tmp_path: Path) -> None:
    make = Maker()
    kept_captures(tmp_path, {"en": TEXTS["en"]}, make)
    changed = {"fr": ["une"], "en": TEXTS["en"], "hi": TEXTS["hi"]}
    assert same(kept_captures(tmp_path, changed, make), changed)
    assert make.calls == [["one", "three"], ["une", "ek", "do", "teen"]]


@pytest.mark.parametrize("damage", ["flipped bit", "cut off", "no digest", "empty"])
def test_a_damaged_capture_is_noticed_and_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    kept_captures(tmp_path, {"en": TEXTS["en"]}, made)
    (path,) = tmp_path.glob("*.safetensors")
    content = bytearray(path.read_bytes())
    if damage == "flipped bit":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "no digest":
        path.with_suffix(".sha256").unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut off" else b"")
    make = Maker()
    assert same(kept_captures(tmp_path, TEXTS, make), TEXTS)
    assert make.calls == [["one", "three", "un", "ek", "do", "teen"]]
    assert "is damaged: capturing again" in caplog.text
    caplog.clear()
    assert same(kept_captures(tmp_path, TEXTS, lambda _: pytest.fail("made again")), TEXTS)
    assert not caplog.messages


def test_a_failed_capture_keeps_nothing(tmp_path: Path) -> None:
    def fail(_: list[str]) -> Captured:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        kept_captures(tmp_path, TEXTS, fail)
    assert not list(tmp_path.glob("*.safetensors"))
    assert same(kept_captures(tmp_path, TEXTS, made), TEXTS)


def make_slowly(folder: Path, log: Path) -> None:
    def make(texts: list[str]) -> Captured:
        time.sleep(0.3)
        with log.open("a") as file:
            file.write("made\n")
        return made(texts)

    torch.set_num_threads(1)
    assert same(kept_captures(folder, TEXTS, make), TEXTS)


def test_processes_that_need_the_same_capture_make_it_once(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("fork").Process(target=make_slowly, args=(tmp_path / "captures", tmp_path / "log"))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_the_captures_not_used_for_longest_go_first(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        kept_captures(tmp_path / name, {"en": TEXTS["en"]}, made)
        (path,) = (tmp_path / name).glob("*.safetensors")
        os.utime(path, (1000 - age, 1000 - age))  # c was written last and used longest ago
    size = path.stat().st_size
    kept_captures(tmp_path / "c", {"en": TEXTS["en"]}, lambda _: pytest.fail("made again"))  # used now
    evict(tmp_path, 3 * size / 2**30)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    evict(tmp_path, 2 * size / 2**30)
    assert {path.parent.name for path in tmp_path.rglob("*.safetensors")} == {"a", "c"}
    assert {path.parent.name for path in tmp_path.rglob("*.sha256")} == {"a", "c"}
    evict(tmp_path, 0)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_capture_that_another_process_removes_is_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, made)
    opened = kept_capture.opened_capture

    def then_removed(path: Path):
        file = opened(path)
        evict(tmp_path, 0)
        return file

    monkeypatch.setattr(kept_capture, "opened_capture", then_removed)
    found = kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, lambda _: pytest.fail("made again"))
    assert same(found, {"en": TEXTS["en"]})


def test_a_capture_that_another_process_removes_while_it_is_checked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, made)
    utime = os.utime

    def evicted(path: Path) -> None:
        utime(path)
        evict(tmp_path, 0)

    monkeypatch.setattr(os, "utime", evicted)
    make = Maker()
    found = kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, make)
    assert same(found, {"en": TEXTS["en"]})
    assert make.calls == [TEXTS["en"]]
