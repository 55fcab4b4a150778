"""Kept captures: each language once, checked when read, bounded in size, and safe between processes."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from conftest import Mount
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.neurons import kept_capture
from lf_experiments.neurons.activations import Activations, Kept, Layers, RowsInMemory
from lf_experiments.neurons.capture import NewRows
from lf_experiments.neurons.capture_file import CaptureFile, LayersOfFiles
from lf_experiments.storage import evict

TEXTS = {"en": ["one", "three"], "fr": ["un", "trois"], "hi": ["ek", "teen"]}


@pytest.fixture(autouse=True, params=["in memory", "read when asked for"])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what is kept is held in memory."""
    if request.param != "in memory":
        monkeypatch.setattr(kept_capture, "HELD_BYTES", 0)
    return request.param == "in memory"


FACTORS = {"mean": 1.0, "rate": 0.5}
"""What tells the pools apart."""


def parallel(texts: dict[str, list[str]]) -> ParallelSentences:
    return ParallelSentences(["1", "3"][: len(next(iter(texts.values())))], texts)


def captures(sentences: ParallelSentences, pools: Sequence[str], new_rows: NewRows = RowsInMemory) -> dict[str, Activations]:
    """Two layers, of three neurons and of two, told from text and pool alone."""
    texts = [text for of_language in sentences.texts.values() for text in of_language]
    h_SN = torch.tensor([[len(text), ord(text[0]), ord(text[-1])] for text in texts], dtype=torch.float32)
    languages = [code for code, of_language in sentences.texts.items() for _ in of_language]
    meanings = sentences.meanings * len(sentences.texts)
    tokens_S = torch.tensor([len(text) for text in texts])
    rows = {pool: new_rows(Kept(pool, [3, 2], 42), len(texts)) for pool in pools}
    for pool, of_pool in rows.items():
        for row in reversed(range(len(texts))):  # whatever the batches
            of_pool.write([row], FACTORS[pool] * torch.cat([h_SN[row], -h_SN[row, :2]])[None])
    return {pool: Activations(rows[pool].layers(), languages, meanings, tokens_S, 42, pool) for pool in pools}


Make = Callable[[list[str]], None]


def made(_: list[str]) -> None:
    """Makes what is asked for and remembers nothing."""


def kept_captures(folder: Path, texts: dict[str, list[str]], make: Make, pools: Sequence[str] = ("mean",)) -> list[Activations]:
    """Those of `folder`; `make` is told the texts that are captured, before they are."""

    def capture(sentences: ParallelSentences, pools: Sequence[str], new_rows: NewRows) -> dict[str, Activations]:
        make([text for of_language in sentences.texts.values() for text in of_language])
        return captures(sentences, pools, new_rows)

    found = kept_capture.kept_captures(folder, parallel(texts), pools, capture)
    assert list(found) == list(pools)
    return list(found.values())


