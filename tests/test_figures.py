"""Figures and Table 1 say what the tables say: names, bars, cells, files."""

import math
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.text import Text
from run_folders import BEFORE, LANGUAGES, OUTLIER, cloze_table, pair_scores, region_table, write_run_folder

from lf_experiments.figures import (
    cloze_deactivation,
    dose_response,
    drawable,
    figure2_similarity_map,
    figure3_layer_scores,
    figure5_key_neurons_by_layer,
    figure6_key_neurons_by_language,
    language_pairs,
    language_tree,
    save,
    style,
    table1_deactivation,
    table2_generations,
)
from lf_experiments.figures.catalogue import FIGURES
from lf_experiments.figures.drawable import is_right_to_left
from lf_experiments.figures.figure import drawn_alike
from lf_experiments.figures.save import save_picture
from lf_experiments.languages import LANGUAGES as LANGUAGE_TABLE
from lf_experiments.languages import language_name
from lf_experiments.runs.run import Run
from lf_experiments.runs.text import increase_text, perplexity_text, share_text
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


def picture(module: ModuleType, folder: Path) -> Figure:
    """The figure of a module."""
    return module.FIGURE.picture(Run(folder))


def save_figures(folder: Path) -> list[str]:
    return save.save_figures(Run(folder))


def stem(figure: object) -> str:
    return figure.stem


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

    assert stems == [figure.stem for figure in FIGURES]
    expected = {f"{name}.{suffix}" for name in stems for suffix in ("png", "pdf")}
    tables = {f"{name}.{suffix}" for name in ("table1_deactivation", "table2_generations") for suffix in ("csv", "md")}
    assert files(folder) == expected | tables
    for name in stems:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_only_figures_whose_files_exist_are_drawn_and_stale_ones_go(folder):
    save_figures(folder)
    (folder / "perplexity.csv").unlink()
    (folder / "doses.csv").unlink()
    (folder / "similarity.npy").unlink()
    (folder / "cloze.csv").unlink()
    (folder / "generations.csv").unlink()
    (folder / "pairs.csv").unlink()

    stems = save_figures(folder)

    assert stems == ["figure3_layer_scores", "figure5_key_neurons_by_layer", "figure6_key_neurons_by_language"]
    assert {Path(name).stem for name in files(folder)} == set(stems)


def test_an_empty_folder_has_no_figures(tmp_path):
    assert save_figures(tmp_path) == []
    assert files(tmp_path) == set()


def test_a_figure_that_fails_leaves_nothing(folder, monkeypatch):
    written = FigureCanvasPdf.print_pdf

    def fail_after(canvas: FigureCanvasPdf, path: Path, **options) -> None:
        written(canvas, path, **options)
        raise OSError("disk full")

    monkeypatch.setattr(FigureCanvasPdf, "print_pdf", fail_after)
    with pytest.raises(OSError, match="disk full"):
        save_figures(folder)
    assert files(folder) == set()


def test_a_failing_draw_keeps_what_was_there(folder, monkeypatch):
    save_figures(folder)
    before = {name: (folder / "figures" / name).read_bytes() for name in files(folder)}

    def fail(*_: object) -> Figure:
        raise ValueError("no such column")

    monkeypatch.setattr(figure2_similarity_map.style, "new_figure", fail)
    with pytest.raises(ValueError, match="no such column"):
        save_figures(folder)
    assert {name: (folder / "figures" / name).read_bytes() for name in files(folder)} == before


