"""Captures kept between runs: one file per language, named by what it was made of, checked when it is read.

Shapes are written as suffixes: S sentences, L layers, N neurons of a layer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lf_experiments.storage import file_digest, fingerprint, locked, remove_half_written, write_text, written_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    """What a capture leaves: enough for every measure, without the model."""

    h_LSN: Tensor
    """Eq. (5), float32."""
    tokens_S: Tensor
    """Tokens of each sentence, int64."""
    num_parameters: int
    """Parameters of the model that was read with."""


def kept_captures(folder: Path, texts: dict[str, list[str]], make: Callable[[list[str]], Captured]) -> Captured:
    """The capture of the texts of every language, one after the other, from what is kept in `folder` and `make` for the rest.

    `folder` stands for a model and the way it reads. Languages that are not there, or whose file is damaged, are captured
    together, once, and kept: processes that need the same wait for the first. Beside the result no more than one language is
    held in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {language: folder / f"{fingerprint(sentences)}.safetensors" for language, sentences in texts.items()}
    with locked(folder / ".lock"):
        kept = {language: opened_capture(path) for language, path in paths.items()}
        missing = [language for language, file in kept.items() if file is None]
        if missing:
            remove_half_written(folder)
            captured = make([text for language in missing for text in texts[language]])
            sizes = [len(texts[language]) for language in missing]
            for language, part in zip(missing, split(captured, sizes), strict=True):
                write_capture(paths[language], part)
            if len(missing) == len(texts):
                return captured
            del captured, part
            kept |= {language: safe_open(paths[language], framework="pt") for language in missing}
        return joined(list(kept.values()))


def split(captured: Captured, sizes: list[int]) -> list[Captured]:
    """A capture in parts of so many sentences each; the parts share its memory."""
    parts = zip(captured.h_LSN.split(sizes, dim=1), captured.tokens_S.split(sizes), strict=True)
    return [Captured(h_LSN, tokens_S, captured.num_parameters) for h_LSN, tokens_S in parts]


def joined(files: list[safe_open]) -> Captured:
    """Kept captures of the same model, one after the other; each file is closed, and its memory free, once it is read."""
    num_parameters = int(files[0].metadata()["num_parameters"])
    tokens_S = torch.cat([file.get_tensor("tokens_S") for file in files])
    layers, _, neurons = files[0].get_slice("h_LSN").get_shape()
    h_LSN = torch.empty(layers, len(tokens_S), neurons)
    row = 0
    for opened in files:
        with opened as file:
            part_LSN = file.get_tensor("h_LSN")
        h_LSN[:, row : row + part_LSN.shape[1]] = part_LSN
        row += part_LSN.shape[1]
        del part_LSN
    return Captured(h_LSN, tokens_S, num_parameters)


def write_capture(path: Path, captured: Captured) -> None:
    """Keep a capture, with its digest beside it; the digest comes first, so that no capture is ever without."""
    with written_whole(path) as temporary:
        tensors = {"h_LSN": captured.h_LSN.contiguous(), "tokens_S": captured.tokens_S.contiguous()}
        save_file(tensors, temporary, metadata={"num_parameters": str(captured.num_parameters)})
        write_text(digest_path(path), file_digest(temporary).hex())


def opened_capture(path: Path) -> safe_open | None:
    """The capture kept at `path`, open for reading; None where there is none or where it is not what was written.

    Once open it can be read to the end, also where another process makes room meanwhile.
    """
    try:
        file = safe_open(path, framework="pt")
        os.utime(path)
        undamaged = digest_path(path).is_file() and file_digest(path).hex() == digest_path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except SafetensorError:
        undamaged = False
    if not undamaged:
        log.warning("The kept capture %s is damaged: capturing again", path)
        return None
    return file


def digest_path(path: Path) -> Path:
    """Where the SHA-256 of a capture is."""
    return path.with_suffix(".sha256")


def evict(folder: Path, max_gib: float) -> None:
    """Remove the captures below `folder` that were not used for longest until the others take at most `max_gib`.

    One process at a time does so. A process that wants a capture in that moment captures again.
    """
    with locked(folder.with_name(f".{folder.name}.lock")):
        captures = sorted(folder.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime)
        sizes = {path: path.stat().st_size for path in captures}
        total = sum(sizes.values())
        for path in captures:
            if total <= max_gib * 2**30:
                return
            path.unlink()
            digest_path(path).unlink(missing_ok=True)
            total -= sizes[path]
            log.info("removed the capture %s: the cache holds at most %g GiB (cache.max_gib)", path.name, max_gib)
