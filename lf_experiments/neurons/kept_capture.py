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
from safetensors import safe_open
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
    together, once, and kept: processes that need the same wait for the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {language: folder / f"{fingerprint(sentences)}.safetensors" for language, sentences in texts.items()}
    with locked(folder / ".lock"):
        kept = {language: read_capture(path) for language, path in paths.items()}
        missing = [language for language, capture in kept.items() if capture is None]
        if missing:
            remove_half_written(folder)
            captured = make([text for language in missing for text in texts[language]])
            parts = split(captured, [len(texts[language]) for language in missing])
            for language, part in zip(missing, parts, strict=True):
                write_capture(paths[language], part)
                kept[language] = part
            if len(missing) == len(texts):
                return captured
    return joined(list(kept.values()))


def split(captured: Captured, sizes: list[int]) -> list[Captured]:
    """A capture in parts of so many sentences each; the parts share its memory."""
    parts = zip(captured.h_LSN.split(sizes, dim=1), captured.tokens_S.split(sizes), strict=True)
    return [Captured(h_LSN, tokens_S, captured.num_parameters) for h_LSN, tokens_S in parts]


def joined(parts: list[Captured]) -> Captured:
    """Captures of the same model, one after the other."""
    h_LSN = torch.cat([part.h_LSN for part in parts], dim=1)
    return Captured(h_LSN, torch.cat([part.tokens_S for part in parts]), parts[0].num_parameters)


def write_capture(path: Path, captured: Captured) -> None:
    """Keep a capture, with its digest beside it; the digest comes first, so that no capture is ever without."""
    with written_whole(path) as temporary:
        tensors = {"h_LSN": captured.h_LSN.contiguous(), "tokens_S": captured.tokens_S.contiguous()}
        save_file(tensors, temporary, metadata={"num_parameters": str(captured.num_parameters)})
        write_text(digest_path(path), file_digest(temporary).hex())


def read_capture(path: Path) -> Captured | None:
    """The capture kept at `path`, or None where there is none or where it is not what was written."""
    try:
        return checked_capture(path) if path.is_file() else None
    except FileNotFoundError:  # another process has just made room
        return None


def checked_capture(path: Path) -> Captured | None:
    """The capture in a file, or None where its digest says that it is damaged."""
    if not digest_path(path).is_file() or file_digest(path).hex() != digest_path(path).read_text(encoding="utf-8"):
        log.warning("The kept capture %s is damaged: capturing again", path)
        return None
    os.utime(path)
    with safe_open(path, framework="pt") as file:
        parameters = int(file.metadata()["num_parameters"])
        return Captured(file.get_tensor("h_LSN"), file.get_tensor("tokens_S").to(torch.int64), parameters)


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
