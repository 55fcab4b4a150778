"""Which text a picture can show: the fonts that it is drawn with, and what stands for a letter they lack.

The fonts are those of the machine and those of packages of fonts, `pip install 'lf_experiments[fonts]'`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib import ft2font
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.textpath import TextToPath

from lf_experiments.languages import LANGUAGES

FONT = "DejaVu Sans"
"""Comes with matplotlib; it has Latin, Cyrillic, Greek, Arabic and more, but no Chinese and no script of India."""
FAMILIES = {
    "Han": ("Noto Sans CJK SC", "Noto Sans SC", "Noto Sans Hans", "Source Han Sans SC", "WenQuanYi Zen Hei", "PingFang SC"),
    "Oriya": ("Noto Sans Oriya", "Noto Sans Odia"),
}
"""{script: fonts that draw it, the best first}; any other script is looked for as Noto Sans, Noto Serif and Lohit."""
FONT_PACKAGES = ("pylopdf_fonts_zh_cn", "manimgx_fonts")
"""Packages that hold files of fonts: Noto Sans for Chinese, and one for most other scripts."""
JOINS_LETTERS = hasattr(ft2font, "__libraqm_version__")
"""Whether this matplotlib joins Arabic letters and writes them from right to left."""
RIGHT_TO_LEFT = ("R", "AL")
LACKING = "\0"
"""Stands for a letter that cannot be shown."""


@cache
def font_families() -> list[str]:
    """matplotlib's own font and, behind it, one for each script of the languages that has a font on this machine."""
    take_in_packages()
    installed = {font.name for font in fontManager.ttflist}
    scripts = {script for language in LANGUAGES.values() for script in language.script.split("+")} - {"Latin"}
    found = [next((name for name in families_of(script) if name in installed), None) for script in sorted(scripts)]
    return [FONT, *filter(None, found)]


def take_in_packages() -> None:
    """Let matplotlib know the fonts of the packages that are installed."""
    for name in FONT_PACKAGES:
        found = find_spec(name)
        for folder in (found and found.submodule_search_locations) or ():
            for path in sorted(Path(folder).glob("NotoSans*.[ot]tf")):
                fontManager.addfont(path)


def families_of(script: str) -> tuple[str, ...]:
    """The fonts that draw a script."""
    name = script.replace("_", " ")
    return FAMILIES.get(script, (f"Noto Sans {name}", f"Noto Serif {name}", f"Noto Naskh {name}", f"Lohit {name}"))


def drawable(text: str) -> str:
    """A text on one line; where the picture cannot show letters, it says how many they are, in brackets."""
    shown, base = "", ""
    for letter in " ".join(text.split()):
        if unicodedata.category(letter) == "Cf":
            continue
        if not is_mark(letter):
            base = letter
        shown += letter if is_drawable(letter, base) else LACKING
    return re.sub(rf"{LACKING}([{LACKING} ]*{LACKING})?", lambda found: counted(found[0].count(LACKING)), shown)


def counted(letters: int) -> str:
    """What stands for letters that cannot be shown."""
    return f"[{letters}\N{NO-BREAK SPACE}letter{'s' if letters > 1 else ''}]"


def is_drawable(letter: str, base: str = "") -> bool:
    """Whether one font has a letter and the one that it is set on, and the letter would stand where it belongs."""
    is_in_font = any(glyphs_of(family).issuperset(map(ord, base + letter)) for family in font_families())
    return is_in_font and (JOINS_LETTERS or unicodedata.bidirectional(letter) not in RIGHT_TO_LEFT)


def is_mark(letter: str) -> bool:
    """Whether a letter is set on the one before, as an accent is, or a vowel of Hindi."""
    return unicodedata.category(letter).startswith("M")


@cache
def glyphs_of(family: str) -> frozenset[int]:
    """The code points that a font has a glyph for."""
    return frozenset(get_font(findfont(family)).get_charmap())


def families_for(text: str) -> list[str]:
    """Of the fonts, matplotlib's own and those that draw what it lacks of a text."""
    lacking = set(map(ord, text)) - glyphs_of(FONT)
    return [family for family in font_families() if family == FONT or lacking & glyphs_of(family)]


def is_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction runs from right to left."""
    directions = (unicodedata.bidirectional(letter) for letter in text)
    return next((direction for direction in directions if direction in ("L", *RIGHT_TO_LEFT)), "L") in RIGHT_TO_LEFT


@cache
def width(text: str, size: float) -> float:
    """How wide a drawn text is, in points, with the room at its sides; `size` is that of its letters."""
    font = FontProperties(family=font_families(), size=size)
    with_text, without = (
        TextToPath().get_text_width_height_descent(letters, font, False)[0] for letters in (f"x{text}x", "xx")
    )
    return with_text - without


def wrapped(text: str, room: float, size: float, most: int) -> list[str]:
    """A text in at most so many lines of `room` points, cut with an ellipsis; a word that is wider is broken."""
    lines: list[str] = []
    left = 0.0
    for word in text.split(" "):
        needed = width(f" {word}", size)
        if needed <= left:
            lines[-1] += f" {word}"
            left -= needed
        else:
            lines += broken(word, room, size)
            left = room - width(lines[-1], size)
    return lines if len(lines) <= most else [*lines[: most - 1], shortened(lines[most - 1], room, size)]


def broken(word: str, room: float, size: float) -> list[str]:
    """A word, in pieces that fit where it is too wide itself."""
    if width(word, size) <= room:
        return [word]
    pieces, left = [""], room
    for letter in word:
        left -= width(letter, size)
        if left < 0:
            pieces.append("")
            left = room - width(letter, size)
        pieces[-1] += letter
    return pieces


def shortened(line: str, room: float, size: float) -> str:
    """The beginning of a line with an ellipsis that fits behind it."""
    while line and width(f"{line} …", size) > room:
        line = line[:-1]
    return f"{line} …"
