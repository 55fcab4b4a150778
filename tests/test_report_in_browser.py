"""The reports in a real browser, where there is one: they render without a word on the console, fit a phone, and sort."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import matplotlib.image
import pytest
from run_folders import LANGUAGES, edit, fail, write_job, write_run_folder

from lf_experiments.results.figures import save_figures, style
from lf_experiments.results.report import write_report
from lf_experiments.results.sweep import write_sweep

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    """The report of a run of nine languages of a model of the paper, and that of a sweep with a failed job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DOTS_PER_INCH", 60)
        run = write_run_folder(tmp_path_factory.mktemp("run"), LANGUAGES)
        edit(run / "metrics.json", model="bloom-7b1", checkpoint="final")
        save_figures(run)
        write_report(run)
        sweep = tmp_path_factory.mktemp("sweep")
        for step in (0, 30, 100):
            write_job(sweep / f"step{step}", step, languages=LANGUAGES[:3])
        fail(sweep / "step30", "ValueError: <b>no</b>")
        write_sweep(sweep)
    return {"run": run / "report.html", "sweep": sweep / "report.html"}


def browsed(path: Path, *options: str) -> tuple[str, list[str]]:
    """What the browser printed of a page, and what stood on its console."""
    command = [BROWSER, *QUIET, f"--user-data-dir={path.parent / 'profile'}", *options, path.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return found.stdout, [line for line in found.stderr.splitlines() if ":CONSOLE" in line]


def asked(path: Path, question: str, *options: str) -> object:
    """What a script answers that is put into a copy of the page."""
    html = path.read_text(encoding="utf-8")
    html = re.sub(r"<meta http-equiv=.*?>", "", html)
    script = f"<script>document.title = JSON.stringify({question})</script>"
    copy = path.with_name("asked.html")
    copy.write_text(html.replace("</body>", f"{script}</body>"), encoding="utf-8")
    dom, console = browsed(copy, *options, "--dump-dom")
    assert console == []
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", dom)[1]))


@pytest.mark.parametrize("name", ["run", "sweep"])
@pytest.mark.parametrize(("scheme", "is_dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_a_report_renders_in_light_and_dark_with_nothing_on_the_console(reports, tmp_path, name, scheme, is_dark):
    picture = tmp_path / "page.png"
    _, console = browsed(
        reports[name],
        "--window-size=1280,2400",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--screenshot={picture}",
    )
    assert console == []
    shades = matplotlib.image.imread(picture)[..., :3].mean(axis=2)
    assert bool(shades.mean() < 0.5) is is_dark
    assert 0.01 < (abs(shades - shades[0, 0]) > 0.3).mean() < 0.6  # something is written on it


def test_a_page_that_runs_something_else_would_be_heard(reports):
    html = reports["sweep"].read_text(encoding="utf-8")
    path = reports["sweep"].with_name("foreign.html")
    path.write_text(
        html.replace("</body>", '<script>alert(1)</script><img src="https://example.org/x.png"></body>'), encoding="utf-8"
    )
    _, console = browsed(path, "--dump-dom")
    assert sum("Content Security Policy" in line for line in console) == 2


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_report_fits_a_phone(reports, name):
    root = "document.documentElement"
    widths = f"[innerWidth, {root}.scrollWidth, Math.max(...[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth))]"
    inner, page, widest = asked(reports[name], widths, "--window-size=420,900")
    assert page <= inner < widest


SORTED = """(() => {
  const table = document.querySelector('#%s').parentNode.querySelector('table.sortable');
  const button = [...table.tHead.rows[0].cells][%d].querySelector('button');
  const column = () => [...table.tBodies].map((body) => body.rows[0].cells[%d].textContent);
  const states = [column()];
  for (let click = 0; click < 3; click++) { button.click(); states.push(column()); }
  return [states, [...(table.tFoot ? table.tFoot.rows : [])].map((row) => row.rowIndex), table.rows.length];
})()"""


@pytest.mark.parametrize(("section", "column"), [("deactivation", 9), ("paper", 2), ("cloze", 2), ("deactivation", 0)])
def test_tables_of_a_run_are_sorted_by_number_or_name_and_back(reports, section, column):
    (before, up, down, after), feet, rows = asked(reports["run"], SORTED % (section, column, column))
    key = (lambda text: text) if column == 0 else number
    assert len(before) == 9 and before != up
    assert [key(text) for text in up] == sorted(map(key, before))
    assert [key(text) for text in down] == sorted(map(key, before), reverse=True)
    assert after == before
    assert feet == list(range(rows - len(feet), rows))


def number(text: str) -> float:
    return float(re.match(r"[-\d.]+", text.replace("−", "-").replace(",", ""))[0])


def test_runs_are_sorted_with_their_notes_and_what_is_missing_stays_last(reports):
    (before, up, down, _), _, _ = asked(reports["sweep"], SORTED % ("runs", 5, 5))
    assert before[1] == "–"
    assert [text for text in up if text != "–"] == sorted(text for text in before if text != "–")
    assert up[-1] == down[-1] == "–"