def test_the_same_tables_give_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        save_picture(picture(figure5_key_neurons_by_layer, folder), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


@pytest.mark.parametrize("figure", FIGURES, ids=stem)
def test_the_title_names_model_and_step_where_they_are_known(folder, figure):
    assert figure.picture(Run(folder)).get_suptitle() == f"{figure.title}\nbloom-nano, training step 3,000"
    (folder / "metrics.json").unlink()
    assert figure.picture(Run(folder)).get_suptitle() == figure.title


def test_the_title_names_the_checkpoint_where_its_step_is_unknown_and_takes_any_model_name(folder):
    facts = {"model": "models/$odd_{name$", "checkpoint": "final", "training_step": None}
    write_json(folder / "metrics.json", facts)
    figure = picture(figure3_layer_scores, folder)
    figure.draw_without_rendering()
    assert figure.get_suptitle().endswith("models/$odd_{name$, checkpoint final")


def test_a_long_model_name_stays_inside_the_picture(folder):
    write_json(folder / "metrics.json", {"model": "long_model_name/" * 12, "checkpoint": "final", "training_step": None})
    for figure in FIGURES:
        figure = figure.picture(Run(folder))
        figure.draw_without_rendering()
        (title,) = [text for text in figure.findobj(Text) if text.get_text() == figure.get_suptitle()]
        assert figure.bbox.containsx(title.get_window_extent().x0)


def test_the_map_shows_the_data_with_names_at_the_block_centres(folder):
    axes = picture(figure2_similarity_map, folder).axes[0]

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
    assert picture(figure2_similarity_map, folder).axes[0].images[0].get_clim()[1] == 0.25


def test_layer_scores_are_the_columns_of_the_table_over_integer_layers(folder):
    table = pd.read_csv(folder / "layers.csv")
    figure = picture(figure3_layer_scores, folder)
    figure.draw_without_rendering()
    for axes, column in zip(figure.axes, ["lrds", "sads"], strict=True):
        assert axes.get_ylabel() == column.upper()
        (line,) = axes.lines
        assert list(line.get_xdata()) == [0, 1, 2]
        assert list(line.get_ydata()) == list(table[column])
        assert all(float(tick) == int(tick) for tick in axes.get_xticks())


def test_bars_by_layer_are_the_counts_stacked_by_language(folder):
    table = pd.read_csv(folder / "regions.csv")
    axes = picture(figure5_key_neurons_by_layer, folder).axes[0]

    assert [container.get_label() for container in axes.containers] == NAMES
    for code, container in zip(CODES, axes.containers, strict=True):
        assert [bar.get_height() for bar in container] == list(table[table["language"] == code]["key_neurons"])
    tops = [bar.get_y() + bar.get_height() for bar in axes.containers[-1]]
    assert tops == list(table.groupby("layer")["key_neurons"].sum())


def test_bars_by_language_are_the_counts_with_their_share(folder):
    table = pd.read_csv(folder / "regions.csv").groupby("language", sort=False).sum()
    axes = picture(figure6_key_neurons_by_language, folder).axes[0]

    assert tick_texts(axes.xaxis) == NAMES
    assert [bar.get_height() for bar in axes.patches] == list(table["key_neurons"])
    shares = [f"{100 * key / neurons:.1f}%" for key, neurons in zip(table["key_neurons"], table["neurons"], strict=True)]
    assert [text.get_text() for text in axes.texts] == shares


def test_regions_without_a_key_neuron_can_be_drawn(folder):
    table = pd.read_csv(folder / "regions.csv").assign(key_neurons=0)
    table.to_csv(folder / "regions.csv", index=False)
    for module in (figure5_key_neurons_by_layer, figure6_key_neurons_by_language):
        figure = picture(module, folder)
        figure.draw_without_rendering()
        assert {bar.get_height() for bar in figure.axes[0].patches} == {0}


def test_cells_are_the_increases_and_random_is_the_mean_over_draws(folder):
    table = pd.read_csv(folder / "perplexity.csv")

    def increase(language: str, deactivated: str) -> float:
        cells = table[(table["language"] == language) & (table["deactivated"] == deactivated)]
        assert len(cells) == (2 if deactivated == "random" else 1)
        return cells["increase_percent"].mean()

    figure = picture(table1_deactivation, folder)
    expected = [[increase_text(increase(language, off)) for off in [*CODES, "random"]] for language in CODES]
    assert cell_texts(figure) == expected
    assert expected[2][2] == f"{OUTLIER:,.0f}"
    assert expected[1][0] == "−0.4"
    assert tick_texts(figure.axes[0].xaxis) == [*NAMES, "Random neurons"]
    assert tick_texts(figure.axes[0].yaxis) == ["English (13.94)", "Chinese (24.01)", "Arabic (14.45)"]


def test_matched_random_neurons_are_a_column_and_undecided_cells_are_in_italics(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    ratio = np.log1p(table["increase_percent"] / 100)
    table = table.assign(matches="", lo=ratio - 0.01, hi=ratio + 0.01)
    matched = table.query("deactivated == 'random'")
    matched = matched.assign(matches=matched["language"], increase_percent=7.0 + matched["draw"])
    pd.concat([table, matched]).to_csv(folder / "perplexity.csv", index=False)
    figure = picture(table1_deactivation, folder)
    assert tick_texts(figure.axes[0].xaxis) == [*NAMES, "Random neurons", "Matched random"]
    assert [row[-1] for row in cell_texts(figure)] == ["7.5"] * len(CODES)
    slanted = {
        (round(text.get_position()[1]), round(text.get_position()[0]))
        for text in figure.axes[0].texts
        if text.get_fontstyle() == "italic"
    }
    includes_0 = {
        (CODES.index(row.language), CODES.index(row.deactivated))
        for row in table.itertuples()
        if row.deactivated in CODES and row.lo <= 0 <= row.hi
    }
    assert (1, 0) in includes_0
    assert slanted == includes_0
    wide = table1_deactivation.wide_table(Run(folder))
    assert wide["Matched random"].tolist()[:-2] == [7.5] * len(CODES)
    assert list(table1_deactivation.wide_text(Run(folder))["Matched random"])[-2:] == ["", ""]


def test_one_outlier_leaves_the_other_colours_apart(folder):
    image = picture(table1_deactivation, folder).axes[0].images[0]
    assert float(image.norm(20.0) - image.norm(2.0)) > 0.2


def test_increases_that_no_number_holds_are_drawn_too(folder):
    table = pd.read_csv(folder / "perplexity.csv", keep_default_na=False)
    table.assign(increase_percent=np.nan).to_csv(folder / "perplexity.csv", index=False)
    cells = [text.get_text() for text in picture(table1_deactivation, folder).axes[0].texts]
    assert cells and set(cells) == {"–"}


def test_cells_without_a_finite_number_are_drawn(folder):
    table = pd.read_csv(folder / "perplexity.csv")
    table.loc[(table["deactivated"] == "en") & (table["language"] == "en"), "increase_percent"] = np.inf
    table = table[(table["deactivated"] != "zh") | (table["language"] != "zh")]
    table = table[table["deactivated"] != "random"]
    table.to_csv(folder / "perplexity.csv", index=False)

    figure = picture(table1_deactivation, folder)
    figure.draw_without_rendering()
    assert cell_texts(figure)[0][0] == "∞"
    assert cell_texts(figure)[1][1] == "–"
    colours = figure.axes[0].images[0].get_array()
    assert colours[0, 0] == colours.max() and colours.mask[1, 1]
    assert tick_texts(figure.axes[0].xaxis) == NAMES
    assert list(table1_deactivation.wide_table(Run(folder)).columns) == ["Full model", "× English", "× Chinese", "× Arabic"]


def test_the_wide_table_is_the_papers_table_1(folder):
    perplexity = pd.read_csv(folder / "perplexity.csv").set_index(["deactivated", "language"])
    sizes = pd.read_csv(folder / "regions.csv").groupby("language", sort=False)[["key_neurons", "neurons"]].sum()
    share = 100 * sizes["key_neurons"] / sizes["neurons"]
    wide = table1_deactivation.wide_table(Run(folder))

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
    wide = table1_deactivation.wide_table(Run(folder))
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
    found = drawn_texts(picture(table2_generations, folder))
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
    axes = picture(table2_generations, folder).axes[0]
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
    figure = picture(table2_generations, folder)
    axes = figure.axes[0]
    assert sum(text.get_text().endswith("…") for text in axes.texts) == len(table)
    with drawn_alike():
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
    width = axes.transData.transform((37, 0))[0] - axes.transData.transform((0, 0))[0]
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
    monkeypatch.setattr(drawable, "JOINS_LETTERS", True)
    axes = picture(table2_generations, write_run_folder(tmp_path, ["ar", "en"])).axes[0]
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
    assert list(table2_generations.wide_table(Run(folder)).columns) == expected
    assert drawn_texts(picture(table2_generations, folder))[:5] == ["Sentence", *expected]
    assert len(picture(table2_generations, folder).axes[0].patches) == 6


def test_the_same_sentence_twice_has_two_rows(folder):
    table = pd.read_csv(folder / "generations.csv", keep_default_na=False).assign(prompt="same")
    table.to_csv(folder / "generations.csv", index=False)
    assert len(table2_generations.wide_table(Run(folder))) == 6


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
@pytest.mark.usefixtures("one_font")
def test_what_the_font_lacks_is_counted(text, shown):
    assert drawable.drawable(text) == shown


def test_right_to_left_text_is_drawn_where_letters_are_joined_and_counted_elsewhere(monkeypatch):
    monkeypatch.setattr(drawable, "JOINS_LETTERS", True)
    assert drawable.drawable("كان x") == "كان x"
    monkeypatch.setattr(drawable, "JOINS_LETTERS", False)
    assert drawable.drawable("كان x") == "[3\xa0letters] x"


@pytest.mark.parametrize(("text", "expected"), [("12, كان x", True), ("x كان", False), ("12", False), ("", False)])
def test_the_first_letter_says_the_direction(text, expected):
    assert is_right_to_left(text) is expected


def test_no_glyph_is_missing_from_any_picture(tmp_path, recwarn):
    folder = write_run_folder(tmp_path, ["zh", "hi", "ar"])
    for figure in FIGURES:
        figure.picture(Run(folder)).draw_without_rendering()
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def cloze_points(figure: Figure) -> dict[str, list[tuple[float, float]]]:
    """The points of the story cloze by their name in the legend."""
    lines = [line for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    return {line.get_label(): [tuple(point) for point in line.get_xydata().tolist()] for line in lines}


def test_the_points_of_the_story_cloze_are_the_rows_of_the_table(folder):
    table = pd.read_csv(folder / "cloze.csv")
    figure = picture(cloze_deactivation, folder)
    points = cloze_points(figure)
    is_own = table["deactivated"] == table["language"]
    is_whole, is_random = table["deactivated"] == "none", table["deactivated"] == "random"
    kinds = {
        "Full model, with its interval": is_whole,
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
    figure = picture(cloze_deactivation, folder)
    figure.draw_without_rendering()
    assert list(cloze_points(figure)) == ["Full model, with its interval"]
    assert [x for x, _ in cloze_points(figure)["Full model, with its interval"]] == [0, 1, 2]


def test_words_that_pandas_takes_for_missing_stay_words(folder):
    for name in ("regions.csv", "perplexity.csv", "samples.csv", "cloze.csv", "generations.csv"):
        table = pd.read_csv(folder / name).replace("zh", "nan")
        table.to_csv(folder / name, index=False)
    save_figures(folder)
    assert tick_texts(picture(figure2_similarity_map, folder).axes[0].xaxis) == ["English", "nan", "Arabic"]
    assert "× nan" in table1_deactivation.wide_table(Run(folder)).columns
    assert tick_texts(picture(cloze_deactivation, folder).axes[0].xaxis) == ["English", "nan", "Arabic"]
    assert "× nan" in table2_generations.wide_table(Run(folder)).columns


def test_languages_keep_their_colour_and_twelve_are_told_apart():
    assert style.language_colours(["ar", "en"])["ar"] == style.language_colours(LANGUAGES)["ar"]
    for codes in ([*LANGUAGES, "aa", "bb", "cc"], [f"x{number}" for number in range(12)]):
        assert len(set(style.language_colours(codes).values())) == 12
    assert len(style.language_colours([f"x{number}" for number in range(15)])) == 15


@pytest.mark.parametrize("languages", [LANGUAGES[:2], LANGUAGES], ids=len)
@pytest.mark.parametrize("layers", [3, 80])
@pytest.mark.parametrize("shown", FIGURES, ids=stem)
def test_labels_stay_apart_and_inside_the_picture(tmp_path, languages, layers, shown):
    figure = shown.picture(Run(write_run_folder(tmp_path, languages, layers)))
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
    [
        (12.4, "12"),
        (1498, "1,498"),
        (24_123.4, "24,123"),
        (123_456_789, "×1.23M"),
        (3.14, "3.1"),
        (-0.04, "0.0"),
        (-3.2, "−3.2"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
    ],
)
def test_increases_as_text(percent, text):
    assert increase_text(percent) == text


def test_large_increases_stay_short():
    assert len(increase_text(123_456_789.0)) <= 7


@pytest.mark.parametrize(("shares", "bottom", "top"), [
    ([0.9996, 1.0, 0.9999], 0.9905, 1.0005), ([0.0, 0.001], -0.001, 0.0101), ([-0.003, 0.001], -0.004, 0.0068),
    ([0.5, 0.502], 0.496, 0.506), ([0.2, 0.5], 0.185, 0.515),
])  # fmt: skip
def test_a_share_that_hardly_changes_is_drawn_over_one_percent(shares: list[float], bottom: float, top: float) -> None:
    axes = style.new_figure(3, 3, "t", "s").subplots()
    axes.plot(shares)
    style.percent_axis(axes)
    low, high = axes.get_ylim()
    assert bottom - 1e-9 <= low <= min(shares) and max(shares) <= high <= top + 1e-9 and high - low > 0.0099
    assert axes.yaxis.get_major_formatter()(0.9982, 0) == "99.8%"


@pytest.mark.parametrize(("share", "text"), [(0.0319, "3.2%"), (0, "0.0%"), (0.0001, "0.01%"), (1, "100.0%")])
def test_shares_as_text(share, text):
    assert share_text(share) == text


@pytest.mark.parametrize(("perplexity", "text"), [(14.449, "14.45"), (25088.2, "25,088")])
def test_perplexities_as_text(perplexity, text):
    assert perplexity_text(perplexity) == text


@pytest.mark.parametrize("code", ["$a_$", r"$\frac{$", "x$y$z"])
def test_mathematics_in_a_language_code_is_text(tmp_path, code):
    folder = write_run_folder(tmp_path, ["en", "zh"])
    for name in ("samples.csv", "regions.csv", "perplexity.csv", "cloze.csv", "generations.csv"):
        pd.read_csv(folder / name, keep_default_na=False).replace("zh", code).to_csv(folder / name, index=False)
    save_figures(folder)
    assert tick_texts(picture(figure6_key_neurons_by_language, folder).axes[0].xaxis) == ["English", code]
    legend = picture(figure5_key_neurons_by_layer, folder).axes[0].get_legend()
    assert code in [text.get_text() for text in legend.get_texts()]
    assert not any(text.get_parse_math() for text in legend.get_texts())


def test_intervals_of_layers_are_bands_where_there_are_any(folder):
    assert not any(axes.collections for axes in picture(figure3_layer_scores, folder).axes)
    table = pd.read_csv(folder / "layers.csv")
    table.assign(lrds_lo=table["lrds"] - 0.01, lrds_hi=table["lrds"] + 0.02).to_csv(folder / "layers.csv", index=False)
    with_band, without = picture(figure3_layer_scores, folder).axes
    (band,) = with_band.collections
    corners = band.get_paths()[0].vertices
    for row in table.itertuples():
        at_layer = corners[corners[:, 0] == row.layer, 1]
        assert (at_layer.min(), at_layer.max()) == (pytest.approx(row.lrds - 0.01), pytest.approx(row.lrds + 0.02))
    assert band.get_gid() == style.INTERVAL and not without.collections


def test_a_score_of_layers_that_is_not_measured_has_no_panel(folder):
    pd.read_csv(folder / "layers.csv").drop(columns="sads").to_csv(folder / "layers.csv", index=False)
    assert [axes.get_ylabel() for axes in picture(figure3_layer_scores, folder).axes] == ["LRDS"]


@pytest.mark.parametrize("text", ["supercalifragilistic" * 5, "MMMM" * 20, "a " * 60, "three words here", "x"])
@pytest.mark.parametrize("room", [60, 180])
def test_lines_fit_and_lose_nothing(text, room):
    lines = drawable.wrapped(text, room, 7.5, most=100)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(drawable.width(line, 7.5) for line in lines) < room + 1
    assert all("  " not in line for line in lines)


def test_a_text_with_too_many_lines_is_cut_with_an_ellipsis():
    lines = drawable.wrapped("word " * 100, 100, 7.5, most=3)
    assert len(lines) == 3 and lines[-1].endswith("…") and drawable.width(lines[-1], 7.5) <= 100


@pytest.fixture
def one_font(monkeypatch):
    """matplotlib's own font and no other."""
    monkeypatch.setattr(drawable, "font_families", lambda: [drawable.FONT])


@pytest.fixture
def font_package(tmp_path, monkeypatch):
    """A package with a font for Thai, which matplotlib forgets afterwards."""
    (tmp_path / "some_fonts").mkdir()
    (tmp_path / "some_fonts" / "__init__.py").touch()
    font = TTFont(findfont(drawable.FONT))
    for name in font["name"].names:
        if name.nameID in (1, 16):
            font["name"].setName("Noto Sans Thai", name.nameID, name.platformID, name.platEncID, name.langID)
    font.save(tmp_path / "some_fonts" / "NotoSansThai.ttf")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        drawable.fontManager, "ttflist", [font for font in drawable.fontManager.ttflist if font.name == drawable.FONT]
    )
    monkeypatch.setattr(drawable, "FONT_PACKAGES", ("some_fonts", "no_such_fonts"))
    drawable.font_families.cache_clear()
    yield
    drawable.font_families.cache_clear()


@pytest.mark.usefixtures("font_package")
def test_a_script_is_drawn_where_a_package_has_a_font_of_it():
    assert drawable.font_families() == [drawable.FONT, "Noto Sans Thai"]


@pytest.mark.parametrize("module", [table2_generations, language_pairs])
def test_texts_look_the_same_with_the_fonts_they_need_alone(module, tmp_path, monkeypatch):
    """Each text with all fonts is the oracle."""
    folder = write_run_folder(tmp_path / "run", ["zh", "hi", "ar"])
    save_picture(picture(module, folder), tmp_path / "narrow")
    monkeypatch.setattr("lf_experiments.figures.figure.narrow_fonts", lambda _: None)
    save_picture(picture(module, folder), tmp_path / "all")
    assert (tmp_path / "narrow.png").read_bytes() == (tmp_path / "all.png").read_bytes()


def test_a_text_keeps_the_fonts_that_draw_what_the_first_lacks(tmp_path):
    folder = write_run_folder(tmp_path / "run", ["zh", "hi", "ar"])
    if len(drawable.font_families()) == 1:
        pytest.skip("this machine has one font")
    texts = [text for text in picture(table2_generations, folder).findobj(Text) if text.get_text()]
    drawn = {text.get_text(): text.get_fontfamily() for text in texts}
    for text, families in drawn.items():
        for letter in filter(drawable.is_drawable, text):
            assert any(ord(letter) in drawable.glyphs_of(family) for family in families)
    assert min(map(len, drawn.values())) == 1 < max(map(len, drawn.values())) < len(drawable.font_families())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cafe\u0301", "cafe\u0301"),
        ("keya\u094d.", "keya[1\xa0letter]."),
        ("a\u094d\u093f", "a[2\xa0letters]"),
        ("\ufffd\u093f", "\ufffd[1\xa0letter]"),
    ],
)
def test_a_mark_on_a_letter_of_another_script_is_not_drawn(text, shown):
    """No font has both, and the letter would be lost with it."""
    assert drawable.drawable(text) == shown


@pytest.mark.parametrize("text", ["孩子在花园里看书。", "बच्चा बगीचे में", "يقرأ الطفل", "Đứa trẻ", "பிள்ளை", "เด็ก"])
@pytest.mark.skipif(not all(map(find_spec, drawable.FONT_PACKAGES)), reason="the extra `fonts` is not installed")
def test_the_languages_of_the_paper_are_drawn_with_the_packages_of_fonts(text):
    assert drawable.drawable(text) == text


def test_a_script_is_drawn_where_a_font_of_it_is_installed(monkeypatch):
    monkeypatch.setattr(drawable, "FONT_PACKAGES", ())
    fonts = [SimpleNamespace(name=name) for name in ("DejaVu Sans", "Noto Sans CJK SC", "Lohit Devanagari", "Noto Sans Thai")]
    monkeypatch.setattr(drawable.fontManager, "ttflist", fonts)
    drawable.font_families.cache_clear()
    try:
        assert drawable.font_families() == ["DejaVu Sans", "Lohit Devanagari", "Noto Sans CJK SC", "Noto Sans Thai"]
    finally:
        drawable.font_families.cache_clear()


def test_what_regions_cost_is_a_curve_with_a_band_for_each_kind_of_cost(folder):
    (axes,) = picture(dose_response, folder).axes
    table = pd.read_csv(folder / "doses.csv")
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines if not line.get_label().startswith("_")}
    columns = {"its own language": "own", "the other languages": "spill", "random neurons like it, its own language": "control"}
    assert drawn == {label: table[column].tolist() for label, column in columns.items()}
    assert [band.get_gid() for band in axes.collections] == [style.INTERVAL] * 3
    assert "zero" in axes.get_xlabel()
    table.drop(columns=["control", "control_lo", "control_hi"]).to_csv(folder / "doses.csv", index=False)
    assert len(picture(dose_response, folder).axes[0].collections) == 2


