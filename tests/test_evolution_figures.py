"""The figures over training and scale show the numbers of the sweep's table, its gaps, and exactly its duplicates."""

from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from run_folders import LANGUAGES, edit, fail, region_table, write_job

from lf_experiments.figures import (
    evolution,
    figure4_training_dynamics,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language_and_step,
    figure7_model_scale,
    style,
)
from lf_experiments.figures.catalogue import FIGURES, SWEEP_FIGURES
from lf_experiments.figures.save import save_sweep_figures, saved_figures
from lf_experiments.languages import LANGUAGES as LANGUAGE_TABLE
from lf_experiments.languages import language_name
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.text import count_text

OVER_TRAINING = (
    figure4_training_dynamics,
    figure5_key_neurons_by_layer_and_step,
    figure6_key_neurons_by_language_and_step,
)
NANO_STEPS = (0, 30, 60, 100, 200, 400, 800, 1500)
BLOOM_STEPS = (1000, 10_000, 100_000, 200_000, 300_000, 400_000, 500_000, 600_000)
SIZES = {"bloom-560m": 559_214_592, "bloom-1b1": 1_065_314_304, "bloom-1b7": 1_722_408_960, "qwen-70b": 68_976_648_192}


@pytest.fixture(autouse=True)
def coarse_pictures(monkeypatch) -> None:
    """Few pixels: they take most of the time."""
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)


def stem(of: object) -> str:
    return getattr(of, "FIGURE", of).stem


def picture(module: ModuleType, sweep: Sweep, x: str = "training_step") -> Figure:
    """The figure of a module, drawn against `x`."""
    sweep.x = x
    return module.FIGURE.picture(sweep)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """Eight steps of one model: step 400 failed, and step 200 has the weights of step 100."""
    for step in NANO_STEPS:
        write_job(tmp_path / f"step{step}", step, fingerprint="same" if step in (100, 200) else None, cloze=True)
    fail(tmp_path / "step400", "out of memory")
    return Sweep(tmp_path)


@pytest.fixture
def scales(tmp_path) -> Sweep:
    """The final weights of four models of two families; two of them are the same."""
    for model, parameters in SIZES.items():
        write_job(tmp_path / model, None, model, parameters, fingerprint="same" if "-1b" in model else None)
    return Sweep(tmp_path)


def measures(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if line.get_gid() not in (evolution.DUPLICATES, evolution.CHANCE)]


def marks(axes: Axes) -> set[tuple[float, float]]:
    """The points that are marked as duplicates, and nothing but hollow rings marks them."""
    rings = [line for line in axes.lines if line.get_gid() == evolution.DUPLICATES]
    for ring in rings:
        assert (ring.get_linestyle(), ring.get_markerfacecolor(), ring.get_markeredgecolor()) == ("None", "white", style.RED)
        assert ring.get_markersize() > 1.2 * measures(axes)[0].get_markersize()
    return {tuple(point) for ring in rings for point in ring.get_xydata().tolist()}


def short_names(figure: Figure) -> list[str]:
    """What the panels measure, without the words that say what it is."""
    return [axes.get_ylabel().partition("\n")[0] for axes in figure.axes]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[name].to_numpy(float, na_value=np.nan)


def with_columns(sweep: Sweep, **columns: object) -> Sweep:
    """The same sweep with other values in these columns."""
    other = sweep.of()
    other.table = sweep.table.assign(**columns)
    return other


@pytest.mark.parametrize("x", ["training_step", "training_tokens"])
def test_the_dynamics_are_the_columns_of_the_table_with_a_gap_for_the_failed_run(sweep, x):
    table = sweep.table
    figure = picture(figure4_training_dynamics, sweep, x)
    names = {"LRDS": "lrds", "SKLR": "sklr_fraction", "SADS": "sads", "Story cloze": "cloze_accuracy_mean"}
    assert short_names(figure) == list(names)
    points = table[table[x].notna()]
    for axes in figure.axes:
        (line,) = measures(axes)
        np.testing.assert_array_equal(line.get_xdata(), column(points, x))
        np.testing.assert_array_equal(line.get_ydata(), column(points, names[axes.get_ylabel().partition("\n")[0]]))
        assert list(np.isnan(line.get_ydata())) == list(points["status"] != "done")
    assert figure.axes[-1].get_xlabel() == evolution.AXES[x]
    assert ("failed" in set(points["status"])) is (x == "training_step")


