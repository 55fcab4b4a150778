"""The reports in a real browser, where there is one: they render without a word on the console, fit a phone, and sort."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from browser import Tab, started_browser
from run_folders import LANGUAGES, edit, fail, write_job, write_run_folder

from lf_experiments.figures import style
from lf_experiments.figures.save import save_figures
from lf_experiments.languages import language_name
from lf_experiments.report import write_report
from lf_experiments.runs.run import Run
from lf_experiments.sweep import write_sweep


def with_intervals(folder: Path) -> None:
    """Give every loss its interval, and beside random neurons."""
    table = pd.read_csv(folder / "perplexity.csv")
    nats = np.log1p(table["increase_percent"] / 100)
    control = table["language"].map(nats[table["deactivated"] == "random"].groupby(table["language"]).mean())
    against = (nats - control).mask(table["deactivated"].isin(["none", "random"]))
    ends = {"against_control": against, "against_control_lo": against - 0.02, "against_control_hi": against + 0.02}
    table.assign(log_ratio=nats, lo=nats - 0.01, hi=nats + 0.01, **ends).to_csv(folder / "perplexity.csv", index=False)


@pytest.fixture(scope="module")
def tab(tmp_path_factory) -> Iterator[Tab]:
    """One browser for all: it takes a second to start."""
    with started_browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    """The report of a run of nine languages of a model of the paper, and that of a sweep with a failed job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DOTS_PER_INCH", 60)
        run = write_run_folder(tmp_path_factory.mktemp("run"), LANGUAGES)
        edit(run / "metrics.json", model="bloom-7b1", checkpoint="final", lrds_lo=0.2001, lrds_hi=0.2214)
        edit(run / "run.json", warnings=[])
        with_intervals(run)
        save_figures(Run(run))
        write_report(Run(run))
        sweep = tmp_path_factory.mktemp("sweep")
        for step in (0, 30, 100):
            write_job(sweep / f"step{step}", step, languages=LANGUAGES[:3])
        fail(sweep / "step30", "ValueError: <b>no</b>")
        write_sweep(sweep)
    return {"run": run / "report.html", "sweep": sweep / "report.html"}