def test_pairs_of_languages_are_symmetric_squares_of_the_whole_model(folder):
    pairs = pd.read_csv(folder / "pairs.csv").query("layer == -1").set_index(["language", "other"])
    squares = [axes for axes in picture(language_pairs, folder).axes if axes.images]
    assert [axes.get_title().partition(":")[0] for axes in squares] == ["LRDS", "SADS"]
    for axes, score in zip(squares, ("lrds", "sads"), strict=True):
        values = axes.images[0].get_array()
        for (one, other), row in pairs.iterrows():
            place = CODES.index(one), CODES.index(other)
            assert values[place] == values[place[::-1]] == row[score]
        assert values.mask.diagonal().all()
        assert tick_texts(axes.xaxis) == tick_texts(axes.yaxis) == NAMES
        assert sorted(text.get_text() for text in axes.texts if text.get_text()) == sorted(
            [f"{value:.3f}" for value in pairs[score]] * 2
        )


def test_the_tree_joins_languages_by_their_lrds(folder):
    """English and Chinese at 0.1, and Arabic to both at the mean of 0.11 and 0.12."""
    tree = picture(language_tree, folder).axes[0]
    assert sorted(tick_texts(tree.yaxis)) == sorted(NAMES)
    heights = sorted(max(x for x, _ in path.vertices) for path in tree.collections[0].get_paths())
    assert heights == pytest.approx([0.1, 0.115])
    assert {"English", "Chinese"} in ({*tick_texts(tree.yaxis)[:2]}, {*tick_texts(tree.yaxis)[1:]})