def test_exactly_the_duplicates_are_marked(sweep):
    table = sweep.table
    twins = table[table["job"].isin(["step100", "step200"])]
    figure = picture(figure4_training_dynamics, sweep)
    for axes, name in zip(figure.axes, ("lrds", "sklr_fraction", "sads", "cloze_accuracy_mean"), strict=True):
        assert marks(axes) == set(zip(column(twins, "training_step"), column(twins, name), strict=True))
    assert legend_texts(figure) == ["same weights as another step"]


@pytest.mark.parametrize("module", OVER_TRAINING, ids=stem)
def test_without_duplicates_nothing_is_marked_or_explained(sweep, module):
    figure = picture(module, with_columns(sweep, duplicate_of=""))
    assert legend_texts(figure) == []
    assert [marks(axes) for axes in figure.axes] == [set()] * len(figure.axes)


def test_without_cloze_there_is_no_panel_for_it(tmp_path):
    for step in (0, 30):
        write_job(tmp_path / f"{step}", step)
    assert short_names(picture(figure4_training_dynamics, Sweep(tmp_path))) == ["LRDS", "SKLR", "SADS"]


@pytest.mark.parametrize("module", [figure4_training_dynamics, figure7_model_scale], ids=stem)
def test_the_band_of_the_story_cloze_is_the_mean_standard_error_of_the_languages(tmp_path, module):
    for number, step in enumerate((0, 30) if module is figure4_training_dynamics else (None, None)):
        write_job(
            tmp_path / f"{number}", step, f"bloom-{number}" if step is None else "bloom", 10**6 * (1 + number), cloze=True
        )
    sweep = Sweep(tmp_path)
    table = sweep.table
    figure = picture(module, sweep)
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("Story cloze")]
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for run, row in table.iterrows():
        told = pd.read_csv(run.folder / "cloze.csv").query("deactivated == 'none'")
        error, accuracy = told["stderr"].mean(), told["accuracy"].mean()
        assert 0 < error < 0.1
        x = row["training_step"] if module is figure4_training_dynamics else row["num_parameters"]
        at_run = corners[corners[:, 0] == float(x), 1]
        assert (at_run.min(), at_run.max()) == (pytest.approx(accuracy - error), pytest.approx(accuracy + error))
    assert not any(axes.collections for axes in figure.axes if not axes.get_ylabel().startswith("Story cloze"))


def test_guessing_is_marked_where_endings_are_told_and_leaves_the_time_axis_alone(sweep):
    figure = picture(figure4_training_dynamics, sweep)
    figure.draw_without_rendering()
    marked = [axes for axes in figure.axes if any(line.get_gid() == evolution.CHANCE for line in axes.lines)]
    assert [axes.get_ylabel().partition("\n")[0] for axes in marked] == ["Story cloze"]
    (chance,) = [line for line in marked[0].lines if line.get_gid() == evolution.CHANCE]
    assert set(chance.get_ydata()) == {0.5}
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