@pytest.mark.parametrize("name", ["run", "sweep"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_report_renders_in_light_and_dark_with_nothing_on_the_console_and_asks_for_nothing(
    reports, tab, tmp_path, name, dark
):
    tab.open(reports[name], height=2400, dark=dark)
    picture = tab.picture(tmp_path / "page.png")
    assert (tab.console, tab.requests) == ([], [])
    shades = matplotlib.image.imread(picture)[..., :3].mean(axis=2)
    assert bool(shades.mean() < 0.5) is dark
    assert 0.01 < (abs(shades - shades[0, 0]) > 0.3).mean() < 0.6  # something is written on it


def test_a_page_that_runs_something_else_would_be_heard(reports, tab):
    html = reports["sweep"].read_text(encoding="utf-8")
    path = reports["sweep"].with_name("foreign.html")
    foreign = '<script>document.title = "run"</script><img src="https://example.org/x.png"></body>'
    path.write_text(html.replace("</body>", foreign), encoding="utf-8")
    tab.open(path)
    assert sum("Content Security Policy" in line for line in tab.console) == 2
    assert tab.ask("document.title") != "run"


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_report_fits_a_phone(reports, tab, name):
    tab.open(reports[name], width=390, height=900)
    root = "document.documentElement"
    widths = f"[innerWidth, {root}.scrollWidth, Math.max(...[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth))]"
    inner, page, widest = tab.ask(widths)
    assert page <= inner < widest


BROKEN = """[...document.querySelectorAll('.words th')].filter((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  const words = cell.textContent.trim().split(' ').length;
  return range.getBoundingClientRect().height > (words + 0.5) * parseFloat(getComputedStyle(cell).lineHeight);
}).map((cell) => cell.textContent)"""
"""The names in front of words that take more lines than they have words."""


def test_no_name_is_broken_into_letters_on_a_phone(reports, tab):
    tab.open(reports["run"], width=390, height=900)
    assert tab.ask(BROKEN) == []


UNNAMED = """[...document.querySelectorAll('button, select, input, canvas, img, [role=region]')].filter((element) => {
  const by = document.getElementById(element.getAttribute('aria-labelledby'));
  const names = [by, ...(element.labels || [])].map((label) => label && label.textContent);
  return ![...names, element.ariaLabel, element.alt, element.tagName === 'BUTTON' && element.textContent].some((name) => name);
}).map((element) => element.outerHTML.slice(0, 99))"""


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_all_that_can_be_used_has_a_name_for_a_screen_reader(reports, tab, name):
    tab.open(reports[name])
    assert tab.ask(UNNAMED) == []
    assert tab.ask("document.querySelectorAll('[role=region]').length") > 5


# What was found -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_the_answers_stand_in_the_first_screen(reports, tab, name):
    tab.open(reports[name], width=1280, height=900)
    bottoms = tab.ask("[...document.querySelectorAll('.answers > div')].map((group) => group.getBoundingClientRect().bottom)")
    assert bottoms and max(bottoms) < 900


def test_an_answer_leads_to_its_picture_by_the_keys_alone(reports, tab):
    tab.open(reports["run"])
    tab.ask("document.querySelector('nav a:last-child').focus()")
    tab.press("Tab", "Enter")
    assert tab.ask("location.hash") == "#figure-figure2_similarity_map"
    tab.wait("Math.abs(document.querySelector(location.hash).getBoundingClientRect().top) < 50")


# Tables -------------------------------------------------------------------------------------------------------------------


COLUMN = """[...document.querySelector('section:has(> #%s) table.sortable').tBodies]
  .map((body) => body.rows[0].cells[%d].textContent)"""
FEET = """(({ rows, tFoot }) => [[...(tFoot ? tFoot.rows : [])].map((row) => row.rowIndex), rows.length])(
  document.querySelector('section:has(> #%s) table.sortable'))"""


def clicked_through(tab: Tab, section: str, column: int) -> list[list[str]]:
    """The cells of a column of the first table of a section: as it is, and after each of three clicks on its head."""
    states = [tab.ask(COLUMN % (section, column))]
    for _ in range(3):
        tab.click(f"section:has(> #{section}) table.sortable thead th:nth-child({column + 1}) button")
        states.append(tab.ask(COLUMN % (section, column)))
    return states


@pytest.mark.parametrize(("section", "column"), [("deactivation", 9), ("paper", 2), ("cloze", 2), ("deactivation", 0)])
def test_tables_of_a_run_are_sorted_by_number_or_name_and_back(reports, tab, section, column):
    tab.open(reports["run"])
    before, up, down, after = clicked_through(tab, section, column)
    key = (lambda text: text) if column == 0 else number
    assert len(before) == 9 and before != up
    assert [key(text) for text in up] == sorted(map(key, before))
    assert [key(text) for text in down] == sorted(map(key, before), reverse=True)
    assert after == before
    feet, rows = tab.ask(FEET % section)
    assert feet == list(range(rows - len(feet), rows))


def number(text: str) -> float:
    return float(re.match(r"[-\d.]+", text.replace("−", "-").replace(",", ""))[0])


def test_runs_are_sorted_with_their_notes_and_what_is_missing_stays_last(reports, tab):
    tab.open(reports["sweep"])
    before, up, down, _ = clicked_through(tab, "runs", 5)
    assert before[1] == "–"
    assert [text for text in up if text != "–"] == sorted(text for text in before if text != "–")
    assert up[-1] == down[-1] == "–"


def test_a_table_is_sorted_by_the_keys_alone(reports, tab):
    tab.open(reports["run"])
    tab.ask("document.querySelector('#paper ~ .scroll th:nth-child(3) button').focus()")
    before = tab.ask(COLUMN % ("paper", 2))
    tab.press("Enter")
    assert tab.ask("document.activeElement.parentNode.ariaSort") == "ascending"
    assert [number(text) for text in tab.ask(COLUMN % ("paper", 2))] == sorted(map(number, before))


# The matrix of deactivation -----------------------------------------------------------------------------------------------

CELLS = (
    "[...document.querySelectorAll('.matrix tbody tr')].map((row) => [...row.cells].slice(1).map((cell) => cell.textContent))"
)
SAID = "document.querySelector('.matrix output').textContent"


def choose(tab: Tab, part: str, option: str) -> None:
    """Choose an option of a list of the matrix with the keys, by its first letters."""
    tab.ask(f"document.querySelector('.matrix [data-part={part}]').focus()")
    tab.press(*option)


def expected_cells(folder: Path, column: str, of: Callable[[pd.Series], pd.Series]) -> np.ndarray:
    """The means over draws of a column of the table, in a unit: evaluated languages by what was switched off."""
    table = pd.read_csv(folder / "perplexity.csv", keep_default_na=False, na_values=[""])
    table = table.assign(value=of(table.assign(nats=table[column]))).query("deactivated != 'none'")
    order = [*LANGUAGES, "random"]
    wide = table.pivot_table(values="value", index="language", columns="deactivated")
    return wide.reindex(index=LANGUAGES, columns=order).to_numpy()


UNITS = {
    "percent": (lambda table: 100 * np.expm1(table["nats"]), 0.5),
    "nats": (lambda table: table["nats"], 0.0005),
    "bits": (lambda table: table["nats"] * table["tokens"] / table["bytes"] / np.log(2), 0.0005),
}


@pytest.mark.parametrize("unit", list(UNITS))
def test_the_matrix_has_every_loss_in_the_unit_that_is_chosen_with_the_keys(reports, tab, unit):
    tab.open(reports["run"])
    choose(tab, "unit", unit[0])
    of, tolerance = UNITS[unit]
    found = np.array([[number(text) for text in row] for row in tab.ask(CELLS)])
    expected = expected_cells(reports["run"].parent, "log_ratio", of)
    np.testing.assert_allclose(found[:, :-1], expected[:, :-1], atol=1.01 * tolerance)


def test_beside_random_neurons_the_matrix_shows_the_difference_and_which_cells_are_undecided(reports, tab):
    tab.open(reports["run"])
    choose(tab, "unit", "n")
    choose(tab, "against", "r")
    rows = tab.ask(CELLS)
    expected = expected_cells(reports["run"].parent, "against_control", lambda table: table["nats"])
    np.testing.assert_allclose([[number(text) for text in row[:-1]] for row in rows], expected[:, :-1], atol=0.0006)
    assert {row[-1] for row in rows} == {"–"}  # random neurons beside random neurons
    unclear = tab.ask("[...document.querySelectorAll('.matrix .unclear')].length")
    assert unclear == (np.abs(expected[:, :-1]) <= 0.02).sum() > 0


def test_the_cell_under_the_pointer_is_told_with_its_interval(reports, tab):
    tab.open(reports["run"])
    choose(tab, "unit", "n")
    tab.point(".matrix tbody tr:nth-child(2) td:nth-child(4)")
    row = pd.read_csv(reports["run"].parent / "perplexity.csv").query("deactivated == 'fr' and language == 'zh'").iloc[0]
    assert tab.ask(SAID) == (
        f"Chinese without the key region of French: +{row.log_ratio:.3f} nats per token ({row.lo:.3f} to {row.hi:.3f}), "
        "beside the full model."
    )


def test_the_matrix_is_read_with_the_keys_alone_and_stops_at_its_edges(reports, tab):
    tab.open(reports["run"])
    tab.ask("document.querySelector('.matrix td').focus()")
    tab.press("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp")
    assert tab.ask(SAID).startswith("English without the key region of French: ")
    assert tab.ask("document.querySelectorAll('.matrix td[tabindex=\"0\"]').length") == 1
    tab.press(*["ArrowRight"] * 12)
    assert tab.ask(SAID).startswith("English without random neurons: ")


# The neurons --------------------------------------------------------------------------------------------------------------

PORTRAIT = "document.querySelector('.portrait').innerText.split('\\n').filter((line) => line.trim())"
LIST = ".neurons [data-part=neuron]"


def test_the_neurons_of_a_language_are_chosen_with_the_keys_alone(reports, tab):
    tab.open(reports["run"])
    table = Run(reports["run"].parent).neurons.query("language == 'ar'").reset_index()
    tab.ask("document.querySelector('.neurons [data-part=language]').focus()")
    tab.press(*"Ara")
    tab.ask(f"document.querySelector('{LIST}').focus()")
    tab.press("ArrowDown")
    names = tab.ask(f"[...document.querySelector('{LIST}').options].map((option) => option.textContent)")
    assert names == [f"layer {row.layer}, neuron {row.neuron}: {row.z:.2f}" for row in table.itertuples()]
    row, lines = table.iloc[1], tab.ask(PORTRAIT)
    assert lines[:2] == [
        f"Layer {row['layer']}, neuron {row['neuron']}",
        "Score 2.70 for Arabic, selected by 95.0% of the halves of the sentences.",
    ]
    bars = tab.ask(
        "[...document.querySelectorAll('.portrait tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [bar[0] for bar in bars] == list(map(language_name, LANGUAGES))
    assert [float(bar[-1].replace("−", "-")) for bar in bars] == pytest.approx(row["mean"], rel=0.01, abs=1e-4)
    samples = Run(reports["run"].parent).samples["text"]
    told = [text for place in row["sentences"] for text in (samples[place], "Arabic")]
    start = lines.index("Sentences in which it is most active") + 1
    assert [line.partition(", 1.")[0] for line in lines[start : start + 4]] == told
    chips = tab.ask("[...document.querySelectorAll('.portrait .word')].map((word) => word.textContent)")
    assert chips == list(row["words"])  # as text, whatever stands in them


def test_a_neuron_that_is_clicked_is_shown_with_bars_as_long_as_its_means(reports, tab):
    tab.open(reports["run"])
    tab.click(f"{LIST} option:nth-child(3)")
    row = Run(reports["run"].parent).neurons.query("language == 'en'").iloc[2]
    assert tab.ask(PORTRAIT)[0] == f"Layer {row['layer']}, neuron {row['neuron']}"
    assert "Words that it makes more likely" not in tab.ask(PORTRAIT)
    widths = tab.ask("[...document.querySelectorAll('.portrait .bar div')].map((bar) => bar.getBoundingClientRect().width)")
    expected = np.abs(row["mean"]) / np.abs(row["mean"]).max() * max(widths)
    np.testing.assert_allclose(widths, np.maximum(expected, 1), atol=0.6)
    cold = tab.ask("[...document.querySelectorAll('.portrait .bar div')].map((bar) => bar.className === 'cold')")
    assert cold == [value < 0 for value in row["mean"]]


# The similarity map -------------------------------------------------------------------------------------------------------

CANVAS = ".similarity-map canvas"
SLIDER = ".similarity-map [type=range]"
NAME = "document.querySelector('.similarity-map [data-part=name]').textContent"
READ = """['cosine', 'kind', 'row-language', 'row-text', 'column-language', 'column-text']
  .map((name) => document.querySelector(`.similarity-map [data-part=${name}]`).textContent)"""


def point(tab: Tab, row: int, column: int, size: int) -> list[str]:
    """What stands beside the map when the pointer is on a pair, in a view so many pairs wide."""
    tab.point(CANVAS, (column + 0.5) / size, (row + 0.5) / size)
    return tab.ask(READ)


def seen_pair(folder: Path, row: int, column: int) -> list[str]:
    """What stands beside the map for a pair of sentences, from the files of the run."""
    run = Run(folder)
    one, other = run.samples.iloc[row], run.samples.iloc[column]
    if row == column:
        kind = "the same sentence"
    elif one["language"] == other["language"]:
        kind = f"both {language_name(one['language'])}, different meanings"
    else:
        kind = "translations of each other" if one["meaning"] == other["meaning"] else "different languages, different meanings"
    return [kind, language_name(one["language"]), one["text"], language_name(other["language"]), other["text"]]


def check_pair(found: list[str], folder: Path, row: int, column: int) -> None:
    assert found[1:] == seen_pair(folder, row, column)
    assert abs(float(found[0].replace("−", "-")) - Run(folder).similarity[row, column]) < 0.01


@pytest.mark.parametrize(("row", "column"), [(0, 5), (35, 0), (7, 7), (9, 10), (2, 34)])
def test_the_pair_under_the_pointer_stands_beside_the_map(reports, tab, row, column):
    tab.open(reports["run"])
    check_pair(point(tab, row, column, 36), reports["run"].parent, row, column)


def test_the_map_is_read_with_the_keys_alone(reports, tab):
    folder = reports["run"].parent
    tab.open(reports["run"])
    tab.ask(f"document.querySelector('{CANVAS}').focus()")
    tab.press("ArrowDown", "ArrowDown")
    tab.press("ArrowRight", shift=True)
    tab.press("ArrowUp")
    check_pair(tab.ask(READ), folder, 1, 11)
    for _ in range(9):
        tab.press("ArrowUp", "ArrowRight", shift=True)
    check_pair(tab.ask(READ), folder, 0, 35)


def test_the_slider_goes_through_the_layers_with_the_keys_and_the_pair_stays(reports, tab):
    folder = reports["run"].parent
    maps, halves = Run(folder).layer_maps, [place for place in range(36) if place % 4 < 2]
    tab.open(reports["run"])
    point(tab, 5, 20, 36)
    tab.ask(f"document.querySelector('{SLIDER}').focus()")
    tab.press("ArrowRight", "ArrowRight")
    assert tab.ask(f"[{NAME}, document.querySelector('{SLIDER}').ariaValueText]") == ["layer 1", "layer 1"]
    found = tab.ask(READ)
    assert found[1:] == seen_pair(folder, 5, 20)
    assert abs(float(found[0].replace("−", "-")) - maps[1][halves.index(5), halves.index(20)]) < 0.01
    found = point(tab, 17, 3, 18)
    assert found[1:] == seen_pair(folder, halves[17], halves[3])
    assert abs(float(found[0].replace("−", "-")) - maps[1][17, 3]) < 0.01
    tab.ask(f"document.querySelector('{SLIDER}').focus()")
    tab.press("Home")
    assert tab.ask(NAME) == "the whole model"
    check_pair(tab.ask(READ), folder, halves[17], halves[3])


def test_a_sentence_that_a_map_lacks_gives_way_to_the_first_of_its_language(reports, tab):
    tab.open(reports["run"])
    point(tab, 7, 22, 36)  # the last sentences of the second and of the sixth language
    tab.ask(f"document.querySelector('{SLIDER}').focus()")
    tab.press("ArrowRight")
    assert tab.ask(READ)[1:] == seen_pair(reports["run"].parent, 4, 20)


def test_the_slider_of_a_sweep_goes_through_the_steps(reports, tab):
    tab.open(reports["sweep"])
    assert tab.ask(NAME) == "step 100"
    tab.ask(f"document.querySelector('{SLIDER}').focus()")
    tab.press("ArrowLeft")
    assert tab.ask(NAME) == "step 0"  # step 30 failed
    check_pair(point(tab, 3, 8, 12), reports["sweep"].parent / "step0", 3, 8)


COLOURS = """(() => {
  const { width, height } = document.querySelector('.similarity-map canvas');
  const bytes = document.querySelector('.similarity-map canvas').getContext('2d').getImageData(0, 0, width, height).data;
  return [...bytes].filter((_, place) => place % 997 === 0).join();
})()"""


def test_maps_have_colours_of_their_own_or_the_same(reports, tab):
    tab.open(reports["run"])
    own, scale = tab.ask(COLOURS), tab.ask("document.querySelector('.similarity-map [data-part=scale]').textContent")
    assert re.fullmatch(r"darkest [−\d.]+, brightest [\d.]+", scale)
    tab.click(".similarity-map [type=checkbox]")
    assert tab.ask(COLOURS) != own
    tab.click(".similarity-map [type=checkbox]")
    assert tab.ask(COLOURS) == own


def test_the_map_is_zoomed_around_the_pair_and_shown_whole_again(reports, tab):
    folder = reports["run"].parent
    tab.open(reports["run"])
    tab.ask(f"document.querySelector('{CANVAS}').focus()")
    point(tab, 20, 30, 36)
    tab.press("+")
    check_pair(point(tab, 0, 0, 18), folder, 11, 18)  # 18 pairs wide, with 20 and 30 in the middle as far as the map goes
    tab.click(".similarity-map button[value='0']")
    check_pair(point(tab, 0, 0, 36), folder, 0, 0)


TIMED = """(() => {
  const canvas = document.querySelector('.similarity-map canvas'), box = canvas.getBoundingClientRect();
  const start = performance.now();
  for (let n = 0; n < 100; n++) canvas.dispatchEvent(new PointerEvent('pointermove', {
    clientX: box.left + (900 - 9 * n - 0.5) / 900 * box.width, clientY: box.top + (9 * n + 0.5) / 900 * box.height}));
  canvas.getContext('2d').getImageData(0, 0, 1, 1); // all is drawn by now
  return (performance.now() - start) / 100;
})()"""


def test_a_map_of_900_sentences_follows_the_pointer_and_fits_a_page(tab, tmp_path):
    folder = write_run_folder(tmp_path / "run", LANGUAGES, sentences=100)
    write_report(Run(folder))
    tab.open(folder / "report.html")
    milliseconds = tab.ask(TIMED)
    check_pair(tab.ask(READ), folder, 891, 8)
    print(f"{milliseconds:.2f} ms a pair")  # a frame takes 16; no machine's speed decides this test
    assert (folder / "report.html").stat().st_size < 6 << 20
