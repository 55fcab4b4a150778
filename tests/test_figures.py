"""Figures and Table 1 say what the tables say: names, bars, cells, files."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from run_folders import LANGUAGES, OUTLIER, write_run_folder

from lf_experiments.languages import language_name
from lf_experiments.results import figures
from lf_experiments.results.figures import (
    FIGURES,
    cloze_deactivation,
    figure2_similarity_map,
    figure3_layer_scores,
    figure5_key_neurons_by_layer,
    figure6_key_neurons_by_language,
    letters,
    save_figures,
    stem,
    style,
    table1_deactivation,
    table2_generations,
)
from lf_experiments.results.figures.letters import drawable, is_right_to_left
from lf_experiments.results.tables import increase_text, perplexity_text, share_text
from lf_experiments.storage import write_json

CODES = ["en", "zh", "ar"]
NAMES = ["English", "Chinese", "Arabic"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run of three languages."""
    return write_run_folder(tmp_path / "run", CODES)


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch) -> None:
    """Few pixels: they take most of the time."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)


def tick_texts(axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def cell_texts(figure: Figure) -> list[list[str]]:
    """The numbers of the heat map, row by row."""
    cells = {tuple(reversed(text.get_position())): text.get_text() for text in figure.axes[0].texts}
    rows, columns = (1 + max(place[axis] for place in cells) for axis in (0, 1))
    return [[cells[row, column] for column in range(columns)] for row in range(rows)]


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").iterdir()} if (folder / "figures").exists() else set()


def test_every_figure_is_written_in_both_formats_and_nothing_else_is_left(folder):
    stems = save_figures(folder)

    assert stems == [stem(module) for module in FIGURES]
    expected = {f"{name}.{suffix}" for name in stems for suffix in ("png", "pdf")}
    tables = {f"{name}.{suffix}" for name in ("table1_deactivation", "table2_generations") for suffix in ("csv", "md")}
    assert files(folder) == expected | tables
    for name in stems:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_only_figures_whose_files_exist_are_drawn_and_stale_ones_go(folder):
    save_figures(folder)
    (folder / "perplexity.csv").unlink()
    (folder / "similarity.npy").unlink()
    (folder / "cloze.csv").unlink()
    (folder / "generations.csv").unlink()

    stems = save_figures(folder)

    assert stems == ["figure3_layer_scores", "figure5_key_neurons_by_layer", "figure6_key_neurons_by_language"]
    assert {Path(name).stem for name in files(folder)} == set(stems)


def test_an_empty_folder_has_no_figures(tmp_path):
    assert save_figures(tmp_path) == []
    assert files(tmp_path) == set()


def test_a_figure_that_fails_leaves_nothing(folder, monkeypatch):
    saved = Figure.savefig

    def fail_at_pdf(figure: Figure, path: Path, **options) -> None:
        saved(figure, path, **options)
        if path.suffix == ".pdf":
            raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", fail_at_pdf)
    with pytest.raises(OSError, match="disk full"):
        save_figures(folder)
    assert files(folder) == set()


def test_a_failing_draw_keeps_what_was_there(folder, monkeypatch):
    save_figures(folder)
    before = {name: (folder / "figures" / name).read_bytes() for name in files(folder)}

    def fail(_: Path) -> Figure:
        raise ValueError("no such column")

    monkeypatch.setattr(figure2_similarity_map, "draw", fail)
    with pytest.raises(ValueError, match="no such column"):
        save_figures(folder)
    assert {name: (folder / "figures" / name).read_bytes() for name in files(folder)} == before


def test_the_same_tables_give_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        figures.save_figure(figure5_key_neurons_by_layer.draw(folder), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


@pytest.mark.parametrize("module", FIGURES, ids=stem)
def test_the_title_names_model_and_step_where_they_are_known(folder, module):
    assert module.draw(folder).get_suptitle() == f"{module.TITLE}\nbloom-nano, training step 3,000"
    (folder / "metrics.json").unlink()
    assert module.draw(folder).get_suptitle() == module.TITLE


def test_the_title_names_the_checkpoint_where_its_step_is_unknown_and_takes_any_model_name(folder):
    facts = {"model": "models/$odd_{name$", "checkpoint": "final", "training_step": None}
    write_json(folder / "metrics.json", facts)
    figure = figure3_layer_scores.draw(folder)
    figure.draw_without_rendering()
    assert figure.get_suptitle().endswith("models/$odd_{name$, checkpoint final")


def test_a_long_model_name_stays_inside_the_picture(folder):
    write_json(folder / "metrics.json", {"model": "long_model_name/" * 12, "checkpoint": "final", "training_step": None})
    for module in FIGURES:
        figure = module.draw(folder)
        figure.draw_without_rendering()
        (title,) = [text for text in figure.findobj(Text) if text.get_text() == figure.get_suptitle()]
        assert figure.bbox.containsx(title.get_window_extent().x0)


def test_the_map_shows_the_data_with_names_at_the_block_centres(folder):
    axes = figure2_similarity_map.draw(folder).axes[0]

    for axis in (axes.xaxis, axes.yaxis):
        assert tick_texts(axis) == NAMES
        assert list(axis.get_ticklocs()) == [1.5, 5.5, 9.5]
    similarity_SS = np.load(folder / "similarity.npy")
    np.testing.assert_array_equal(axes.images[0].get_array(), similarity_SS)
    low, high = axes.images[0].get_clim()
    assert similarity_SS.min() <= low < high < 1


def test_the_scale_of_the_map_ignores_the_similarity_of_a_sentence_with_itself(folder):
    similarity_SS = np.full((12, 12), 0.25, dtype=np.float32)
    similarity_SS[0, 1] = similarity_SS[1, 0] = -0.25
    np.fill_diagonal(similarity_SS, 1)
    np.save(folder / "similarity.npy", similarity_SS)
    assert figure2_similarity_map.draw(folder).axes[0].images[0].get_clim()[1] == 0.25


def test_layer_scores_are_the_columns_of_the_table_over_integer_layers(folder):
    table = pd.read_csv(folder / "layers.csv")
    figure = figure3_layer_scores.draw(folder)
    figure.draw_without_rendering()
    for axes, column in zip(figure.axes, ["lrds", "sads"], strict=True):
        assert axes.get_ylabel() == column.upper()
        (line,) = axes.lines
        assert list(line.get_xdata()) == [0, 1, 2]
        assert list(line.get_ydata()) == list(table[column])
        assert all(float(tick) == int(tick) for tick in axes.get_xticks())


def test_bars_by_layer_are_the_counts_stacked_by_language(folder):
    table = pd.read_csv(folder / "regions.csv")
    axes = figure5_key_neurons_by_layer.draw(folder).axes[0]

    assert [container.get_label() for container in axes.containers] == NAMES
    for code, container in zip(CODES, axes.containers, strict=True):
        assert [bar.get_height() for bar in container] == list(table[table["language"] == code]["key_neurons"])
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
    assert tops == list(table.groupby("layer")["key_neurons"].sum())


def test_bars_by_language_are_the_counts_with_their_share(folder):
    table = pd.read_csv(folder / "regions.csv").groupby("language", sort=False).sum()
    axes = figure6_key_neurons_by_language.draw(folder).axes[0]

    assert tick_texts(axes.xaxis) == NAMES
    assert [bar.get_height() for bar in axes.patches] == list(table["key_neurons"])
    shares = [f"{100 * key / neurons:.1f}%" for key, neurons in zip(table["key_neurons"], table["neurons"], strict=True)]
    assert [text.get_text() for text in axes.texts] == shares


def test_regions_without_a_key_neuron_can_be_drawn(folder):
    table = pd.read_csv(folder / "regions.csv").assign(key_neurons=0)
    table.to_csv(folder / "regions.csv", index=False)
    for module in (figure5_key_neurons_by_layer, figure6_key_neurons_by_language):
        figure = module.draw(folder)
        figure.draw_without_rendering()
        assert {bar.get_height() for bar in figure.axes[0].patches} == {0}


def test_cells_are_the_increases_and_random_is_the_mean_over_draws(folder):
    table = pd.read_csv(folder / "perplexity.csv")

    def increase(language: str, deactivated: str) -> float:
        cells = table[(table["language"] == language) & (table["deactivated"] == deactivated)]
        assert len(cells) == (2 if deactivated == "random" else 1)
        return cells["increase_percent"].mean()

    figure = table1_deactivation.draw(folder)
    expected = [[increase_text(increase(language, off)) for off in [*CODES, "random"]] for language in CODES]
    assert cell_texts(figure) == expected
    assert expected[2][2] == f"{OUTLIER:,.0f}"
    assert expected[1][0] == "−0.4"
    assert tick_texts(figure.axes[0].xaxis) == [*NAMES, "Random neurons"]
    assert tick_texts(figure.axes[0].yaxis) == ["English (13.94)", "Chinese (24.01)", "Arabic (14.45)"]


def test_one_outlier_leaves_the_other_colours_apart(folder):
    image = table1_deactivation.draw(folder).axes[0].images[0]
    assert float(image.norm(20.0) - image.norm(2.0)) > 0.2


def test_cells_without_a_finite_number_are_drawn(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    table.loc[(table["deactivated"] == "en") & (table["language"] == "en"), "increase_percent"] = np.inf
    table = table[(table["deactivated"] != "zh") | (table["language"] != "zh")]
    table = table[table["deactivated"] != "random"]
    table.to_csv(folder / "perplexity.csv", index=False)

    figure = table1_deactivation.draw(folder)
    figure.draw_without_rendering()
    assert cell_texts(figure)[0][0] == "∞"
    assert cell_texts(figure)[1][1] == "–"
    colours = figure.axes[0].images[0].get_array()
    assert colours[0, 0] == colours.max() and colours.mask[1, 1]
    assert tick_texts(figure.axes[0].xaxis) == NAMES
    assert list(table1_deactivation.wide_table(folder).columns) == ["Full model", "× English", "× Chinese", "× Arabic"]


def test_the_wide_table_is_the_papers_table_1(folder):
    perplexity = pd.read_csv(folder / "perplexity.csv").set_index(["deactivated", "language"])
    sizes = pd.read_csv(folder / "regions.csv").groupby("language", sort=False)[["key_neurons", "neurons"]].sum()
    share = 100 * sizes["key_neurons"] / sizes["neurons"]
    wide = table1_deactivation.wide_table(folder)

    assert list(wide.index) == [*NAMES, "Key neurons", "Key neurons, % of all"]
    assert list(wide.columns) == ["Full model", f"Random {share.max():.1f}%", *(f"× {name}" for name in NAMES)]
    assert list(wide["Full model"][:3]) == [13.94, 24.01, 14.45]
    for code in CODES:
        column = wide[f"× {language_name(code)}"]
        assert list(column[:3]) == list(perplexity.loc[code]["increase_percent"])
        assert column["Key neurons"] == sizes.loc[code, "key_neurons"]
        assert column["Key neurons, % of all"] == pytest.approx(share[code])
    assert wide.iloc[3, 1] == sizes["key_neurons"].max()


def test_the_saved_table_reads_back(folder):
    save_figures(folder)
    read = pd.read_csv(folder / "figures" / "table1_deactivation.csv", index_col="Language")
    wide = table1_deactivation.wide_table(folder)
    assert list(read.columns) == list(wide.columns)
    np.testing.assert_allclose(read.to_numpy(float), wide.to_numpy(float))
    lines = (folder / "figures" / "table1_deactivation.md").read_text(encoding="utf-8").splitlines()
    assert [cell.strip() for cell in lines[4].split("|")[1:3]] == ["Arabic", "14.45"]
    assert lines[4].split("|")[-2].strip() == "1,498%"


def drawn_texts(figure: Figure) -> list[str]:
    """Everything written into the table of generated text, cell by cell, each line by itself."""
    return [text.get_text() for text in figure.axes[0].texts]


def test_the_text_table_has_every_text_of_the_first_languages(tmp_path):
    folder = write_run_folder(tmp_path, ["en", "fr", "vi", "zh"])
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    found = drawn_texts(table2_generations.draw(folder))
    assert found[:5] == ["Sentence", "Full model", "× English", "× French", "× Vietnamese"]
    first = table[~table["language"].isin(["zh"]) & ~table["deactivated"].isin(["zh"])]
    assert len(first) == 24
    assert " ".join(found).count("script 100.0%, repeated 12.5%") == (first["script_share"] == "1.0").sum() == 18
    assert found.count("(nothing)") == (first["text"] == "").sum() == 3
    assert found.count("repeated 0.0%") == 3
    for row in first[first["script_share"] == "1.0"].itertuples():
        assert row.text in found
    assert found.count("light 0 <script>?") == 1 and "Chinese" not in found


def test_the_cell_of_a_language_without_its_own_region_is_tinted(folder):
    axes = table2_generations.draw(folder).axes[0]
    corners = [(patch.get_x(), patch.get_y()) for patch in axes.patches]
    heads = {text.get_text(): text.get_position()[0] for text in axes.texts[:5]}
    places = {text.get_text(): text.get_position() for text in axes.texts if text.get_text() == "(nothing)"}
    assert len(corners) == 6
    assert [x for x, _ in corners] == [heads[f"× {name}"] - 1 for name in NAMES for _ in range(2)]
    assert places["(nothing)"][0] - 1 in {x for x, _ in corners}


def test_long_texts_are_wrapped_and_cut_and_stay_in_their_cells(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    table["text"] = ["Word 12345 " * 60 if number % 2 else "x" * 400 for number in range(len(table))]
    table.to_csv(folder / "generations.csv", index=False)
    figure = table2_generations.draw(folder)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert sum(text.get_text().endswith("…") for text in axes.texts) == len(table)
    width = axes.transData.transform((37, 0))[0] - axes.transData.transform((0, 0))[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert max(box.width for box in boxes) < width
    for box in boxes:
        assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1)
        assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1)
    columns = {}
    for box in boxes:
        columns.setdefault(round(box.x0), []).append(box)
    for column in columns.values():
        assert all(lower.y1 <= upper.y0 + 2 for upper, lower in pairwise(sorted(column, key=lambda box: -box.y0)))


def test_text_that_runs_from_right_to_left_stands_at_the_right(tmp_path, monkeypatch):
    monkeypatch.setattr(letters, "JOINS_LETTERS", True)
    axes = table2_generations.draw(write_run_folder(tmp_path, ["ar", "en"])).axes[0]
    sides = {text.get_text(): text.get_horizontalalignment() for text in axes.texts}
    assert sides["النور كان, النور كان & 0."] == "right"
    assert sides["light, light & 0."] == "left"


def test_the_text_table_as_numbers_and_as_markdown_holds_every_text(folder):
    save_figures(folder)
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    read = pd.read_csv(folder / "figures" / "table2_generations.csv", keep_default_na=False)
    assert list(read.columns) == ["Language", "Sentence", "Full model", *(f"× {name}" for name in NAMES)]
    assert list(read["Language"]) == [name for name in NAMES for _ in range(2)]
    for code, column in zip(["none", *CODES], read.columns[2:], strict=True):
        rows = table[table["deactivated"] == code]
        assert list(read[column]) == list(rows["text"])
        assert list(read["Sentence"]) == list(rows["prompt"])
    lines = (folder / "figures" / "table2_generations.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 + len(read)
    assert {line.count("|") for line in lines} == {len(read.columns) + 1}
    assert "ab �� &#124; ab &lt;script&gt;alert(1)&lt;/script&gt;<br>ab ab<br>(script 25.0%, repeated 50.0%)" in lines[2]
    assert "(nothing)<br>(repeated 0.0%)" in lines[3]


def test_the_columns_of_the_text_table_stand_in_the_order_of_its_rows(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False)
    pd.concat([table.query("language == @code") for code in ("ar", "en", "zh")]).to_csv(folder / "generations.csv", index=False)
    expected = ["Full model", "× Arabic", "× English", "× Chinese"]
    assert list(table2_generations.wide_table(folder).columns) == expected
    assert drawn_texts(table2_generations.draw(folder))[:5] == ["Sentence", *expected]
    assert len(table2_generations.draw(folder).axes[0].patches) == 6


def test_the_same_sentence_twice_has_two_rows(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False).assign(prompt="same")
    table.to_csv(folder / "generations.csv", index=False)
    assert len(table2_generations.wide_table(folder)) == 6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lumière ế", "lumière ế"),
        ("  two\n\tlines ", "two lines"),
        ("在花 and 园", "[2\xa0letters] and [1\xa0letter]"),
        ("बच्चा बगीचे", "[10\xa0letters]"),
        ("a\ufffdb", "a\ufffdb"),
        ("a\x00b", "a[1\xa0letter]b"),
        ("a\u202eb\u200d", "ab"),
        ("", ""),
    ],
)
def test_what_the_font_lacks_is_counted(text, shown):
    assert drawable(text) == shown


def test_right_to_left_text_is_drawn_where_letters_are_joined_and_counted_elsewhere(monkeypatch):
    monkeypatch.setattr(letters, "JOINS_LETTERS", True)
    assert drawable("كان x") == "كان x"
    monkeypatch.setattr(letters, "JOINS_LETTERS", False)
    assert drawable("كان x") == "[3\xa0letters] x"


@pytest.mark.parametrize(("text", "expected"), [("12, كان x", True), ("x كان", False), ("12", False), ("", False)])
def test_the_first_letter_says_the_direction(text, expected):
    assert is_right_to_left(text) is expected


def test_no_glyph_is_missing_from_any_picture(tmp_path, recwarn):
    folder = write_run_folder(tmp_path, ["zh", "hi", "ar"])
    for module in FIGURES:
        module.draw(folder).draw_without_rendering()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def cloze_points(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """The points of the story cloze by their name in the legend."""
    lines = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    return {line.get_label(): [tuple(point) for point in line.get_xydata().tolist()] for line in lines}


def test_the_points_of_the_story_cloze_are_the_rows_of_the_table(folder):
    table = pd.read_csv(folder / "cloze.csv")
    figure = cloze_deactivation.draw(folder)
    points = cloze_points(figure)
    is_own = table["deactivated"] == table["language"]
    is_whole, is_random = table["deactivated"] == "none", table["deactivated"] == "random"
    kinds = {
        "Full model (± standard error)": is_whole,
        "Without its own key region": is_own,
        "Without the key region of another language": ~is_own & ~is_whole & ~is_random,
        "Without random neurons": is_random,
    }
    assert list(points) == list(kinds)
    for name, rows in kinds.items():
        assert [CODES[round(x)] for x, _ in points[name]] == list(table[rows]["language"])
        assert [accuracy for _, accuracy in points[name]] == list(table[rows]["accuracy"])
    assert tick_texts(figure.axes[0].xaxis) == NAMES
    (bars,) = [bars for bars in figure.axes[0].collections if len(bars.get_segments()) == 3]
    for segment, row in zip(bars.get_segments(), table[is_whole].itertuples(), strict=True):
        assert segment[:, 1].tolist() == pytest.approx([row.accuracy - row.stderr, row.accuracy + row.stderr])


def test_without_regions_the_story_cloze_is_of_the_full_model(folder):
    table = pd.read_csv(folder / "cloze.csv")
    table[table["deactivated"] == "none"].assign(stderr=None).to_csv(folder / "cloze.csv", index=False)
    figure = cloze_deactivation.draw(folder)
    figure.draw_without_rendering()
    assert list(cloze_points(figure)) == ["Full model (± standard error)"]
    assert [x for x, _ in cloze_points(figure)["Full model (± standard error)"]] == [0, 1, 2]


def test_words_that_pandas_takes_for_missing_stay_words(folder):
    for name in ("regions.csv", "perplexity.csv", "samples.csv", "cloze.csv", "generations.csv"):
        table = pd.read_csv(folder / name).replace("zh", "nan")
        table.to_csv(folder / name, index=False)
    save_figures(folder)
    assert tick_texts(figure2_similarity_map.draw(folder).axes[0].xaxis) == ["English", "nan", "Arabic"]
    assert "× nan" in table1_deactivation.wide_table(folder).columns
    assert tick_texts(cloze_deactivation.draw(folder).axes[0].xaxis) == ["English", "nan", "Arabic"]
    assert "× nan" in table2_generations.wide_table(folder).columns


def test_languages_keep_their_colour_and_twelve_are_told_apart():
    assert style.language_colours(["ar", "en"])["ar"] == style.language_colours(LANGUAGES)["ar"]
    for codes in ([*LANGUAGES, "aa", "bb", "cc"], [f"x{number}" for number in range(12)]):
        assert len(set(style.language_colours(codes).values())) == 12
    assert len(style.language_colours([f"x{number}" for number in range(15)])) == 15


@pytest.mark.parametrize("languages", [LANGUAGES[:2], LANGUAGES], ids=len)
@pytest.mark.parametrize("layers", [3, 80])
@pytest.mark.parametrize("module", FIGURES, ids=stem)
def test_labels_stay_apart_and_inside_the_picture(tmp_path, languages, layers, module):
    figure = module.draw(write_run_folder(tmp_path, languages, layers))
    figure.draw_without_rendering()
    for axis in [axis for axes in figure.axes if axes.axison for axis in (axes.xaxis, axes.yaxis)]:
        low, high = sorted(axis.get_view_interval())
        labels = [
            label for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True) if low <= place <= high
        ]
        for label in labels:
            assert figure.bbox.containsx(label.get_window_extent().x0) and figure.bbox.containsx(label.get_window_extent().x1)
            assert figure.bbox.containsy(label.get_window_extent().y0) and figure.bbox.containsy(label.get_window_extent().y1)
        for one, other in pairwise(labels):
            assert distance(one, other) > 0


def distance(one: Text, other: Text) -> float:
    """The gap between two neighbouring labels in pixels, across their lines of text where they are slanted."""
    first, second = one.get_window_extent(), other.get_window_extent()
    if one.get_rotation():
        line = one.get_fontsize() * one.get_figure().dpi / 72
        return (second.x1 - first.x1) * math.sin(math.radians(one.get_rotation())) - line
    return max(second.x0 - first.x1, abs(second.y0 - first.y0) - max(first.height, second.height))


@pytest.mark.parametrize(
    ("percent", "text"),
    [(12.4, "12"), (1498, "1,498"), (3.14, "3.1"), (-0.04, "0.0"), (-3.2, "−3.2"), (float("inf"), "∞"), (float("nan"), "–")],
)
def test_increases_as_text(percent, text):
    assert increase_text(percent) == text


def test_large_increases_stay_short():
    assert len(increase_text(123_456_789.0)) <= 7


@pytest.mark.parametrize(("share", "text"), [(0.0319, "3.2%"), (0, "0.0%"), (0.0001, "0.01%"), (1, "100.0%")])
def test_shares_as_text(share, text):
    assert share_text(share) == text


@pytest.mark.parametrize(("perplexity", "text"), [(14.449, "14.45"), (25088.2, "25,088")])
def test_perplexities_as_text(perplexity, text):
    assert perplexity_text(perplexity) == text
