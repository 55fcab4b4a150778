"""What makes a page of content: templates, one style sheet, one script, and the rule that nothing else may run or load."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from lf_experiments.results.figures import stem, style

HERE = Path(__file__).parent
REMS_PER_INCH = 3.5
"""How narrow an inch of a figure may become before it is scrolled instead, in the widths of a letter that CSS counts in."""


@dataclass(frozen=True)
class Table:
    """A table to read and to sort. Cells are text, or markup where one stands out."""

    columns: list[str]
    groups: list[list[list[str]]]
    """Rows that stay together when the table is sorted; the first cell is that of the whole group."""
    foot: list[list[str]] = field(default_factory=list)
    """Rows that stay below."""


def plain_table(frame: pd.DataFrame, foot: int = 0) -> Table:
    """A table whose rows are sorted one by one, but for the last `foot` of them."""
    rows = frame.to_numpy().tolist()
    body = len(rows) - foot
    return Table(list(frame), [[row] for row in rows[:body]], rows[body:])


def strong(text: str) -> Markup:
    """A text that stands out."""
    return Markup("<b>{}</b>").format(text)


def page(template: str, content: dict[str, Any]) -> str:
    """A page made of a template; everything is escaped, and a value that is missing is an error."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"headings": headings, "visible": visible}
    sheet, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    template = environment.get_template(template)
    return template.render(content, sheet=Markup(sheet), script=Markup(script), script_digest=digest)


def headings(html: str) -> list[tuple[str, str]]:
    """The id and the text of every heading that can be led to."""
    return re.findall(r'<h2 id="([\w-]+)">(.*?)</h2>', html)


def visible(text: str) -> Markup:
    """A text of a model in which broken characters stand out, and control characters are signs that can be seen."""
    signs = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}
    parts = re.split("(\N{REPLACEMENT CHARACTER}+)", text.translate(signs))
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts)
    )


def picture(module: ModuleType, path: Path) -> dict[str, Any]:
    """A figure that carries its own bytes, and how narrow it may become."""
    image = path.read_bytes()
    width = int.from_bytes(image[16:20], "big") / style.DOTS_PER_INCH
    return {
        "title": module.TITLE,
        "caption": module.CAPTION,
        "source": f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}",
        "least_width": round(REMS_PER_INCH * width),
        "file": f"figures/{stem(module)}.pdf",
    }
