"""From sections to a page: one template, one style sheet, its scripts, and the rule that nothing else may run or load."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

HERE = Path(__file__).parent
SCRIPTS = ("page.js", "similarity_map.js", "matrix.js", "neurons.js")


@dataclass(frozen=True)
class Section:
    """A part of a page, which the navigation leads to."""

    id: str
    title: str
    blocks: tuple[Markup, ...]
    is_loud: bool = False


def section(id: str, title: str, *blocks: Markup, is_loud: bool = False) -> Section | None:
    """A section made of blocks, None where it would be empty."""
    return Section(id, title, blocks, is_loud) if blocks else None


def page(title: str, subtitle: str, sections: list[Section], status: str = "", note: str = "") -> str:
    """The HTML of a page that opens without a network; `note` explains the status.

    Everything is escaped, and a value that is missing is an error.
    """
    sheet = (HERE / "page.css").read_text(encoding="utf-8")
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return ENVIRONMENT.get_template("page.html.jinja").render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        status=status,
        note=note,
        sheet=Markup(sheet),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def json_block(content: object) -> Markup:
    """JSON that a page can hold in a data block: nothing in it ends the block or begins a tag. NaN is an error."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def visible(text: str) -> Markup:
    """A text of a model in which broken characters stand out, and control characters are signs that can be seen."""
    signs = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}
    parts = re.split("(\N{REPLACEMENT CHARACTER}+)", text.translate(signs))
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    )


ENVIRONMENT = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
ENVIRONMENT.filters["visible"] = visible
blocks = ENVIRONMENT.get_template("blocks.html.jinja").module
"""The blocks of `blocks.html.jinja` as functions, from values to escaped markup: `blocks.table(table)`."""
