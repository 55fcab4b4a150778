"""What of a text a picture can show: the one font that comes with matplotlib lacks scripts, Chinese and Hindi among them."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from matplotlib import ft2font
from matplotlib.font_manager import findfont, get_font

FONT = "DejaVu Sans"
JOINS_LETTERS = hasattr(ft2font, "__libraqm_version__")
"""Whether this matplotlib joins Arabic letters and writes them from right to left."""
RIGHT_TO_LEFT = ("R", "AL")
LACKING = "\0"
"""Stands for a letter that cannot be shown."""


def drawable(text: str) -> str:
    """A text on one line; where the picture cannot show letters, it says how many they are, in brackets."""
    visible = (letter for letter in " ".join(text.split()) if unicodedata.category(letter) != "Cf")
    shown = "".join(letter if is_drawable(letter) else LACKING for letter in visible)
    return re.sub(rf"{LACKING}([{LACKING} ]*{LACKING})?", lambda found: counted(found[0].count(LACKING)), shown)


def counted(letters: int) -> str:
    """What stands for letters that cannot be shown."""
    return f"[{letters}\N{NO-BREAK SPACE}letter{'s' if letters > 1 else ''}]"


def is_drawable(letter: str) -> bool:
    """Whether the font has a glyph for a letter, and the letter would stand where it belongs."""
    return ord(letter) in glyphs() and (JOINS_LETTERS or unicodedata.bidirectional(letter) not in RIGHT_TO_LEFT)


@cache
def glyphs() -> frozenset[int]:
    """The code points that the font has a glyph for."""
    return frozenset(get_font(findfont(FONT)).get_charmap())


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left."""
    directions = (unicodedata.bidirectional(letter) for letter in text)
    return next((direction for direction in directions if direction in ("L", *RIGHT_TO_LEFT)), "L") in RIGHT_TO_LEFT