def test_pairs_of_one_script_stand_beside_those_of_two(folder):
    pairs = pd.read_csv(folder / "pairs.csv").query("layer == -1")
    for axes, score in zip(picture(language_tree, folder).axes[1:], ("lrds", "sads"), strict=True):
        expected = [sorted(pairs.loc[pairs["same_script"] == is_same, score]) for is_same in (True, False)]
        points = [sorted(artist.get_offsets()[:, 1]) for artist in axes.collections[::2]]
        means = [artist.get_segments()[0][0][1] for artist in axes.collections[1::2]]
        assert points == [pytest.approx(values) for values in expected]
        assert means == pytest.approx([np.mean(values) for values in expected])
        assert tick_texts(axes.xaxis) == ["same\nscript\n(2 pairs)", "different\nscripts\n(1 pairs)"]


def test_of_one_kind_of_pairs_alone_there_is_the_tree(folder):
    pd.read_csv(folder / "pairs.csv").assign(same_script=True).to_csv(folder / "pairs.csv", index=False)
    assert len(picture(language_tree, folder).axes) == 1


def test_of_many_languages_the_cells_have_no_numbers_and_the_names_stay_apart(tmp_path):
    folder = write_run_folder(tmp_path, MANY[:2])
    pair_scores(MANY, layers=1).to_csv(folder / "pairs.csv", index=False)
    figure = picture(language_pairs, folder)
    figure.draw_without_rendering()
    assert not figure.axes[0].texts
    for one, other in pairwise(figure.axes[0].get_xticklabels()):
        assert one.get_window_extent().x1 <= other.get_window_extent().x0 + 1


