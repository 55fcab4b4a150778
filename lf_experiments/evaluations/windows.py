"""Text in windows: the tokens that are scored together, as the paper cuts them or document by document (sec. 4.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lf_experiments.config.schema import TextConfig, Windows
from lf_experiments.errors import InputError
from lf_experiments.models.load import Reader

log = logging.getLogger(__name__)

DOCUMENT_SEPARATOR = "\n\n"
LONGEST_WINDOW = 8192
"""Tokens of a window by default, for a model that reads more at once than a text may have."""


@dataclass(frozen=True)
class Window:
    """Tokens scored together: the first ones are given, the others are predicted."""

    ids: list[int]
    bytes: int
    """UTF-8 bytes of the text that the predicted tokens stand for."""
    given: int = 1
    """Tokens that are given: those that begin every text, or the first of the text where there are none (`Reader.given`)."""

    @property
    def tokens(self) -> int:
        """Predicted tokens."""
        return len(self.ids) - self.given


def text_windows(reader: Reader, documents: list[str], text: TextConfig, language: str) -> list[Window]:
    """The windows of a text, each of `window_size` tokens. Every window begins as the model begins a text.

    Joined documents are cut into equal windows and the rest is dropped, the paper's way; documents by themselves are cut
    where they are longer than a window. Of more windows than `text.window_count` the text keeps as many. Raises `InputError`
    where nothing is long enough to be scored.
    """
    size = window_size(reader, text)
    if text.windows is Windows.joined:
        windows = cut(reader, DOCUMENT_SEPARATOR.join(documents), size)
        windows = [window for window in windows if len(window.ids) == size]
        remedy = f"give more text, text.window below {size}, or text.windows=documents"
    else:
        windows = [window for document in documents for window in cut(reader, document, size) if window.tokens]
        remedy = "give documents of two tokens or more"
    if not windows:
        raise InputError("text.window", size, f"the text in {language} is shorter than one window of {size} tokens", remedy)
    return spread(windows, text.window_count or len(windows))


def spread(windows: list[Window], count: int) -> list[Window]:
    """So many of the windows, in the middle of as many equal parts of the text; all where there are no more."""
    parts = min(count, len(windows))
    return [windows[(2 * part + 1) * len(windows) // (2 * parts)] for part in range(parts)]


def window_size(reader: Reader, text: TextConfig) -> int:
    """Tokens of a window: `text.window` or, by default, the model's context, at most `LONGEST_WINDOW`.

    The tokens that begin every text are among them. Raises `InputError` if the model cannot read so many, if nothing says how
    many it can, and if no token is left to predict.
    """
    size = text.window or (reader.context and min(reader.context, LONGEST_WINDOW))
    if size is None:
        raise InputError("text.window", "null", "the model does not say how much it reads at once", "give text.window=TOKENS")
    if size <= reader.given:
        problem = f"this model is given the first {reader.given} tokens of every window: there is nothing to predict"
        raise InputError("text.window", size, problem, f"give text.window={reader.given + 1} or more")
    if reader.context is not None and size > reader.context:
        if not reader.reads_beyond_context:
            problem = f"this model cannot read more than {reader.context} tokens at once"
            raise InputError("text.window", size, problem, f"give text.window={reader.context} or less")
        log.warning("text.window=%d is more than the %d tokens the model reads at once", size, reader.context)
    return size


def cut(reader: Reader, text: str, size: int) -> list[Window]:
    """The tokens of one text in windows of `size`, the last of which may be shorter."""
    encoded = reader.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, starts = encoded["input_ids"], [start for start, _ in encoded["offset_mapping"]]
    bytes_before = byte_positions(text)
    position = [bytes_before[start] for start in starts] + [bytes_before[len(text)]]
    room, from_text = size - len(reader.prefix), reader.given - len(reader.prefix)
    return [
        Window(reader.prefix + ids[begin:end], position[end] - position[begin + from_text], reader.given)
        for begin in range(0, len(ids), room)
        for end in [min(begin + room, len(ids))]
    ]


def byte_positions(text: str) -> list[int]:
    """How many UTF-8 bytes stand before each character, and after the last."""
    positions = [0]
    for character in text:
        positions.append(positions[-1] + len(character.encode()))
    return positions
