"""What a page and the terminal say of intervals, shuffled labels, baselines and halves, and that they say nothing without."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from run_folders import write_run_folder

from lf_experiments.figures import figure5_key_neurons_by_layer, figure6_key_neurons_by_language, style
from lf_experiments.report import trust
from lf_experiments.report.of_run import sections_of_run
from lf_experiments.report.summary import score_lines
from lf_experiments.runs.run import Run

CODES = ["en", "zh", "fr"]
TRUST = {
    "lrds_lo": 0.2, "lrds_hi": 0.22, "lrds_p": 0.0099, "sads_p": 0.31, "sklr": 120, "sklr_null": 80.4, "sklr_null_lo": 70.0,
    "sklr_null_hi": 91.0, "sklr_excess": 39.6, "sklr_p": 0.0099, "sklr_floor": 0.149,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run without any of it."""
    return write_run_folder(tmp_path / "run", CODES)


@pytest.fixture
def trusted(folder: Path) -> Path:
    """The same run with all of it."""
    edit(folder, **TRUST)
    regions = pd.read_csv(folder / "regions.csv")
    regions = regions.assign(null_mean=2.5, excess=regions["key_neurons"] - 2.5, replicated=1)
    regions.to_csv(folder / "regions.csv", index=False)
    rows = [
        ("tokens", "lrds", 0.25, 0.24, 0.26, -0.04, -0.05, -0.03),
        ("random_weights", "lrds", 0.2, 0.1, 0.3, 0.01, -0.1, 0.1),
    ]
    columns = ["baseline", "score", "value", "lo", "hi", "difference", "difference_lo", "difference_hi"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "baselines.csv", index=False)
    halves = {"method": "zscore", "language": CODES, "size": [10, 0, 5], "dice": [0.5, 0, 0.25], "stability": [0.4, -1e-9, 0.1]}
    pd.DataFrame({**halves, "precision": 0.5, "precision_replicated": 0.9}).to_csv(folder / "stability.csv", index=False)
    return folder


def edit(folder: Path, **values: object) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | values))


def text_of(folder: Path, section: str) -> str:
    (found,) = [part for part in sections_of_run(Run(folder)) if part.id == section]
    return " ".join(re.sub(r"<[^>]+>", " ", " ".join(map(str, found.blocks))).split())


def test_numbers_have_their_intervals_nulls_and_a_sentence_each(trusted: Path) -> None:
    text = text_of(trusted, "numbers")
    assert "0.2113 (0.2000, 0.2200)" in text
    assert "120, shuffled 80" in text
    assert "4 meanings are few" in text
    assert "LRDS is more than chance" in text
    assert "SADS is no more than chance may give" in text
    assert (
        "with the languages shuffled 80 (70, 91) neurons are key, and 120 with the true ones. Noise alone makes 14.9%" in text
    )
    assert any("120, shuffled 80 " in line for line in score_lines(Run(trusted)))


def test_a_score_inside_its_null_is_said_plainly(trusted: Path) -> None:
    edit(trusted, sklr_p=0.4)
    assert "SKLR lies within what shuffled languages give: the rule finds no more than chance here." in text_of(
        trusted, "numbers"
    )


def test_baselines_stand_beside_the_model(trusted: Path) -> None:
    text = text_of(trusted, "baselines")
    assert "Score Model Tokens alone Model less tokens alone Random weights Model less random weights" in text
    assert "LRDS 0.2113 (0.2000, 0.2200) 0.2500 (0.2400, 0.2600) -0.0400 (-0.0500, -0.0300) 0.2000 (0.1000, 0.3000)" in text


def test_a_run_without_one_of_the_baselines_has_no_column_of_it(trusted: Path) -> None:
    table = pd.read_csv(trusted / "baselines.csv").query("baseline == 'tokens'")
    table.to_csv(trusted / "baselines.csv", index=False)
    assert "Random weights" not in text_of(trusted, "baselines")


def test_halves_are_told_by_language(trusted: Path) -> None:
    assert "English 10 0.50 0.40 50.0% 90.0% 3 Chinese 0 0.00 0.00 50.0% 90.0% 3" in text_of(trusted, "replication")


def test_a_run_without_any_of_it_says_nothing_of_it(folder: Path) -> None:
    assert trust.notes(Run(folder)) == []
    assert not {"baselines", "replication"} & {part.id for part in sections_of_run(Run(folder))}
    assert "shuffled" not in " ".join(score_lines(Run(folder)))


@pytest.mark.parametrize("figure", [figure5_key_neurons_by_layer, figure6_key_neurons_by_language])
def test_the_null_is_drawn_where_it_is_known(figure, folder: Path, request: pytest.FixtureRequest) -> None:
    def nulls() -> list:
        axes = figure.FIGURE.picture(Run(folder)).axes[0]
        return [artist for artist in axes.get_children() if artist.get_gid() == style.NULL]

    assert nulls() == []
    request.getfixturevalue("trusted")
    (null,) = nulls()
    if figure is figure5_key_neurons_by_layer:
        assert null.get_ydata().tolist() == [2.5 * len(CODES)] * 3
    else:
        assert [segment[0][1] for segment in null.get_segments()] == [7.5] * len(CODES)