class Maker:
    """Makes captures and remembers of what."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> None:
        self.calls.append(texts)


def same(found: list[Activations], texts: dict[str, list[str]], pools: Sequence[str] = ("mean",)) -> bool:
    expected = captures(parallel(texts), pools).values()
    return all(map(equal, found, expected)) and len(found) == len(expected)


def equal(one: Activations, other: Activations) -> bool:
    facts = [(each.languages, each.meanings, each.num_parameters, each.pool, each.widths) for each in (one, other)]
    tensors = zip([*one.h_L_SN, one.tokens_S], [*other.h_L_SN, other.tokens_S], strict=True)
    return facts[0] == facts[1] and all(torch.equal(*pair) and pair[0].dtype == pair[1].dtype for pair in tensors)


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    make = Maker()
    assert same(kept_captures(tmp_path, TEXTS, make), TEXTS)
    assert same(kept_captures(tmp_path, TEXTS, make), TEXTS)
    assert make.calls == [["one", "three", "un", "trois", "ek", "teen"]]


def test_languages_are_kept_apart_so_that_a_subset_and_another_order_need_no_model(tmp_path: Path) -> None:
    kept_captures(tmp_path, TEXTS, made)
    fewer = {"hi": TEXTS["hi"], "en": TEXTS["en"]}
    assert same(kept_captures(tmp_path, fewer, lambda _: pytest.fail("made again")), fewer)


def test_only_the_languages_that_are_missing_are_made(tmp_path: Path) -> None:
    make = Maker()
    kept_captures(tmp_path, {"en": TEXTS["en"]}, make)
    changed = {"fr": ["une", "trois"], "en": TEXTS["en"], "hi": TEXTS["hi"]}
    assert same(kept_captures(tmp_path, changed, make), changed)
    assert make.calls == [["one", "three"], ["une", "trois", "ek", "teen"]]


def test_pools_are_kept_apart_and_only_those_that_are_missing_are_made(tmp_path: Path) -> None:
    make, pools = Maker(), ("mean", "rate")
    kept_captures(tmp_path, TEXTS, make)
    assert same(kept_captures(tmp_path, {"hi": TEXTS["hi"]}, make, pools), {"hi": TEXTS["hi"]}, pools)
    assert same(kept_captures(tmp_path, TEXTS, make, pools), TEXTS, pools)
    assert make.calls[1:] == [["ek", "teen"], ["one", "three", "un", "trois"]]
    assert same(kept_captures(tmp_path, TEXTS, lambda _: pytest.fail("made again"), ("rate",)), TEXTS, ("rate",))
    assert len(list(tmp_path.glob("*.safetensors"))) == len(TEXTS) * len(pools)


def test_further_pools_are_kept_where_something_is_captured_and_only_there(tmp_path: Path) -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def make(sentences: ParallelSentences, pools: Sequence[str], new_rows: NewRows) -> dict[str, Activations]:
        asked.append((list(sentences.texts), list(pools)))
        return captures(sentences, pools, new_rows)

    def ask(texts: dict[str, list[str]], pools: list[str]) -> None:
        found = kept_capture.kept_captures(tmp_path, parallel(texts), pools, make, ["mean", "rate"])
        assert list(found) == pools and same(list(found.values()), texts, pools)

    ask({"en": TEXTS["en"]}, ["mean"])
    ask(TEXTS, ["mean"])
    ask(TEXTS, ["rate"])
    assert asked == [(["en"], ["mean", "rate"]), (["fr", "hi"], ["mean", "rate"])]
    (tmp_path / "without").mkdir()
    kept_captures(tmp_path / "without", TEXTS, made)
    assert same(kept_captures(tmp_path / "without", TEXTS, lambda _: pytest.fail("made again")), TEXTS)


def test_the_layers_of_a_kept_capture_have_their_own_widths(tmp_path: Path) -> None:
    kept_captures(tmp_path, TEXTS, made)
    (found,) = kept_captures(tmp_path, TEXTS, lambda _: pytest.fail("made again"))
    assert found.widths == [3, 2] and found.num_neurons == 5


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
    assert make.calls == [["one", "three", "un", "trois", "ek", "teen"]]
    assert "is damaged: capturing again" in caplog.text
    caplog.clear()
    assert same(kept_captures(tmp_path, TEXTS, lambda _: pytest.fail("made again")), TEXTS)
    assert not caplog.messages


def test_large_captures_are_read_layer_by_layer(tmp_path: Path, held: bool) -> None:
    (found,) = kept_captures(tmp_path, TEXTS, made)
    assert isinstance(found.h_L_SN, Layers) is not held
    h_SK = torch.cat(list(found.h_L_SN), dim=1)
    assert torch.equal(found.h_L_SN[-1], h_SK[:, 3:]) and len(found.h_L_SN) == 2
    assert all(torch.equal(found.sentence(row), h_SK[row]) for row in range(6))
    with pytest.raises(IndexError):
        found.h_L_SN[2]


def test_a_capture_is_a_file_of_safetensors(tmp_path: Path) -> None:
    (found,) = kept_captures(tmp_path, {"fr": TEXTS["fr"]}, made)
    (path,) = tmp_path.glob("*.safetensors")
    content = load_file(path)
    assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in content.items()} == {
        "tokens_S": (torch.int64, (2,)),
        "h_0_SN": (torch.float32, (2, 3)),
        "h_1_SN": (torch.float32, (2, 2)),
    }
    assert torch.equal(content["h_1_SN"], found.h_L_SN[1]) and torch.equal(content["tokens_S"], found.tokens_S)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"pool": "mean", "num_parameters": "42", "experts": "[]"}


def test_a_file_that_safetensors_wrote_is_none_of_ours(tmp_path: Path) -> None:
    save_file({"tokens_S": torch.ones(2, dtype=torch.int64), "h_0_SN": torch.ones(2, 3)}, tmp_path / "a", {"pool": "mean"})
    save_file({"weight": torch.ones(2)}, tmp_path / "b")
    (tmp_path / "c").write_bytes(b"{}")
    for name in "abc":
        with pytest.raises(ValueError, match=f"{name} holds no activations"):
            CaptureFile.open(tmp_path / name)


def test_a_file_that_was_cut_off_while_it_is_read_is_an_error(tmp_path: Path, held: bool) -> None:
    if not held:
        (found,) = kept_captures(tmp_path, {"en": TEXTS["en"]}, made)
        (path,) = tmp_path.glob("*.safetensors")
        os.truncate(path, path.stat().st_size - 1)
        assert found.h_L_SN[0].shape == (2, 3)
        with pytest.raises(OSError, match="has become shorter than it was"):
            found.h_L_SN[1]


def test_a_layer_may_have_nothing_to_keep(tmp_path: Path) -> None:
    file = CaptureFile.create(tmp_path / "routing", Kept("routing", [0, 3], 42), 2)
    for row in range(2):
        file.write_sentence(row, torch.arange(3.0) + row)
    file.write_tokens(torch.tensor([5, 6]))
    layers = LayersOfFiles([CaptureFile.open(tmp_path / "routing")])
    assert [tuple(h_SN.shape) for h_SN in layers] == [(2, 0), (2, 3)]
    assert layers.sentence(1).tolist() == [1, 2, 3]


def test_a_system_that_reserves_no_room_writes_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_captures(tmp_path / "one", TEXTS, made)
    monkeypatch.delattr(os, "posix_fallocate")
    assert same(kept_captures(tmp_path / "other", TEXTS, made), TEXTS)
    one, other = (sorted((tmp_path / name).glob("*.safetensors")) for name in ("one", "other"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_languages_of_equal_texts_share_a_file(tmp_path: Path) -> None:
    twins = {"en": TEXTS["en"], "fr": TEXTS["fr"], "hi": TEXTS["en"]}
    assert same(kept_captures(tmp_path, twins, made), twins)
    assert same(kept_captures(tmp_path, twins, lambda _: pytest.fail("made again")), twins)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_a_failed_capture_keeps_nothing(tmp_path: Path) -> None:
    def fail(_: list[str]) -> None:
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        kept_captures(tmp_path, TEXTS, fail)
    assert not list(tmp_path.glob("*.safetensors"))
    assert same(kept_captures(tmp_path, TEXTS, made), TEXTS)


def make_slowly(folder: Path, log: Path) -> None:
    def make(_: list[str]) -> None:
        time.sleep(0.3)
        with log.open("a") as file:
            file.write("made\n")

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
    evict(tmp_path, max_gib=3 * size / 2**30)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    evict(tmp_path, max_gib=2 * size / 2**30)
    assert {path.parent.name for path in tmp_path.rglob("*.safetensors")} == {"a", "c"}
    assert {path.parent.name for path in tmp_path.rglob("*.sha256")} == {"a", "c"}
    evict(tmp_path, max_gib=0)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_cells_and_captures_share_the_room(tmp_path: Path) -> None:
    """What was not used for longest goes first, of whatever kind and folder; what is not kept between runs stays."""
    names = ["cells/old.jsonl", "captures/middle.safetensors", "cells/new.jsonl", "cells/notes.txt"]
    for age, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1000))
        os.utime(tmp_path / name, (age, age))
    for room, left in ((3000, names), (2000, names[1:]), (1000, names[2:]), (0, names[3:])):
        evict(tmp_path / "captures", tmp_path / "cells", max_gib=room / 2**30)
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")} == set(left)


def test_what_goes_while_room_is_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may remove a damaged file at any moment: before its use is known, and before it is its turn."""
    for name in ("gone", "going", "last"):
        (tmp_path / f"{name}.jsonl").write_bytes(bytes(1000))
    rglob, unlink = Path.rglob, Path.unlink

    def listed(folder: Path, pattern: str) -> list[Path]:
        found = sorted(rglob(folder, pattern))
        unlink(tmp_path / "gone.jsonl")
        return found

    def raced(path: Path, missing_ok: bool = False) -> None:
        if path.name == "going.jsonl":
            unlink(path)
        unlink(path, missing_ok)

    os.utime(tmp_path / "going.jsonl", (0, 0))
    monkeypatch.setattr(Path, "rglob", listed)
    monkeypatch.setattr(Path, "unlink", raced)
    evict(tmp_path, max_gib=1000 / 2**30)
    assert [path.name for path in tmp_path.iterdir()] == ["last.jsonl"]


