"""The report of a run or a sweep holds its numbers, shows corpus text as text, asks for nothing outside, and bears gaps."""

import base64
import hashlib
import io
import json
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from run_folders import fail, write_job, write_run_folder

from lf_experiments.errors import InputError
from lf_experiments.figures.catalogue import FIGURES, SWEEP_FIGURES
from lf_experiments.figures.save import save_figures, save_picture, saved_figures
from lf_experiments.paper.numbers import beside_paper_text
from lf_experiments.paper.verdicts import verdicts_of_run, verdicts_of_sweep
from lf_experiments.report import numbers, write_report, write_sweep_report
from lf_experiments.report.page import visible
from lf_experiments.report.summary import summary
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import LRDS, SCORES, Score
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import increase_text
from lf_experiments.storage import write_json
from lf_experiments.sweep import write_sweep

CODES = ["en", "zh", "ar"]
pytestmark = pytest.mark.usefixtures("blank_pictures")

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
        if not {"style", "title", "script", "nav"} & set(self.open):
            self.words.append(data)

    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run of three languages, without figures."""
    return write_run_folder(tmp_path / "run", CODES)


def page(folder: Path) -> Page:
    write_report(Run(folder))
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def edit(path: Path, **entries: object) -> None:
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **entries})


def test_it_says_what_was_measured_and_how(folder):
    text = page(folder).text()
    sklr = pd.read_csv(folder / "regions.csv")["key_neurons"].sum()
    cloze = pd.read_csv(folder / "cloze.csv").query("deactivated == 'none'")["accuracy"].mean()
    for expected in (
        "bloom-nano training step 3,000 done",
        "Model bloom-nano, 1,234,567 parameters, 3 layers, 1,536 neurons",
        "Languages 3: English, Chinese, Arabic",
        "Sentences per language 4, the same meanings in each",
        "Sentences miniature, fingerprint eeee5555ffff6666, licence MIT",
        "Text miniature, fingerprint 1111aaaa2222bbbb, licence CC BY 4.0",
        "Stories miniature, fingerprint 3333cccc4444dddd, licence MIT",
        "Seed 7",
        "python 3.11.2, torch 2.13.0",
        "LRDS 0.2113",
        "SADS 0.0345",
        f"SKLR {sklr:,}",
        f"SKLR, share {100 * sklr / 1536:.1f}%",
        f"Perplexity {(13.94 + 24.01 + 14.45) / 3:.2f}",
        f"Story cloze {100 * cloze:.1f}%",
        "Git commit 0123456789ab",
        "Weight fingerprint aaaa1111bbbb2222",
        "capture 12.2 s 2,048 MiB",
        "python -m lf_experiments model=bloom-nano checkpoint=step3000",
    ):
        assert expected in text


def test_a_corpus_that_no_stage_was_about_is_left_out(folder):
    data = json.loads((folder / "run.json").read_text(encoding="utf-8"))["data"]
    assert "Stories miniature" in page(folder).text()
    edit(folder / "run.json", data={role: corpus for role, corpus in data.items() if role != "cloze"})
    text = page(folder).text()
    assert "Stories miniature" not in text and "Text miniature" in text


def test_tables_hold_every_number(folder):
    text = page(folder).text()
    perplexity = pd.read_csv(folder / "perplexity.csv")
    first = perplexity[perplexity["deactivated"] == "none"].iloc[0]
    assert f"English 13.94 {first['bits_per_byte']:.3f} 2,000 4.50" in text
    assert "1,498%" in text
    regions = pd.read_csv(folder / "regions.csv").groupby("layer")["key_neurons"].sum()
    for layer, row in pd.read_csv(folder / "layers.csv").iterrows():
        assert f" {layer} {row['lrds']:.4f} {row['sads']:.4f} {regions[layer]} " in text


def test_figures_are_inside_with_their_captions(folder):
    save_figures(Run(folder))
    report = page(folder)
    sources = [image["src"] for image in report.all("img") if image.get("class") != "map"]
    assert len(sources) == len(FIGURES)
    for source, figure in zip(sources, FIGURES, strict=True):
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert data == (folder / "figures" / f"{figure.stem}.png").read_bytes()
        assert figure.caption in report.text()


def test_a_large_picture_is_shown_in_fewer_colours_that_no_eye_tells_apart(folder, monkeypatch):
    figure = next(figure for figure in FIGURES if figure.stem == "figure2_similarity_map")
    path = folder / "figures" / f"{figure.stem}.png"
    save_picture(figure.picture(Run(folder)), path.with_suffix(""))
    monkeypatch.setattr("lf_experiments.report.shared.AS_IT_IS", path.stat().st_size - 1)
    source = next(image["src"] for image in page(folder).all("img") if image["alt"] == figure.title)
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    shown, whole = (np.asarray(Image.open(file).convert("RGB"), int) for file in (io.BytesIO(data), path))
    assert len(data) < path.stat().st_size / 2 and shown.shape == whole.shape
    assert abs(shown - whole).mean() < 3 and np.percentile(abs(shown - whole), 99) < 16


def test_nothing_is_asked_from_outside(folder):
    save_figures(Run(folder))
    report = page(folder)
    assert_self_contained(folder / "report.html", report)
    assert [link["href"] for link in report.all("a") if not link["href"].startswith("#")] == [
        f"figures/{figure.stem}.pdf" for figure in FIGURES
    ]


def assert_self_contained(path: Path, report: Page) -> None:
    """Nothing is loaded, and nothing runs but the script of the page itself."""
    html = path.read_text(encoding="utf-8")
    assert not {"link", "iframe", "object", "form", "base"} & {tag for tag, _ in report.tags}
    assert all(image["src"].startswith("data:image/png;base64,") for image in report.all("img"))
    assert not re.search(r"url\(|@import|https?://|//[a-z]+\.", html)
    data = [script for script in report.all("script") if script == {"type": "application/json"}]  # which no browser runs
    assert [script for script in report.all("script") if script not in data] == [{}]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert [meta["content"] for meta in report.all("meta") if "http-equiv" in meta] == [policy]
    assert not [name for _, attributes in report.tags for name in attributes if name.startswith("on")]


def test_every_section_can_be_reached(folder):
    save_figures(Run(folder))
    report = page(folder)
    sections = [heading["id"] for heading in report.all("h2")]
    links = [link["href"].removeprefix("#") for link in report.all("a") if link["href"].startswith("#")]
    assert links[: len(sections)] == sections
    assert len(set(sections)) == len(sections) > 10
    assert set(links) <= {attributes["id"] for _, attributes in report.tags if "id" in attributes}


def test_what_was_found_comes_first_in_plain_words_each_with_its_picture(folder):
    save_figures(Run(folder))
    write_report(Run(folder))
    html = (folder / "report.html").read_text(encoding="utf-8")
    groups = re.findall(r'<h3 class="([a-z-]+)">([^<]+) <span class="count">(\d+)</span></h3>\n<ul>(.*?)</ul>', html, re.DOTALL)
    parts = [part for verdict in verdicts_of_run(Run(folder)) for part in verdict.parts]
    assert [title for _, title, _, _ in groups] == ["Holds", "Undecided"]
    for answer, _, count, lines in groups:
        links = re.findall(r'<li><a href="#(.*?)">(.*?)</a></li>', lines)
        expected = [part for part in parts if part.answer.replace(" ", "-") == answer]
        assert [unescape(text) for _, text in links] == [part.claim.in_short for part in expected]
        assert [link for link, _ in links] == [f"figure-{part.claim.shown_in[0]}" for part in expected]
        assert int(count) == len(links) > 0
    missing = sum(part.answer == "not measured" for part in parts)
    assert f"Not measured here: {missing} other statements." in html
    assert "read the same 4 sentences in 3 languages, and what each of its 1,536 neurons did was recorded" in html
    assert html.index('id="warnings"') < html.index('id="found"') < html.index('id="run"')


def test_an_answer_whose_picture_is_not_there_leads_to_its_claim(folder):
    links = [link["href"] for link in page(folder).all("a")]
    assert "#observations" in links and not any("#figure-" in link for link in links)


def test_text_of_the_corpus_and_the_run_shows_as_text(folder):
    edit(folder / "metrics.json", model="<s>model</s>", languages=["en", "<u>zz</u>"])
    config = {"seed": "<u>", "model": {"name": "<s>model</s>"}, "checkpoint": {"step": 3000}, "intervention": {"name": "zero"}}
    edit(folder / "run.json", status="failed", error="<em>E</em>", command='python x="<s>"', config=config, git_commit="<q>")
    for name in ("cloze.csv", "generations.csv", "perplexity.csv", "regions.csv", "samples.csv"):
        pd.read_csv(folder / name).replace("zh", "<u>zz</u>").to_csv(folder / name, index=False)
    neurons = pd.read_parquet(folder / "neurons.parquet")
    neurons.assign(language=neurons["language"].replace("zh", "<u>zz</u>")).to_parquet(folder / "neurons.parquet")
    save_figures(Run(folder))
    report = page(folder)
    assert not {"s", "u", "em", "q", "alert"} & {tag for tag, _ in report.tags}
    *data, script = report.all("script")
    assert script == {} and set(map(str, data)) == {str({"type": "application/json"})}
    for expected in (
        "Sentence 0 of <script>ar</script> & more",
        "<s>model</s>",
        "failed: <em>E</em>",
        'python x="<s>"',
        "the text of hi is <short>",
        '"seed": "<u>"',
        "× <u>zz</u>",
        "light 0 <script>?",
        "| ab <script>alert(1)</script> ab ab",
    ):
        assert expected in report.text()


def test_one_sentence_per_language_in_its_own_direction(folder):
    cells = [cell for cell in page(folder).all("td") if "lang" in cell]
    assert [(cell["lang"], cell["dir"]) for cell in cells] == [(code, "auto") for code in CODES]


def test_generated_text_is_whole_in_its_language_and_direction_and_what_is_broken_is_marked(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    report = page(folder)
    texts = [(block["lang"], block["dir"]) for block in report.all("div") if block.get("class") == "text"]
    for code in CODES:
        rows = table[table["language"] == code]
        assert texts.count((code, "auto")) == (rows["text"] != "").sum() + rows["prompt"].nunique()
        for text in rows["text"]:
            assert " ".join(text.split()) in report.text()
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("<mark>\ufffd\ufffd</mark>") == len(CODES)
    assert html.count('<div class="soft">(nothing)</div>') == len(CODES)
    assert report.text().count("script 25.0%, repeated 50.0%") == len(CODES)
    owns = [row for row in report.all("tr") if row.get("class") == "own"]
    assert len(owns) == len(CODES)
    assert (
        "English script 100.0%, repeated 12.5% with all neurons; script 25.0%, repeated 25.0% without its region"
        in report.text()
    )


@pytest.mark.parametrize(("text", "shown"), [("a\x00b\x1b", "a\u2400b\u241b"), ("a\tb\nc", "a\tb\nc"), ("\x7f<", "\u2421&lt;")])
def test_control_characters_can_be_seen(text, shown):
    assert visible(text) == shown


def test_a_text_that_looks_like_a_missing_value_is_shown(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    table.loc[0, "text"] = "nan"
    table.to_csv(folder / "generations.csv", index=False)
    assert "Full model nan script" in page(folder).text()


def test_the_story_cloze_has_every_accuracy_with_its_error(folder):
    table = pd.read_csv(folder / "cloze.csv")
    assert len(table.query("deactivated == 'random' and language == 'en'")) == 2
    rows = []
    for code, name in zip(CODES, ["English", "Chinese", "Arabic"], strict=True):
        told = table[table["language"] == code].set_index("deactivated")
        cells = [f"{100 * told.accuracy[off]:.1f}% ± {100 * told.stderr[off]:.1f}" for off in ["none", *CODES]]
        rows.append(f"{name} 40 {' '.join(cells)} {100 * told.accuracy['random'].mean():.1f}%")
    means = [table[table["deactivated"] == off]["accuracy"].mean() for off in ["none", *CODES, "random"]]
    rows.append(f"Mean {' '.join(f'{100 * mean:.1f}%' for mean in means)}")
    assert f"Random neurons {' '.join(rows)} Generated text" in page(folder).text()


def test_a_single_story_has_no_error(folder):
    table = pd.read_csv(folder / "cloze.csv").query("deactivated == 'none'")
    table.assign(stderr=None, items=1, accuracy=1.0).to_csv(folder / "cloze.csv", index=False)
    assert "English 1 100.0% Chinese 1 100.0% Arabic 1 100.0% Mean 100.0%" in page(folder).text()


def test_what_a_language_loses_without_its_own_region_stands_out(folder):
    page(folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    own = pd.read_csv(folder / "perplexity.csv").query("deactivated == language")["increase_percent"]
    cloze = pd.read_csv(folder / "cloze.csv").query("deactivated == language")
    expected = [f"{increase_text(percent)}%" for percent in own]
    expected += [f"{100 * row.accuracy:.1f}% ± {100 * row.stderr:.1f}" for row in cloze.itertuples()]
    assert re.findall(r"<td><b>(.*?)</b></td>", html) == expected


def test_the_notes_say_what_the_control_is_and_what_perplexities_do_not_say(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    table.loc[table["language"] == "zh", "tokens"] = 4500
    table.to_csv(folder / "perplexity.csv", index=False)
    largest = pd.read_csv(folder / "regions.csv").groupby("language")["key_neurons"].sum().max()
    text = page(folder).text()
    assert f"Random neurons are the control: {largest} of them, as many as the largest key region has" in text
    assert "has, drawn from all layers (2 draws), with the seed of the run. Where one number stands for several" in text
    assert "a token of English is 4.5 bytes of text, one of Chinese 2.0: perplexities compare neither" in text
    table[table["deactivated"] != "random"].to_csv(folder / "perplexity.csv", index=False)
    assert "No random neurons were switched off (control.draws=0)" in page(folder).text()


@pytest.fixture
def with_effects(folder):
    """A run whose regions stand beside random neurons that match them, with intervals."""
    table = pd.read_csv(folder / "perplexity.csv")
    ratio = np.log1p(table["increase_percent"] / 100)
    table = table.assign(matches="", log_ratio=ratio, lo=ratio - 0.01, hi=ratio + 0.01)
    matched = table.query("deactivated == 'random'")
    matched = matched.assign(matches=matched["language"], increase_percent=7.0 + matched["draw"])
    pd.concat([table, matched]).to_csv(folder / "perplexity.csv", index=False)
    effects = pd.DataFrame({"language": table["language"].unique()})
    for number, name in enumerate(("own", "spill", "selectivity", "control", "against_control")):
        effects = effects.assign(
            **{name: 0.1 * number + 0.5, f"{name}_lo": 0.1 * number + 0.4, f"{name}_hi": 0.1 * number + 0.6}
        )
    effects.to_csv(folder / "effects.csv", index=False)
    edit(folder / "metrics.json", selectivity=0.25, selectivity_lo=0.2, selectivity_hi=0.3, selectivity_p=0.0001)
    return folder


def test_effects_and_increases_stand_with_their_intervals_and_both_controls(with_effects):
    text = page(with_effects).text()
    assert "Regions shuffled over the languages cost them as much in all with probability 0.0001." in text
    assert "0.5000 (0.4000, 0.6000) 0.6000 (0.5000, 0.7000) 0.7000 (0.6000, 0.8000) 0.8000" in text
    assert "as many as the largest key region has, drawn from all layers (2 draws); and as many as the key region of a" in text
    assert "in the same layers and acting as strongly there, evaluated on that language (2 draws)" in text
    row = pd.read_csv(with_effects / "perplexity.csv").query("deactivated == 'zh' and language == 'en'").iloc[0]
    low, high = (increase_text(100 * np.expm1(row[end])) for end in ("lo", "hi"))
    assert f"{increase_text(row['increase_percent'])}% ({low}, {high})" in text
    assert "Matched random" in text
    assert "7.5%" in text  # the mean over draws of the matched ones


def test_the_summary_tells_the_effects_with_their_intervals_and_both_controls(with_effects):
    text = summary(Run(with_effects))
    assert "Selectivity" in text
    assert "0.2500 (0.2000, 0.3000)" in text
    assert "as many random neurons as the largest region cost" in text
    assert "random neurons that match the region of a language cost 7.5 %" in text


def test_tokens_that_are_alike_need_no_note(folder):
    assert "Perplexity is per token" not in page(folder).text()


def test_the_verdicts_are_there_with_their_figures(folder):
    text = page(folder).text()
    for verdict in verdicts_of_run(Run(folder)):
        assert f"{verdict.answer} {verdict.observation.number}. {verdict.observation.title} (sec." in text
        for part in verdict.parts:
            lines = " ".join(f"{name}: {figures}" if name else figures for name, figures in part.figures.items())
            assert f"{part.answer}{'' if part.decides else ' ∗'} {part.statement} {lines}" in text
    answers = {verdict.answer for verdict in verdicts_of_run(Run(folder))}
    assert {"undecided", "not measured"} <= answers


def test_measured_observations_are_open_and_the_others_closed(folder):
    shown = [block for block in page(folder).all("details") if block.get("class") == "verdict"]
    assert ["open" in block for block in shown] == [
        verdict.answer != "not measured" for verdict in verdicts_of_run(Run(folder))
    ]


@pytest.mark.parametrize(("model", "source"), [("bloom-7b1", "Table 1"), ("llama2-7b", "Table 4")])
def test_the_papers_numbers_stand_beside_those_of_its_models(folder, model, source):
    edit(folder / "metrics.json", model=model, checkpoint="final", training_step=None)
    report = page(folder)
    expected = beside_paper_text(Run(folder))
    assert f"{model} and {source}" in report.text()
    for start in range(0, len(expected), 3):
        rows = expected.iloc[start : start + 3].to_numpy().tolist()
        assert f"{' '.join(rows[0])} {' '.join(rows[1][1:])} {' '.join(rows[2][1:])}" in report.text() or start >= 27
    assert "measured 13.94" in report.text()


@pytest.mark.parametrize(("model", "checkpoint"), [("bloom-nano", "final"), ("bloom-7b1", "step1000")])
def test_other_models_and_steps_have_nothing_of_the_paper_beside_them(folder, model, checkpoint):
    edit(folder / "metrics.json", model=model, checkpoint=checkpoint)
    assert "Beside the paper" not in page(folder).text()


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("metrics.json", "Main numbers"),
        ("metrics.json", "The paper's observations"),
        ("perplexity.csv", "Full model"),
        ("cloze.csv", "Story cloze"),
        ("generations.csv", "Generated text"),
        ("regions.csv", "Perplexity increase after deactivation"),
        ("layers.csv", "Layers"),
        ("samples.csv", "A sentence in every language"),
        ("run.json", "What was run"),
    ],
)
def test_a_file_that_is_not_there_leaves_its_section_out(folder, name, heading):
    def headings() -> list[str]:
        write_report(Run(folder))
        html = (folder / "report.html").read_text(encoding="utf-8")
        return [unescape(title) for title in re.findall(r'<h2 id=".*?">(.*?)</h2>', html)]

    assert heading in headings()
    (folder / name).unlink()
    assert heading not in headings()


def test_an_empty_folder_has_a_report_of_its_name(tmp_path):
    assert page(tmp_path).text() == tmp_path.name
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_what_was_not_measured_is_left_out(folder):
    nothing = dict.fromkeys(["lrds", "sads", "sklr", "sklr_fraction", "training_step", "num_layers", "num_neurons"])
    edit(folder / "metrics.json", **nothing, checkpoint="final", perplexity={}, cloze_accuracy={})
    text = page(folder).text()
    assert "bloom-nano checkpoint final" in text
    assert "Model bloom-nano, 1,234,567 parameters Checkpoint" in text
    assert "None" not in text and "Main numbers" not in text


def test_a_run_that_has_only_begun_is_shown(folder):
    edit(folder / "run.json", status="running", model={}, data={}, stages={}, warnings=[], git_commit=None)
    text = page(folder).text()
    assert "Before you believe" not in text and "memory of the stages" not in text and "running" not in text
    assert "To repeat it" in text


def test_a_layer_without_a_score_has_a_dash(folder):
    table = pd.read_csv(folder / "layers.csv")
    table.loc[1, "sads"] = None
    table.to_csv(folder / "layers.csv", index=False)
    assert f"1 {table['lrds'][1]:.4f} –" in page(folder).text()


def test_a_report_that_fails_keeps_the_old_one(folder):
    write_report(Run(folder))
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="metrics.json=.*it cannot be read"):
        write_report(Run(folder))
    assert (folder / "report.html").read_text(encoding="utf-8") == before


@pytest.fixture
def sweep(tmp_path) -> Path:
    """A sweep over four steps: step 100 has the weights of step 30, and step 200 failed."""
    folder = tmp_path / "my <sweep>"
    for step in (0, 30, 100, 200):
        write_job(folder / f"a:b, step={step}", step, languages=CODES, fingerprint="same" if step in (30, 100) else None)
    write_report(Run(folder / "a:b, step=0"))
    fail(folder / "a:b, step=200", "ValueError: <b>no</b> & never")
    return folder


def sweep_page(folder: Path) -> Page:
    write_sweep(folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_report_of_a_sweep_begins_with_what_is_wrong(sweep):
    text = sweep_page(sweep).text()
    assert text.startswith(
        "my <sweep> 4 runs: 3 done, 1 failed Before you believe the numbers checkpoint step100 of bloom-nano has the same "
        "weights as step30: one of them was published wrongly; the curve between them says nothing "
        "job a:b, step=200 failed: ValueError: <b>no</b> & never What was found"
    )


def test_the_report_of_a_sweep_without_a_fault_has_no_warning(tmp_path):
    for step in (0, 30):
        write_job(tmp_path / f"{step}", step, languages=CODES)
    assert "Before you believe" not in sweep_page(tmp_path).text()


def test_the_table_of_a_sweep_has_every_run_and_what_is_wrong_with_it(sweep):
    report = sweep_page(sweep)
    table = Sweep(sweep).table
    for _, row in table[table["status"] == "done"].iterrows():
        scores = f"{row['lrds']:.4f} {row['sads']:.4f} {100 * row['sklr_fraction']:.1f}% {row['perplexity_mean']:.2f}"
        assert f"{row['job']} done bloom-nano {row['checkpoint']} {row['training_step']} {scores}" in report.text()
    assert "same weights as a:b, step=30" in report.text()
    assert "a:b, step=200 failed bloom-nano step200 200 – – – – – – ValueError: <b>no</b> & never" in report.text()
    classes = [row["class"] for row in report.all("tr") if "class" in row]
    assert classes == ["done-run"] * 4 + ["failed-run"] * 2
    assert "Cloze, mean" not in report.text() and "Variant" not in report.text()


def links_to_runs(path: Path) -> list[str]:
    report = Page(path.read_text(encoding="utf-8"))
    return [link["href"] for link in report.all("a") if link["href"].endswith("report.html")]


def test_jobs_lead_to_their_own_reports_where_there_are_any(sweep, tmp_path):
    write_sweep(sweep)
    assert links_to_runs(sweep / "report.html") == ["a%3Ab%2C%20step%3D0/report.html"]
    write_sweep(tmp_path / "elsewhere" / "out", [sweep])
    (only,) = links_to_runs(tmp_path / "elsewhere" / "out" / "report.html")
    assert only == "../../my%20%3Csweep%3E/a%3Ab%2C%20step%3D0/report.html"
    assert (tmp_path / "elsewhere" / "out" / unquote(only)).is_file()


def test_the_report_of_a_sweep_asks_for_nothing_and_shows_text_as_text(sweep):
    report = sweep_page(sweep)
    html = (sweep / "report.html").read_text(encoding="utf-8")
    assert_self_contained(sweep / "report.html", report)
    assert "<b>no" not in html and "<sweep>" not in html


def test_the_report_of_a_sweep_says_what_was_run(sweep):
    text = sweep_page(sweep).text()
    assert "Models bloom-nano Checkpoints step0, step30, step100, step200 Sentences miniature, fingerprint" in text
    assert "Seed 7 Versions python 3.11.2, torch 2.13.0 Started 2026-01-02T03:04:05+00:00 The paper" in text


def test_what_few_runs_of_a_sweep_read_stands_with_the_rest(tmp_path):
    for step in (0, 30):
        run = write_job(tmp_path / f"{step}", step, languages=CODES)
        data = json.loads((run / "run.json").read_text(encoding="utf-8"))["data"]
        edit(run / "run.json", data=data if step else {"dataset": data["dataset"]})
    text = sweep_page(tmp_path).text()
    places = [text.index(f"{name} miniature, fingerprint") for name in ("Sentences", "Text", "Stories")]
    assert places == sorted(places) and places[-1] < text.index("Seed 7")


def test_what_the_runs_of_a_sweep_differ_in_is_named_or_counted(tmp_path):
    for step in range(5):
        run = write_job(tmp_path / f"{step}", step, languages=CODES, seed=step % 2)
        edit(run / "run.json", versions={"torch": f"2.{step}"}, started=f"2026-01-0{1 + step}")
    text = sweep_page(tmp_path).text()
    assert "Seed 0; 1 Versions 5 different ones Started 2026-01-01 to 2026-01-05" in text


def test_the_verdicts_of_a_sweep_have_a_line_for_each_run_or_family(tmp_path):
    for model, parameters in (("bloom-nano-s", 100_000), ("bloom-nano", 400_000), ("bloom-nano-l", 1_000_000)):
        write_job(tmp_path / model, None, model, parameters, languages=CODES)
    html_of = lambda: (tmp_path / "report.html").read_text(encoding="utf-8")  # noqa: E731
    report = sweep_page(tmp_path)
    verdicts = verdicts_of_sweep(Sweep(tmp_path))
    for part in (part for verdict in verdicts for part in verdict.parts):
        lines = " ".join(f"{name}: {figures}" if name else figures for name, figures in part.figures.items())
        assert f"{part.statement} {lines}" in report.text()
    assert len(re.findall(r'<br><span class="soft">bloom-nano-[sl]?:? ', html_of())) > 5


def figures_of(report: Page) -> list[dict]:
    """The pictures of a page but the map to be explored, which is data."""
    return [image for image in report.all("img") if image.get("class") != "map"]


def test_the_figures_of_a_sweep_are_inside_with_their_captions(sweep):
    report = sweep_page(sweep)
    images = [base64.b64decode(image["src"].partition(",")[2]) for image in figures_of(report)]
    figures = [figure for figure, _ in saved_figures(sweep, SWEEP_FIGURES)]
    assert [figure.stem[:7] for figure in figures] == ["figure4", "figure5", "figure6"]
    assert images == [(sweep / "figures" / f"{figure.stem}.png").read_bytes() for figure in figures]
    assert all(figure.caption in report.text() for figure in figures)


def test_the_main_runs_of_a_sweep_are_shown_with_their_text_and_stories(tmp_path):
    write_job(tmp_path / "a", None, "bloom-nano", languages=CODES, cloze=True, generate=True)
    write_job(tmp_path / "b", None, "llama-nano", 500_000, languages=CODES, generate=True)
    write_job(tmp_path / "c", 30, "bloom-nano", languages=CODES, generate=True)
    text = sweep_page(tmp_path).text()
    assert "bloom-nano, checkpoint final English script 100.0%, repeated 12.5%" in text
    assert "llama-nano, checkpoint final English script 100.0%, repeated 12.5%" in text
    assert "training step 30 English script" not in text
    run = pd.read_csv(tmp_path / "a" / "cloze.csv").query("deactivated == 'none'")
    mean, error = 100 * run["accuracy"].mean(), 100 * run["stderr"].mean()
    each = " ".join(f"{100 * accuracy:.1f}%" for accuracy in run["accuracy"])
    assert f"bloom-nano final {mean:.1f}% ± {error:.1f} {each} Generated text" in text


def test_a_sweep_without_text_or_stories_has_no_section_for_them(sweep):
    headings = {heading["id"] for heading in sweep_page(sweep).all("h2")}
    assert "runs" in headings and not {"text", "cloze", "paper"} & headings


def test_a_model_of_the_paper_in_a_sweep_stands_beside_it(tmp_path):
    write_job(tmp_path / "a", None, "bloom-7b1", 7_069_016_064)
    write_job(tmp_path / "b", None, "bloom-3b", 3_002_557_440)
    text = sweep_page(tmp_path).text()
    assert text.count("bloom-7b1 and Table 1") == 1 and "bloom-3b and" not in text


def test_the_commands_of_a_sweep_are_there_once_each(sweep):
    text = sweep_page(sweep).text()
    commands = [f"python -m lf_experiments model=bloom-nano checkpoint=step{step}" for step in (0, 30, 100, 200)]
    assert text.endswith(f"To repeat it {' '.join(commands)}")


def test_the_warnings_of_a_sweep_are_those_given(sweep):
    write_sweep_report(Sweep(sweep), sweep, ["beware of <this>"])
    report = Page((sweep / "report.html").read_text(encoding="utf-8"))
    assert "Before you believe the numbers beware of <this>" in report.text()
    assert figures_of(report) == []


def test_an_interval_stands_beside_its_number_wherever_there_is_one(folder):
    edit(folder / "metrics.json", lrds_lo=0.1874, lrds_hi=0.2356, sklr_fraction_lo=0.1, sklr_fraction_hi=0.2)
    layers = pd.read_csv(folder / "layers.csv").assign(sads_lo=[0.001, None, 0.003], sads_hi=[0.011, None, 0.013])
    layers.to_csv(folder / "layers.csv", index=False)
    text = page(folder).text()
    assert "LRDS 0.2113 (0.1874, 0.2356) how " in text
    assert "% (10.0%, 20.0%) " in text and "SADS 0.0345 how " in text
    for row in layers.itertuples():
        sads = f"{row.sads:.4f} ({row.sads_lo:.4f}, {row.sads_hi:.4f})" if row.sads_lo > 0 else f"{row.sads:.4f}"
        assert f" {row.layer} {row.lrds:.4f} {sads} " in text
    assert "  LRDS         0.2113 (0.1874, 0.2356)  how " in summary(Run(folder))


def test_the_intervals_of_the_runs_of_a_sweep_stand_in_its_table(tmp_path):
    for step in (0, 30):
        edit(write_job(tmp_path / f"{step}", step, languages=CODES) / "metrics.json", sads=0.02, sads_lo=0.01, sads_hi=0.03)
    assert sweep_page(tmp_path).text().count(" 0.0200 (0.0100, 0.0300) ") == 2


def test_another_score_is_shown_by_its_row_in_the_table_of_scores_alone(folder, monkeypatch):
    another = replace(LRDS, key="another", title="Another", meaning="how alike the spaces are")
    monkeypatch.setattr(numbers, "SCORES", (*SCORES, another))
    edit(folder / "metrics.json", another=0.8125)
    pd.read_csv(folder / "layers.csv").assign(another=[0.25, 0.5, 0.75]).to_csv(folder / "layers.csv", index=False)
    text = page(folder).text()
    assert "Another 0.8125 how alike the spaces are" in text
    assert "Layer LRDS SADS Another Key neurons" in text and " 0.5000 " in text
    assert "0.8125  how alike the spaces are" in summary(Run(folder))


def measured(folder: Path) -> list[Score]:
    """The scores that a run came to."""
    return [score for score in SCORES if Run(folder).metrics.value(score) is not None]


def test_every_score_says_what_it_means_and_what_guessing_gives(folder):
    text = page(folder).text()
    for score in measured(folder):
        assert f"{score.title} {score.text(Run(folder).metrics.value(score))} {score.meaning}" in text
    assert "mean over languages; guessing: 50.0%" in text


def test_the_summary_has_the_scores_the_losses_the_warnings_and_the_files(folder):
    write_report(Run(folder))
    edit(folder / "run.json", tracking="wandb run x: offline", warnings=["the text of hi is short"])
    table = pd.read_csv(folder / "perplexity.csv")
    own = table[table["deactivated"] == table["language"]]["increase_percent"]
    others = table[table["deactivated"].isin(CODES) & (table["deactivated"] != table["language"])]["increase_percent"]
    random = table[table["deactivated"] == "random"]["increase_percent"]
    lines = summary(Run(folder)).splitlines()
    assert lines[1] == "bloom-nano at step3000: 3 languages, 4 sentences each"
    assert lines[2].startswith("  LRDS ") and lines[2].split()[1] == "0.2113"
    end = 2 + len(measured(folder))
    assert [line.split("  ")[1] for line in lines[2:end]] == [score.title for score in measured(folder)]
    assert lines[end:] == [
        f"  Without a language's key region its perplexity rises by {own.mean():.0f} % on average (most: Arabic, 1,498 %),",
        f"  that of the other languages by {others.mean():.0f} %; as many random neurons as the largest region cost "
        f"{random.mean():.0f} %.",
        "  warning: the text of hi is short",
        f"  files  {folder}",
        f"  report {folder / 'report.html'}",
        "  wandb run x: offline",
    ]


def test_the_summary_writes_a_huge_increase_as_a_factor(folder):
    table = pd.read_csv(folder / "perplexity.csv", keep_default_na=False)
    increase = table["increase_percent"].where(table["language"] != table["deactivated"], 2.4e7)
    table.assign(increase_percent=increase).to_csv(folder / "perplexity.csv", index=False)
    assert "rises by ×240k on average" in summary(Run(folder))


def test_the_summary_of_a_run_with_few_stages_is_short(folder):
    for name in ("perplexity.csv", "cloze.csv"):
        (folder / name).unlink()
    nothing = dict.fromkeys(["lrds", "sads", "sklr", "sklr_fraction"])
    edit(folder / "metrics.json", **nothing, perplexity={}, cloze_accuracy={})
    edit(folder / "run.json", tracking=None, warnings=[])
    assert summary(Run(folder)).splitlines()[2:] == [f"  files  {folder}"]


def test_the_summary_of_perplexities_that_no_number_holds_says_so(folder):
    table = pd.read_csv(folder / "perplexity.csv", keep_default_na=False)
    table.assign(perplexity=math.inf, increase_percent=math.nan).to_csv(folder / "perplexity.csv", index=False)
    assert "  The perplexity of the whole model is too large for a number: what a region costs cannot be told." in summary(
        Run(folder)
    )


def test_doses_other_than_the_whole_one_do_not_change_the_losses(folder):
    before = summary(Run(folder))
    table = pd.read_csv(folder / "perplexity.csv").assign(dose=1.0)
    half = table[table["deactivated"].isin(CODES)].assign(dose=0.5, increase_percent=0.0)
    pd.concat([table, half]).to_csv(folder / "perplexity.csv", index=False)
    assert summary(Run(folder)) == before


def test_a_run_that_cannot_be_read_is_a_row_and_a_warning_of_the_sweep(sweep):
    (sweep / "a:b, step=0" / "run.json").write_text("{<", encoding="utf-8")
    text = sweep_page(sweep).text()
    assert "my <sweep> 4 runs: 2 done, 1 failed, 1 unreadable Before you" in text
    assert "job a:b, step=0 cannot be read and is left out: run.json=" in text
    assert "a:b, step=0 unreadable " in text