MANY = [*BEFORE, *[code for code in LANGUAGE_TABLE if code not in BEFORE][:37]]
"""As many languages as BLOOM was trained on."""


def test_the_colours_of_many_languages_differ_and_stay_those_of_the_first():
    colours = style.language_colours(MANY)
    assert len(set(colours.values())) == len(MANY) == 46
    assert all(colours[code] == style.language_colours(list(BEFORE))[code] for code in BEFORE)


@pytest.mark.parametrize(
    "module", [figure5_key_neurons_by_layer, figure6_key_neurons_by_language, cloze_deactivation], ids=lambda m: m.FIGURE.stem
)
def test_of_many_languages_names_stay_apart_and_leave_room_for_what_they_name(folder, module):
    random = np.random.default_rng(0)
    region_table(MANY, 3, 512, random).to_csv(folder / "regions.csv", index=False)
    cloze_table(MANY, random).to_csv(folder / "cloze.csv", index=False)
    figure = picture(module, folder)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    inches = axes.get_window_extent().size / figure.dpi
    assert inches[0] > 5 and inches[1] > 2.2
    for named in (axes.texts, axes.get_xticklabels()):
        for one, other in pairwise(text.get_window_extent() for text in named if text.get_text()):
            assert not one.overlaps(other)
    inside = [axes.get_legend().get_window_extent()] if axes.get_legend() else []
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in inside)