def test_a_capture_that_another_process_removes_is_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, made)
    opened = kept_capture.opened_capture

    def then_removed(path: Path, sentences: int):
        file = opened(path, sentences)
        evict(tmp_path, max_gib=0)
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
        evict(tmp_path, max_gib=0)

    monkeypatch.setattr(os, "utime", evicted)
    make = Maker()
    found = kept_captures(tmp_path / "captures", {"en": TEXTS["en"]}, make)
    assert same(found, {"en": TEXTS["en"]})
    assert make.calls == [TEXTS["en"]]


# Caches that cannot be written ----------------------------------------------------------------------------------------------


def test_a_cache_that_cannot_be_written_is_gone_without(
    tmp_path: Path, read_only_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    for folder, problem in ((read_only_folder / "captures", "Read-only file system"), (tmp_path / "file", "File exists")):
        caplog.clear()
        assert same(kept_captures(folder, TEXTS, made), TEXTS)
        assert caplog.messages == [f"captures cannot be kept in {folder} ({problem}): going on without (cache.dir)"]
        evict(folder, max_gib=0)


def test_a_read_only_cache_is_read(tmp_path: Path, mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "cache" / "captures"
    kept_captures(folder, TEXTS, made)
    mount(tmp_path / "cache", "--bind", str(tmp_path / "cache"), "-o", "ro")
    assert same(kept_captures(folder, TEXTS, lambda _: pytest.fail("made again")), TEXTS)
    assert not caplog.messages
    evict(tmp_path / "cache", max_gib=0)
    assert len(list(folder.glob("*.safetensors"))) == len(TEXTS)
    make = Maker()
    more = {**TEXTS, "vi": ["một", "ba"]}
    assert same(kept_captures(folder, more, make), more)
    assert make.calls == [[text for texts in more.values() for text in texts]]


def test_a_full_cache_costs_no_capture(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (small_disk / "filling").write_bytes(b"\0" * (60 << 10))
    assert same(kept_captures(small_disk / "captures", TEXTS, made), TEXTS)
    assert caplog.messages == [
        f"captures cannot be kept in {small_disk / 'captures'} (No space left on device): going on without (cache.dir)"
    ]
