"""Captures kept between runs: one file per language and pool, named by what it was made of, checked when it is read.

Shapes are written as suffixes: S sentences, N neurons of a layer. `L_` marks a list over layers, which may differ in width.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from lf_experiments.corpora.parallel import ParallelSentences
from lf_experiments.neurons.activations import Activations, Kept, RowsInMemory
from lf_experiments.neurons.capture import NewRows
from lf_experiments.neurons.capture_file import BYTES, CaptureFile, LayersOfFiles, RowsOfFiles
from lf_experiments.storage import (
    digest_path,
    file_digest,
    fingerprint,
    locked_if_possible,
    mark_used,
    remove_half_written,
    write_text,
    written_whole,
)
from lf_experiments.storage.disk import refusal_number

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A language and a pool."""

Make = Callable[[ParallelSentences, Sequence[str], NewRows], dict[str, Activations]]
"""Runs the model: the activations of some of the languages, by pool, in the rows that they are given."""

HELD_BYTES = 1 << 30
"""Activations that take no more than this, 1 GiB, are held in memory; of more a layer is read when it is asked for."""
LAYOUT = 2
"""Changes where files are laid out in another way, so that older ones are not taken for damaged."""


def kept_captures(
    folder: Path, sentences: ParallelSentences, pools: Sequence[str], make: Make, further: Sequence[str] = ()
) -> dict[str, Activations]:
    """The activations of all sentences, by pool: from what is kept in `folder`, and from `make` for the rest.

    `folder` stands for a model and the way it reads. What is not there, or is damaged, is captured together, once, and written
    as it comes: processes that need the same wait for the first. No more than `HELD_BYTES` of all of it is in memory. Where
    something is captured, so are the `further` pools that nothing is kept of yet, for those who ask later.

    A folder that cannot be written is read without a lock; where it lacks something, all is captured and nothing kept, with a
    warning. Raises `OSError` where a disk that takes no more leaves some languages kept and others not.
    """
    paths = {(code, pool): path_of(folder, texts, pool) for pool in pools for code, texts in sentences.texts.items()}
    with locked_if_possible(folder / ".lock") as problem:
        opened = {key: opened_capture(path, len(sentences.meanings)) for key, path in paths.items()}
        files = {key: file for key, file in opened.items() if file is not None}
        missing = {key: path for key, path in paths.items() if key not in files}
        if missing and problem:
            warn_of_unwritable(folder, problem)
            return make(sentences, pools, RowsInMemory)
        if missing:
            remove_half_written(folder)
            codes, lacking = {code for code, _ in missing}, {pool for _, pool in missing}
            beside = {(code, pool): path_of(folder, sentences.texts[code], pool) for pool in further for code in codes}
            lacking |= {pool for (_, pool), path in beside.items() if not path.exists()}
            wanted = only(sentences, codes), [pool for pool in dict.fromkeys([*pools, *further]) if pool in lacking]
            new_paths = {key: (paths | beside)[key] for key in product(wanted[0].texts, wanted[1])}
            try:
                written = written_captures(new_paths, *wanted, make)
            except OSError as error:
                if files or refusal_number(error) is None:
                    raise
                warn_of_unwritable(folder, error.strerror or str(error))
                return make(sentences, pools, RowsInMemory)
            files |= {key: file for key, file in written.items() if key in paths}
        are_held = sum(map(size, files.values())) <= HELD_BYTES
        return {pool: joined([files[code, pool] for code in sentences.texts], sentences, are_held) for pool in pools}


def written_captures(
    paths: dict[Key, Path], sentences: ParallelSentences, pools: Sequence[str], make: Make
) -> dict[Key, CaptureFile]:
    """Capture into files at `paths`, each with its digest beside it; the files, open. Languages of equal texts share one.

    A disk without room for them is refused before a sentence is read. The digest comes first, so that no capture is ever
    without.
    """
    files: dict[Key, CaptureFile] = {}
    with ExitStack() as stack:
        temporary = {path: stack.enter_context(written_whole(path)) for path in dict.fromkeys(paths.values())}

        def new_rows(kept: Kept, _: int) -> RowsOfFiles:
            path_of_key = {(code, kept.pool): paths[code, kept.pool] for code in sentences.texts}
            created = {
                path: CaptureFile.create(temporary[path], kept, len(sentences.meanings))
                for path in dict.fromkeys(path_of_key.values())
            }
            of_pool = {key: created[path] for key, path in path_of_key.items()}
            files.update(of_pool)
            return RowsOfFiles(list(of_pool.values()))

        made = make(sentences, pools, new_rows)
        for (language, pool), file in files.items():
            start = made[pool].languages.index(language)
            file.write_tokens(made[pool].tokens_S[start : start + file.sentences])
            write_text(digest_path(paths[language, pool]), file_digest(temporary[paths[language, pool]]).hex())
    return files


def warn_of_unwritable(folder: Path, problem: str) -> None:
    """Say that captures are not kept, and why."""
    log.warning("captures cannot be kept in %s (%s): going on without (cache.dir)", folder, problem)


def path_of(folder: Path, texts: list[str], pool: str) -> Path:
    """Where the capture of some sentences is kept, as one pool has it."""
    return folder / f"{fingerprint([LAYOUT, texts, pool])}.safetensors"


def only(sentences: ParallelSentences, codes: set[str]) -> ParallelSentences:
    """The sentences of some of the languages, in the same order."""
    return replace(sentences, texts={code: texts for code, texts in sentences.texts.items() if code in codes})


def joined(files: list[CaptureFile], sentences: ParallelSentences, are_held: bool) -> Activations:
    """Kept captures of the same model, one after the other, in memory or read when they are asked for."""
    layers, kept = LayersOfFiles(files), files[0].kept
    languages = [code for code, texts in sentences.texts.items() for _ in texts]
    return Activations(
        list(layers) if are_held else layers,
        languages,
        sentences.meanings * len(files),
        torch.cat([file.read_tokens() for file in files]),
        kept.num_parameters,
        kept.pool,
        kept.experts,
    )


def size(file: CaptureFile) -> int:
    """Bytes of the activations in a file."""
    return BYTES["F32"] * file.sentences * sum(file.kept.widths)


def opened_capture(path: Path, sentences: int) -> CaptureFile | None:
    """The capture of so many sentences kept at `path`, open for reading; None if there is none, or not what was written.

    Once open it can be read to the end, also where another process makes room meanwhile. Raises `OSError` for a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        file = CaptureFile.open(path)
        mark_used(path)
        has_digest = digest_path(path).is_file()
        undamaged = has_digest and file_digest(path).hex() == digest_path(path).read_text(encoding="utf-8")
        undamaged = undamaged and file.sentences == sentences
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        undamaged = False
    if not undamaged:
        log.warning("The kept capture %s is damaged: capturing again", path)
        return None
    return file
