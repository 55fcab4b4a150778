"""What MkDocs does to the pages beside rendering them: "start here" is the home page, and formulas become MathML.

Browsers draw MathML themselves, so that a page needs no script from elsewhere.
"""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

FENCE = re.compile(r"^```math\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A formula in a block, as GitHub writes it."""
FORMULA = re.compile(r'(<(?:span|div) class="arithmatex">)\\([(\[])(.*?)\\[)\]](</(?:span|div)>)', re.DOTALL)
"""A formula in the HTML of a page, as `pymdownx.arithmatex` marks it."""


def on_files(files, **_):
    """`start.md` becomes the home page."""
    files.get_file_from_path("start.md").dest_uri = "index.html"
    return files


def on_page_markdown(markdown, **_):
    """Formulas in blocks, the way `pymdownx.arithmatex` knows them."""
    return FENCE.sub(lambda found: f"\n$$\n{found[1]}$$\n", markdown)


def on_page_content(content, **_):
    """The page with its formulas as MathML."""
    return FORMULA.sub(lambda found: found[1] + mathml(found[3], is_block=found[2] == "[") + found[4], content)


def mathml(escaped: str, is_block: bool) -> str:
    """A formula of LaTeX, escaped for HTML, as MathML."""
    return convert(html.unescape(escaped).strip(), display="block" if is_block else "inline")