@pytest.mark.parametrize("module", [figure4_training_dynamics, figure7_model_scale], ids=stem)
def test_the_size_of_regions_stands_beside_its_null_and_its_excess(tmp_path, module):
    moments = [(0, "bloom", 10**6), (30, "bloom", 10**6)]
    if module is figure7_model_scale:
        moments = [(None, "bloom-a", 10**6), (None, "bloom-b", 10**7)]
    for number, (step, model, parameters) in enumerate(moments):
        run = write_job(tmp_path / f"{number}", step, model, parameters)
        of_run = {"sklr_null_fraction": 0.3 + 0.01 * number, "sklr_excess_fraction": 0.2 - 0.01 * number}
        ends = {name + end: value + side for name, value in of_run.items() for end, side in (("_lo", -0.05), ("_hi", 0.03))}
        edit(run / "metrics.json", **of_run, **ends)
    figure = picture(module, Sweep(tmp_path))
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("SKLR")]
    drawn = {line.get_gid(): line for line in axes.lines if line.get_gid()}
    bands = [band.get_paths()[0].vertices[:, 1] for band in axes.collections if band.get_gid() == style.INTERVAL]
    for gid, first, change in ((style.NULL, 0.3, 0.01), (style.EXCESS, 0.2, -0.01)):
        np.testing.assert_allclose(drawn[gid].get_ydata(), [first, first + change])
        low, high = min(first, first + change) - 0.05, max(first, first + change) + 0.03
        assert any((band.min(), band.max()) == (pytest.approx(low), pytest.approx(high)) for band in bands)
    assert drawn[style.NULL].get_linestyle() != drawn[style.EXCESS].get_linestyle()
    assert legend_texts(figure) == [style.SHUFFLED, style.BEYOND]
    others = [line.get_gid() for other in figure.axes if other is not axes for line in other.lines]
    assert style.NULL not in others and style.EXCESS not in others


def test_a_single_story_has_no_band(tmp_path):
    for step in (0, 30):
        run = write_job(tmp_path / f"{step}", step, cloze=True)
        pd.read_csv(run / "cloze.csv").assign(stderr=None).to_csv(run / "cloze.csv", index=False)
    figure = picture(figure4_training_dynamics, Sweep(tmp_path))
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel().startswith("Story cloze")]
    assert len(measures(axes)) == 1
    assert not any(len(path.vertices) for band in axes.collections for path in band.get_paths())


def test_several_models_are_lines_of_their_own(tmp_path):
    for model, parameters in (("bloom-nano-s", 108_352), ("bloom-nano", 464_128)):
        for step in (0, 30, 100):
            write_job(tmp_path / f"{model}{step}", step, model, parameters)
    write_job(tmp_path / "lonely", 30, "lonely", 5)
    sweep = Sweep(tmp_path)
    table = sweep.table
    figure = picture(figure4_training_dynamics, sweep)
    assert legend_texts(figure) == ["bloom-nano-s", "bloom-nano"]
    for line in measures(figure.axes[0]):
        np.testing.assert_array_equal(line.get_ydata(), column(table[table["model"] == line.get_label()], "lrds"))
    assert len({line.get_color() for line in measures(figure.axes[0])}) == 2
    for module in OVER_TRAINING[1:]:
        assert [axes.get_title() for axes in picture(module, sweep).axes] == ["bloom-nano-s", "bloom-nano"]


def test_a_step_that_was_run_again_is_no_gap(sweep, tmp_path):
    table = sweep.table
    write_job(tmp_path / "again" / "step400", 400)
    (line,) = measures(picture(figure4_training_dynamics, Sweep(tmp_path)).axes[0])
    assert list(line.get_xdata()) == list(NANO_STEPS) and not np.isnan(line.get_ydata()).any()
    assert column(table, "lrds").size == len(NANO_STEPS)


def test_layers_of_every_step_are_the_sums_of_its_regions(sweep):
    table = sweep.table
    (axes,) = picture(figure5_key_neurons_by_layer_and_step, sweep).axes
    done = table[table["status"] == "done"]
    for line, (run, row) in zip(measures(axes), done.iterrows(), strict=True):
        assert line.get_label() == count_text(row["training_step"])
        sizes = pd.read_csv(run.folder / "regions.csv").groupby("layer")["key_neurons"].sum()
        assert list(zip(*line.get_data(), strict=True)) == list(sizes.items())
        is_twin = row["job"] in ("step100", "step200")
        assert line.get_linestyle() == ("--" if is_twin else "-")
        assert {(float(layer), float(size)) for layer, size in sizes.items()} <= marks(axes) or not is_twin
    assert len(marks(axes)) <= 2 * 3


