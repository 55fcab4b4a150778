"""The report of a run or a sweep holds its numbers, shows corpus text as text, asks for nothing outside, and bears gaps."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from run_folders import fail, write_job, write_run_folder

from lf_experiments.results.figures import EVOLUTION_FIGURES, FIGURES, save_figures, stem, style
from lf_experiments.results.report import write_report, write_sweep_report
from lf_experiments.results.sweep import sweep_table, write_sweep
from lf_experiments.storage import write_json

CODES = ["en", "zh", "ar"]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """The tags of a page with their attributes, its visible text, and whether tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run of three languages, without figures."""
    return write_run_folder(tmp_path / "run", CODES)


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch) -> None:
    """Few pixels: they take most of the time."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)


def page(folder: Path) -> Page:
    write_report(folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def edit(path: Path, **entries: object) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **entries})


def test_it_says_what_was_measured_and_how(folder):
    text = page(folder).text()
    sklr = pd.read_csv(folder / "regions.csv")["key_neurons"].sum()
    for expected in (
        "bloom-nano training step 3,000 done",
        "LRDS 0.2113",
        "SADS 0.0345",
        f"SKLR {sklr:,}",
        f"SKLR, share {100 * sklr / 1536:.1f}%",
        "Languages 3 English, Chinese, Arabic",
        "Sentences 4 per language",
        "Neurons 1,536",
        "Parameters 1,234,567",
        "Seed 7",
        "python 3.11.2, torch 2.13.0",
        "Git commit 0123456789ab",
        "Weight fingerprint aaaa1111bbbb2222",
        "miniature, fingerprint 1111aaaa2222bbbb, licence CC BY 4.0",
        "capture 12.2 s 2,048 MiB",
        "python -m lf_experiments model=bloom-nano checkpoint=step3000",
    ):
        assert expected in text


def test_tables_hold_every_number(folder):
    text = page(folder).text()
    perplexity = pd.read_csv(folder / "perplexity.csv")
    first = perplexity[perplexity["deactivated"] == "none"].iloc[0]
    assert f"English 13.94 {first['bits_per_byte']:.3f} 2,000" in text
    assert "1,498%" in text
    regions = pd.read_csv(folder / "regions.csv").groupby("layer")["key_neurons"].sum()
    for layer, row in pd.read_csv(folder / "layers.csv").iterrows():
        assert f" {layer} {row['lrds']:.4f} {row['sads']:.4f} {regions[layer]} " in text


def test_figures_are_inside_with_their_captions(folder):
    save_figures(folder)
    report = page(folder)
    sources = [image["src"] for image in report.all("img")]
    assert len(sources) == len(FIGURES)
    for source, module in zip(sources, FIGURES, strict=True):
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert data == (folder / "figures" / f"{stem(module)}.png").read_bytes()
        assert module.CAPTION in report.text()


def test_nothing_is_asked_from_outside(folder):
    save_figures(folder)
    report = page(folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in report.tags}
    for _, attributes in report.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not re.search(r"url\(|@import|https?://", html)


def test_text_of_the_corpus_and_the_run_shows_as_text(folder):
    edit(folder / "metrics.json", model="<b>model</b>")
    edit(folder / "run.json", status="failed", error="<i>E</i>", command='python x="<s>"', config={"seed": "<u>"})
    report = page(folder)
    assert not {"script", "b", "i", "s", "u"} & {tag for tag, _ in report.tags}
    for expected in (
        "Sentence 0 of <script>ar</script> & more",
        "<b>model</b>",
        "failed: <i>E</i>",
        'python x="<s>"',
        "the text of hi is <short>",
        '"seed": "<u>"',
    ):
        assert expected in report.text()


def test_one_sentence_per_language_in_its_own_direction(folder):
    cells = [cell for cell in page(folder).all("td") if "lang" in cell]
    assert [(cell["lang"], cell["dir"]) for cell in cells] == [(code, "auto") for code in CODES]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("metrics.json", "Main numbers"),
        ("perplexity.csv", "Full model"),
        ("regions.csv", "Perplexity increase after deactivation"),
        ("layers.csv", "Layers"),
        ("samples.csv", "A sentence in every language"),
        ("run.json", "What was run"),
    ],
)
def test_a_file_that_is_not_there_leaves_its_section_out(folder, name, heading):
    def headings() -> list[str]:
        write_report(folder)
        return re.findall(r"<h2>(.*?)</h2>", (folder / "report.html").read_text(encoding="utf-8"))

    assert heading in headings()
    (folder / name).unlink()
    assert heading not in headings()


def test_an_empty_folder_has_a_report_of_its_name(tmp_path):
    assert page(tmp_path).text() == tmp_path.name
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_was_not_measured_is_left_out(folder):
    edit(folder / "metrics.json", lrds=None, sads=None, sklr=None, sklr_fraction=None, training_step=None, checkpoint="final")
    text = page(folder).text()
    assert "bloom-nano checkpoint final" in text
    assert "Neurons 1,536" in text
    assert "None" not in text and "separates languages" not in text