def test_without_pairs_there_is_no_figure_of_them(folder):
    (folder / "pairs.csv").unlink()
    assert "language_pairs" not in save_figures(folder)


def test_whatever_else_is_scored_by_layer_and_by_pair_has_a_panel_of_its_own(folder):
    for name in ("layers.csv", "pairs.csv"):
        table = pd.read_csv(folder / name)
        table.assign(mexa=np.linspace(0, 1, len(table))).to_csv(folder / name, index=False)
    layers, pairs = picture(figure3_layer_scores, folder), picture(language_pairs, folder)
    assert [axes.get_ylabel() for axes in layers.axes] == ["LRDS", "SADS", "MEXA"]
    squares = [axes for axes in pairs.axes if axes.images]
    assert [axes.get_title().partition(":")[0] for axes in squares] == ["LRDS", "SADS", "MEXA"]
    assert all(text.get_text().endswith("%") for text in squares[-1].texts if text.get_text())


def test_the_colours_of_a_share_that_is_the_same_everywhere_end_at_none_and_all(folder):
    pairs = pd.read_csv(folder / "pairs.csv")
    pairs.assign(mexa=1.0).to_csv(folder / "pairs.csv", index=False)
    squares = [axes for axes in picture(language_pairs, folder).axes if axes.images]
    assert squares[-1].images[0].get_clim() == (0, 1)
    assert all(axes.images[0].get_clim() != (0, 1) for axes in squares[:-1])