def test_of_many_steps_some_are_named(tmp_path):
    for step in range(30):
        write_job(tmp_path / f"{step}", step, languages=["en", "zh"])
    (axes,) = picture(figure5_key_neurons_by_layer_and_step, Sweep(tmp_path)).axes
    assert len(measures(axes)) == 30
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [str(step) for step in range(0, 30, 3)]


def test_languages_over_steps_are_the_sums_of_their_regions_in_their_colours(sweep):
    table = sweep.table
    (axes,) = picture(figure6_key_neurons_by_language_and_step, sweep).axes
    colours = style.language_colours(LANGUAGES)
    for code, line in zip(LANGUAGES, measures(axes), strict=True):
        assert (line.get_label(), to_hex(line.get_color()).upper()) == (language_name(code), colours[code].upper())
        for step, size in zip(*line.get_data(), strict=True):
            (run,) = table.index[table["training_step"] == step]
            if step == 400:
                assert np.isnan(size)
            else:
                regions = pd.read_csv(run.folder / "regions.csv")
                assert size == regions.loc[regions["language"] == code, "key_neurons"].sum()
    assert {step for step, _ in marks(axes)} == {100, 200}


def test_the_names_of_many_languages_leave_room_for_their_lines(tmp_path):
    codes, random = list(LANGUAGE_TABLE)[:46], np.random.default_rng(0)
    for step in BLOOM_STEPS:
        run = write_job(tmp_path / f"step{step}", step, languages=["en", "zh"])
        region_table(codes, 2, 512, random).to_csv(run / "regions.csv", index=False)
    figure = picture(figure6_key_neurons_by_language_and_step, Sweep(tmp_path))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_window_extent().width / figure.dpi > 5
    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
    for one, other in pairwise(label.get_window_extent() for label in axes.get_xticklabels()):
        assert not one.overlaps(other)


@pytest.mark.usefixtures("sweep")
@pytest.mark.parametrize("status", ["failed", "running"])
def test_a_run_that_did_not_end_well_is_a_gap_though_it_has_numbers(tmp_path, status):
    edit(tmp_path / "step30" / "run.json", status=status)
    sweep = Sweep(tmp_path)
    table = sweep.table
    assert table["lrds"].notna().sum() == 7
    for module in (figure4_training_dynamics, figure6_key_neurons_by_language_and_step):
        for axes in picture(module, sweep).axes:
            assert all(
                list(np.isnan(line.get_ydata())) == [step in (30, 400) for step in NANO_STEPS] for line in measures(axes)
            )
    assert len(measures(picture(figure5_key_neurons_by_layer_and_step, sweep).axes[0])) == 6


def test_a_finished_run_without_regions_is_a_gap(sweep):
    table = sweep.table
    (run,) = table.index[table["job"] == "step30"]
    (run.folder / "regions.csv").unlink()
    (axes,) = picture(figure6_key_neurons_by_language_and_step, sweep).axes
    assert all(np.isnan(line.get_ydata()[1]) for line in measures(axes))
    assert "30" not in [line.get_label() for line in measures(picture(figure5_key_neurons_by_layer_and_step, sweep).axes[0])]


def test_scales_are_the_columns_of_the_table_joined_by_family_and_named(scales):
    figure = picture(figure7_model_scale, scales)
    scales = scales.table
    assert short_names(figure) == ["LRDS", "SADS", "SKLR"]
    for axes, name in zip(figure.axes, ("lrds", "sads", "sklr_fraction"), strict=True):
        assert axes.get_xscale() == "log"
        for line in measures(axes):
            models = scales[scales["model"].str.startswith(line.get_label())]
            np.testing.assert_array_equal(
                line.get_xydata(), np.column_stack([column(models, "num_parameters"), column(models, name)])
            )
        names = {text.get_text(): text.xy for text in axes.texts}
        assert names == {row["model"]: (row["num_parameters"], row[name]) for _, row in scales.iterrows()}
        assert {x for x, _ in marks(axes)} == {SIZES["bloom-1b1"], SIZES["bloom-1b7"]}
    assert legend_texts(figure) == ["bloom", "qwen", "same weights as another model"]