def test_a_run_that_has_only_begun_is_shown(folder):
    edit(folder / "run.json", status="running", model={}, data={}, stages={}, warnings=[], git_commit=None)
    text = page(folder).text()
    assert "Warnings" not in text and "Stages" not in text and "running" not in text
    assert "To repeat it" in text


def test_a_layer_without_a_score_has_a_dash(folder):
    table = pd.read_csv(folder / "layers.csv")
    table.loc[1, "sads"] = None
    table.to_csv(folder / "layers.csv", index=False)
    assert f"1 {table['lrds'][1]:.4f} –" in page(folder).text()


def test_a_report_that_fails_keeps_the_old_one(folder):
    write_report(folder)
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(json.JSONDecodeError):
        write_report(folder)
    assert (folder / "report.html").read_text(encoding="utf-8") == before


@pytest.fixture
def sweep(tmp_path) -> Path:
    """A sweep over four steps: step 100 has the weights of step 30, and step 200 failed."""
    folder = tmp_path / "my <sweep>"
    for step in (0, 30, 100, 200):
        write_job(folder / f"a:b, step={step}", step, languages=CODES, fingerprint="same" if step in (30, 100) else None)
    write_report(folder / "a:b, step=0")
    fail(folder / "a:b, step=200", "ValueError: <b>no</b> & never")
    return folder


def sweep_page(folder: Path) -> Page:
    write_sweep(folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_report_of_a_sweep_begins_with_what_is_wrong(sweep):
    text = sweep_page(sweep).text()
    assert text.startswith(
        "my <sweep> 4 runs: 3 done, 1 failed Before you believe the figures checkpoint step100 of bloom-nano has the same "
        "weights as step30: one of them was published wrongly; the curve between them says nothing "
        "job a:b, step=200 failed: ValueError: <b>no</b> & never Figures"
    )


def test_the_report_of_a_sweep_without_a_fault_has_no_warning(tmp_path):
    for step in (0, 30):
        write_job(tmp_path / f"{step}", step, languages=CODES)
    assert "Before you believe" not in sweep_page(tmp_path).text()


def test_the_table_of_a_sweep_has_every_run_and_what_is_wrong_with_it(sweep):
    report = sweep_page(sweep)
    table = sweep_table([sweep])
    for _, row in table[table["status"] == "done"].iterrows():
        scores = f"{row['lrds']:.4f} {row['sads']:.4f} {100 * row['sklr_fraction']:.1f}% {row['perplexity_mean']:.2f}"
        assert f"{row['job']} done bloom-nano {row['checkpoint']} {row['training_step']} {scores}" in report.text()
    assert "same weights as a:b, step=30" in report.text()
    assert "a:b, step=200 failed bloom-nano step200 200 – – – – – – ValueError: <b>no</b> & never" in report.text()
    classes = [row["class"] for row in report.all("tr") if "class" in row]
    assert classes == ["done-run"] * 4 + ["failed-run"] * 2
    assert "Cloze, mean" not in report.text() and "Variant" not in report.text()


def test_jobs_lead_to_their_own_reports_where_there_are_any(sweep, tmp_path):
    (only,) = sweep_page(sweep).all("a")
    assert only["href"] == "a%3Ab%2C%20step%3D0/report.html"
    write_sweep(tmp_path / "elsewhere" / "out", [sweep])
    (only,) = Page((tmp_path / "elsewhere" / "out" / "report.html").read_text(encoding="utf-8")).all("a")
    assert only["href"] == "../../my%20%3Csweep%3E/a%3Ab%2C%20step%3D0/report.html"
    assert (tmp_path / "elsewhere" / "out" / unquote(only["href"])).is_file()


def test_the_report_of_a_sweep_asks_for_nothing_and_shows_text_as_text(sweep):
    report = sweep_page(sweep)
    html = (sweep / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "iframe", "object", "form", "sweep"} & {tag for tag, _ in report.tags}
    assert "<b>no" not in html and "<sweep>" not in html
    assert all(image["src"].startswith("data:image/png;base64,") for image in report.all("img"))
    assert not re.search(r"url\(|@import|https?://", html)
    assert "default-src 'none'" in html


def test_the_figures_of_a_sweep_are_inside_with_their_captions(sweep):
    report = sweep_page(sweep)
    images = [base64.b64decode(image["src"].partition(",")[2]) for image in report.all("img")]
    modules = EVOLUTION_FIGURES[:3]
    assert images == [(sweep / "figures" / f"{stem(module)}.png").read_bytes() for module in modules]
    assert all(module.CAPTION in report.text() for module in modules)


def test_the_commands_of_a_sweep_are_there_once_each(sweep):
    text = sweep_page(sweep).text()
    commands = [f"python -m lf_experiments model=bloom-nano checkpoint=step{step}" for step in (0, 30, 100, 200)]
    assert text.endswith(f"To repeat it {' '.join(commands)}")


def test_the_warnings_of_a_sweep_are_those_given(sweep):
    write_sweep_report(sweep, sweep_table([sweep]), ["beware of <this>"])
    report = Page((sweep / "report.html").read_text(encoding="utf-8"))
    assert "Before you believe the figures beware of <this>" in report.text()
    assert "Figures" not in report.text()