@pytest.mark.usefixtures("scales")
def test_scales_are_those_of_final_weights_that_ended_well(tmp_path):
    write_job(tmp_path / "early", 100, "bloom-early", 10_000)
    fail(write_job(tmp_path / "failed", None, "bloom-failed", 20_000), "no memory")
    figure = picture(figure7_model_scale, Sweep(tmp_path))
    assert {text.get_text() for text in figure.axes[0].texts} == set(SIZES)


@pytest.mark.usefixtures("scales")
def test_names_of_models_cover_no_other_name_and_stay_inside(tmp_path):
    write_job(tmp_path / "qwen-7b", None, "qwen-7b", 6_738_415_616)
    write_job(tmp_path / "bloom-7b1", None, "bloom-7b1", 7_069_016_064)
    figure = picture(figure7_model_scale, Sweep(tmp_path))
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if isinstance(text, Annotation)]
        assert len(boxes) == 6
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)


def drawable(folder: Path) -> list[str]:
    sweep = Sweep(folder)
    return [stem(module) for module in (*OVER_TRAINING, figure7_model_scale) if module.FIGURE.can_draw(sweep)]


def test_only_what_makes_sense_is_drawn(tmp_path):
    write_job(tmp_path / "a", 0)
    assert drawable(tmp_path) == []
    write_job(tmp_path / "b", None)
    assert drawable(tmp_path) == []
    fail(write_job(tmp_path / "c", 30), "no memory")
    assert drawable(tmp_path) == []
    write_job(tmp_path / "d", 60)
    assert drawable(tmp_path) == [stem(module) for module in OVER_TRAINING]
    write_job(tmp_path / "e", None, "bloom-twin")
    assert drawable(tmp_path) == [stem(module) for module in OVER_TRAINING]
    write_job(tmp_path / "f", None, "bloom-large", 10**9)
    assert drawable(tmp_path) == [stem(module) for module in (*OVER_TRAINING, figure7_model_scale)]


def test_runs_that_measured_nothing_are_not_drawn(tmp_path):
    for step in (0, 30):
        run = write_job(tmp_path / f"{step}", step)
        edit(run / "metrics.json", lrds=None, sads=None, sklr=None, sklr_fraction=None)
        (run / "regions.csv").unlink()
    assert drawable(tmp_path) == []


def test_without_token_counts_there_is_nothing_over_tokens(sweep):
    sweep = with_columns(sweep, training_tokens=pd.NA)
    sweep.x = "training_tokens"
    assert not any(module.FIGURE.can_draw(sweep) for module in OVER_TRAINING)


def test_figures_are_saved_and_stale_ones_go(sweep, tmp_path):
    out = tmp_path / "out"
    stems = save_sweep_figures(out, sweep)
    assert stems == [stem(module) for module in OVER_TRAINING]
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in stems for kind in ("png", "pdf")
    }
    assert [stem(module) for module, _ in saved_figures(out, SWEEP_FIGURES)] == stems
    assert saved_figures(out) == []
    sweep.table = sweep.table[:1]
    assert save_sweep_figures(out, sweep) == []
    assert list((out / "figures").iterdir()) == []


@pytest.mark.parametrize("modules", [FIGURES, SWEEP_FIGURES], ids=["run", "sweep"])
def test_no_name_is_used_twice(modules):
    assert len(set(map(stem, modules))) == len(modules)


@pytest.mark.parametrize("module", OVER_TRAINING, ids=stem)
@pytest.mark.parametrize("layers", [8, 30])
@pytest.mark.parametrize("steps", [NANO_STEPS, BLOOM_STEPS, (0, 30)], ids=lambda steps: f"{len(steps)}-{steps[-1]}")
def test_ticks_stay_apart_and_inside_the_picture_and_the_first_and_last_step_are_named(tmp_path, steps, layers, module):
    for step in steps:
        write_job(tmp_path / f"{step}", step, layers=layers)
    figure = picture(module, Sweep(tmp_path))
    figure.draw_without_rendering()
    for axes in figure.axes:
        labels = [label for label in axes.get_xticklabels() if label.get_text() and label.get_visible()]
        low, high = sorted(axes.get_xlim())
        labels = [label for label in labels if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent() for label in labels]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
        assert all(figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1) for box in boxes)
        if axes.get_xlabel() == "Training step":
            names = [label.get_text() for label in labels]
            assert (names[0], names[-1]) == (count_text(steps[0]), count_text(steps[-1]))
            assert low <= steps[0] and high >= steps[-1]
            place = dict(
                zip(steps, axes.transAxes.inverted().transform(axes.transData.transform([(s, 0) for s in steps])), strict=True)
            )
            assert place[steps[0]][0] < 0.1 and place[steps[-1]][0] > 0.9


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1500, "1,500"), (10_000, "10k"), (300_000, "300k"), (7_069_016_064, "7.07B"), (3e11, "300B")]
)
def test_counts_as_text(count, text):
    assert count_text(count) == text


@pytest.mark.parametrize("module", [figure4_training_dynamics, figure7_model_scale], ids=stem)
def test_an_interval_of_any_score_is_a_band(tmp_path, module):
    for number, step in enumerate((0, 30) if module is figure4_training_dynamics else (None, None)):
        run = write_job(tmp_path / f"{number}", step, f"bloom-{number}" if step is None else "bloom", 10**6 * (1 + number))
        edit(run / "metrics.json", sads_lo=0.01 * number, sads_hi=0.5 + number)
    figure = picture(module, Sweep(tmp_path))
    for axes, name in zip(figure.axes, short_names(figure), strict=True):
        bands = [band for band in axes.collections if band.get_gid() == style.INTERVAL]
        assert len(bands) == (name == "SADS")
        if bands:
            ends = {round(float(y), 6) for _, y in bands[0].get_paths()[0].vertices}
            assert {0.0, 0.01, 0.5, 1.5} == ends


def test_key_neurons_over_training_stand_on_what_shuffled_languages_give(tmp_path):
    """A band over the layers, and one over the steps, from the least mean of the shuffles to the largest."""
    nulls = {30: 3.0, 60: 5.0, 100: 4.0}
    for step, null in nulls.items():
        folder = write_job(tmp_path / f"step{step}", step)
        regions = pd.read_csv(folder / "regions.csv")
        place = regions["language"].map(LANGUAGES.index)
        regions.assign(null_mean=null + 0.1 * place, excess=0, replicated=0).to_csv(folder / "regions.csv", index=False)
    sweep = Sweep(tmp_path)
    by_language, by_layer = (
        {tuple(point) for path in band_of(module, sweep).get_paths() for point in path.vertices.tolist()}
        for module in (figure6_key_neurons_by_language_and_step, figure5_key_neurons_by_layer_and_step)
    )
    for step, null in nulls.items():
        assert ends(by_language, step) == pytest.approx((3 * null, 3 * (null + 0.8)))
    of_all = sum(0.1 * place for place in range(9))
    for layer in range(3):
        assert ends(by_layer, layer) == pytest.approx((9 * 3 + of_all, 9 * 5 + of_all))


def ends(points: set[tuple[float, float]], x: float) -> tuple[float, float]:
    """The lowest and the highest point of a band at a place."""
    here = [y for place, y in points if place == x]
    return min(here), max(here)


def band_of(module: ModuleType, sweep: Sweep):
    (band,) = [found for found in picture(module, sweep).axes[0].collections if found.get_gid() == style.NULL]
    return band
