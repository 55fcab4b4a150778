"""A sweep over the whole paper leaves all its figures and tables, each of the right runs; what it lacks leaves no figure."""

import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as Picture
from run_folders import edit, fail, write_job

from lf_experiments.figures import (
    figure3_layer_scores,
    figure6_key_neurons_by_language,
    figure7_model_scale,
    style,
    table1_deactivation,
    table2_generations,
)
from lf_experiments.figures.appendix_c import FIGURE8, FIGURE9, FIGURE10, FIGURE11, TABLE3, TABLE4
from lf_experiments.figures.catalogue import SWEEP_FIGURES
from lf_experiments.figures.figure import Figure
from lf_experiments.figures.save import save_sweep_figures, subjects
from lf_experiments.runs.families import APPENDIX_C, BODY, WHOLE, family_names, is_in_part, main_run
from lf_experiments.runs.run import Run
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.tables import read_json
from lf_experiments.storage import write_json
from lf_experiments.sweep import main

TABLE1, TABLE2, FIGURE3 = table1_deactivation.FIGURE, table2_generations.FIGURE, figure3_layer_scores.FIGURE
FIGURE6, FIGURE7 = figure6_key_neurons_by_language.FIGURE, figure7_model_scale.FIGURE
OF_PAPER = [figure for figure in SWEEP_FIGURES if figure.number]
CODES = ["en", "zh", "ar"]
SIZES = {"s": 100_000, "": 400_000, "l": 1_600_000}

OF_BLOOM = ["figure2_similarity_map", "figure3_layer_scores", "table1_deactivation"]
OVER_STEPS = [
    "figure4_training_dynamics",
    "figure5_key_neurons_by_layer_and_step",
    "figure6_key_neurons_by_language_and_step",
]
OF_LLAMA = [
    "figure8_similarity_maps_llama2",
    "figure9_layer_scores_llama2",
    "table4_deactivation_llama2",
    "figure10_model_scale_llama2",
    "figure11_key_neurons_by_language_llama2",
    "table3_generations_llama2",
]


def write_family(folder: Path, family: str) -> None:
    """Three sizes of a family; the one in the middle ran all stages."""
    for size, parameters in SIZES.items():
        model = f"{family}-nano-{size}".rstrip("-")
        write_job(folder / model, None, model, parameters, languages=CODES, cloze=True, generate=size == "")


@pytest.fixture(autouse=True, scope="module")
def coarse_pictures() -> Iterator[None]:
    """Few pixels: they take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DOTS_PER_INCH", 40)
        yield


@pytest.fixture
def paper(tmp_path) -> Path:
    """Both families at three sizes, and three steps of one model."""
    return write_paper(tmp_path)


def write_paper(folder: Path) -> Path:
    write_family(folder, "bloom")
    write_family(folder, "llama")
    for step in (0, 30, 100):
        write_job(folder / f"step{step}", step, languages=CODES, cloze=True)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, list[str]]:
    """The same sweep, of which the command has written figures and report, and what it said."""
    folder = write_paper(tmp_path_factory.mktemp("paper"))
    with redirect_stdout(StringIO()) as said:
        assert main([str(folder)]) == 0
    return folder, said.getvalue().splitlines()


def stems(folder: Path) -> list[str]:
    return save_sweep_figures(folder / "out", Sweep(folder))


def stem(figure: Figure) -> str:
    return figure.stem


def main_runs(sweep: Sweep) -> dict[Figure, Path]:
    """The folder of the run that each figure of one run shows."""
    return {figure: shown.folder for figure, shown in subjects(sweep).items() if isinstance(shown, Run)}


def test_all_ten_figures_and_four_tables_come_out(written):
    expected = [*OF_BLOOM, *OVER_STEPS, "figure7_model_scale", "table2_generations", *OF_LLAMA]
    assert expected == [stem(figure) for figure in OF_PAPER]
    numbers = {name.partition("_")[0] for name in expected}
    assert numbers == {f"figure{number}" for number in range(2, 12)} | {f"table{number}" for number in range(1, 5)}
    tables = [name for name in expected if name.startswith("table")]
    files = {f"{name}.{suffix}" for name in expected for suffix in ("png", "pdf")}
    files |= {f"{name}.{suffix}" for name in tables for suffix in ("csv", "md")}
    assert {path.name for path in (written[0] / "figures").iterdir()} == files


def test_the_command_names_every_figure_it_wrote(written):
    _, said = written
    assert said[0] == "9 runs: 9 done"
    assert [Path(line).stem for line in said[3:-1]] == [stem(figure) for figure in OF_PAPER]


@pytest.mark.parametrize(
    ("figure", "run"),
    [
        (TABLE1, "bloom-nano"),
        (TABLE2, "bloom-nano"),
        (TABLE3, "llama-nano"),
        (TABLE4, "llama-nano"),
    ],
    ids=["1", "2", "3", "4"],
)
def test_the_tables_are_those_of_the_run_with_all_stages(written, figure, run):
    folder, _ = written
    text = (folder / "figures" / f"{figure.stem}.csv").read_text(encoding="utf-8")
    assert text == figure.wide_table(Run(folder / run)).to_csv()


def test_figures_of_one_run_show_the_one_with_most_stages_of_its_family(paper):
    runs = main_runs(Sweep(paper))
    of_bloom = [figure for figure in SWEEP_FIGURES if figure.stem in (*OF_BLOOM, "table2_generations")]
    of_llama = [FIGURE9, TABLE4, FIGURE11, TABLE3]
    assert runs == dict.fromkeys(of_bloom, paper / "bloom-nano") | dict.fromkeys(of_llama, paper / "llama-nano")


def test_of_as_many_stages_the_first_run_is_shown_and_steps_and_failed_runs_never(tmp_path):
    for model, parameters in (("bloom-l", 300), ("bloom-s", 200), ("bloom-failed", 100)):
        write_job(tmp_path / model, None, model, parameters, languages=CODES, cloze=model == "bloom-failed")
    write_job(tmp_path / "step", 30, "bloom-s", 200, languages=CODES, cloze=True, generate=True)
    edit(tmp_path / "bloom-failed" / "run.json", status="failed", error="no memory")
    sweep = Sweep(tmp_path)
    assert set(main_runs(sweep).values()) == {tmp_path / "bloom-s"}
    assert main_run(sweep.table[:0]) is None


def test_a_main_run_without_a_file_has_no_figure_of_it(paper):
    (paper / "bloom-nano" / "perplexity.csv").unlink()
    (paper / "llama-nano" / "layers.csv").unlink()
    found = main_runs(Sweep(paper))
    assert TABLE1 not in found and TABLE2 in found
    assert FIGURE9 not in found and TABLE4 in found


def test_without_a_llama_there_is_none_of_its_figures(tmp_path):
    write_family(tmp_path, "bloom")
    assert stems(tmp_path) == [*OF_BLOOM, "figure7_model_scale", "table2_generations"]


def test_without_another_model_there_are_only_figures_of_the_llama(tmp_path):
    write_family(tmp_path, "llama")
    assert stems(tmp_path) == OF_LLAMA


def test_models_that_are_neither_have_the_figures_of_the_body_of_the_paper(tmp_path):
    write_family(tmp_path, "qwen")
    assert stems(tmp_path) == [*OF_BLOOM, "figure7_model_scale", "table2_generations"]


def test_one_llama_has_a_map_but_no_scale(tmp_path):
    write_job(tmp_path / "only", None, "llama-nano", languages=CODES)
    assert stems(tmp_path) == [name for name in OF_LLAMA if "scale" not in name and "generations" not in name]


def test_figures_that_cannot_be_drawn_any_more_go(tmp_path):
    run = write_job(tmp_path / "only", None, "llama-nano", languages=CODES, generate=True)
    assert "table3_generations_llama2" in stems(tmp_path)
    fail(run, "no memory")
    assert stems(tmp_path) == []
    assert list((tmp_path / "out" / "figures").iterdir()) == []


@pytest.mark.parametrize(
    ("model", "family", "expected"),
    [
        ("bloom-7b1", "bloom", False),
        ("llama2-7b", "llama2", True),
        ("meta-llama/Llama-2-7b-hf", "llama2", True),
        ("llama-nano-s", "llama-nano", True),
        ("llama3.1-8b", "llama3", False),
        ("llama-of-mine", "llama-of-mine", False),
        ("eurollm-9b", "eurollm", False),
    ],
)
def test_a_family_is_a_fact_and_no_name_is_parsed(tmp_path, model, family, expected):
    write_job(tmp_path, None, model, languages=CODES)
    edit(tmp_path / "metrics.json", family=family)
    table = Sweep(tmp_path).table
    assert (list(family_names(table)), list(is_in_part(table, APPENDIX_C))) == ([family], [expected])
    assert list(is_in_part(table, BODY)) == [not expected] and list(is_in_part(table, WHOLE)) == [True]


def test_a_run_of_an_older_edition_is_a_family_of_its_own(tmp_path):
    write_job(tmp_path, None, "llama2-7b", languages=CODES)
    metrics = read_json(tmp_path / "metrics.json")
    del metrics["family"]
    write_json(tmp_path / "metrics.json", metrics)
    assert list(Sweep(tmp_path).table["family"]) == ["llama2-7b"]


def test_the_variant_is_part_of_a_familys_name():
    runs = pd.DataFrame({"family": ["llama-nano", "bloom"], "variant": ["seed=1", ""]})
    assert list(family_names(runs)) == ["llama-nano, seed=1", "bloom"]
    assert list(is_in_part(runs, APPENDIX_C)) == [True, False]
    assert list(is_in_part(runs[:0], APPENDIX_C)) == []


def shown_models(figure: Picture) -> set[str]:
    return {text.get_text() for axes in figure.axes for text in axes.texts} - {"chance"}


def test_each_scale_shows_its_own_models(paper):
    sweep = Sweep(paper)
    assert shown_models(FIGURE7.picture(sweep.of(BODY))) == {"bloom-nano-s", "bloom-nano", "bloom-nano-l"}
    figure = FIGURE10.picture(FIGURE10.subject_in(sweep))
    assert shown_models(figure) == {"llama-nano-s", "llama-nano", "llama-nano-l"}
    assert figure.get_suptitle().startswith(FIGURE10.title)
    for axes, column in zip(figure.axes, ("lrds", "sads", "sklr_fraction", "cloze_accuracy_mean"), strict=True):
        points = sweep.of(APPENDIX_C).finals[["num_parameters", column]].to_numpy(float)
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), points)
        assert len(points) == 3


def test_the_maps_of_all_sizes_stand_side_by_side_in_their_order(paper):
    write_job(paper / "more", None, "llama-nano-xl", 3_000_000, languages=CODES)
    np.save(paper / "more" / "similarity.npy", np.load(paper / "more" / "similarity.npy") / 2)
    figure = FIGURE8.picture(Sweep(paper).of(APPENDIX_C))
    maps = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in maps] == ["llama-nano-s", "llama-nano", "llama-nano-l", "llama-nano-xl"]
    for axes, run in zip(maps, ("llama-nano-s", "llama-nano", "llama-nano-l", "more"), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.load(paper / run / "similarity.npy"))
        assert [label.get_text() for label in axes.get_yticklabels()] == ["English", "Chinese", "Arabic"]
    assert len({axes.images[0].get_clim() for axes in maps}) == 1  # one colour is one similarity in all of them
    figure.draw_without_rendering()
    assert not any(one.get_tightbbox().overlaps(other.get_tightbbox()) for one, other in combinations(figure.axes, 2))


def test_a_llama_without_a_map_is_left_out_of_the_maps(paper):
    (paper / "llama-nano-s" / "similarity.npy").unlink()
    figure = FIGURE8.picture(Sweep(paper).of(APPENDIX_C))
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["llama-nano", "llama-nano-l"]


@pytest.mark.parametrize(
    ("of_llama", "of_bloom"),
    [
        (FIGURE9, FIGURE3),
        (FIGURE11, FIGURE6),
        (TABLE4, TABLE1),
        (TABLE3, TABLE2),
    ],
    ids=stem,
)
def test_the_figures_of_a_llama_are_those_of_bloom_under_another_title(paper, of_llama, of_bloom):
    one, other = of_llama.picture(Run(paper / "llama-nano")), of_bloom.picture(Run(paper / "llama-nano"))
    assert one.get_suptitle() == f"{of_llama.title}\nllama-nano, checkpoint final"
    assert f"{of_bloom.title}, LLaMA" == of_llama.title
    for mine, its in zip(one.axes, other.axes, strict=True):
        assert [line.get_xydata().tolist() for line in mine.lines] == [line.get_xydata().tolist() for line in its.lines]
        assert [text.get_text() for text in mine.texts] == [text.get_text() for text in its.texts]
        assert [patch.get_bbox().bounds for patch in mine.patches] == [patch.get_bbox().bounds for patch in its.patches]


@pytest.mark.parametrize("figure", OF_PAPER, ids=stem)
def test_every_caption_names_its_place_in_the_paper(figure):
    kind, number = re.match(r"([a-z]+)(\d+)_", figure.stem).groups()
    assert figure.number == f"{kind.capitalize()} {number}"
    assert re.search(rf"paper's {figure.number}\b", figure.caption)
    assert figure.caption.endswith(".")
    for score, words in (("LRDS", "languages"), ("SADS", "meanings"), ("SKLR", "key")):
        assert score not in figure.caption or words in figure.caption


def test_the_standard_error_of_a_run_is_the_mean_of_its_languages(tmp_path):
    run = write_job(tmp_path / "a", 0, languages=CODES, cloze=True)
    write_job(tmp_path / "b", 30, languages=CODES)
    told = pd.read_csv(run / "cloze.csv").query("deactivated == 'none'")
    table = Sweep(tmp_path).table.set_index("job")
    assert table.loc["a", "cloze_stderr"] == pytest.approx(told["stderr"].mean())
    assert pd.isna(table.loc["b", "cloze_stderr"])


def test_one_language_without_an_error_leaves_the_mean_without(tmp_path):
    run = write_job(tmp_path / "a", 0, languages=CODES, cloze=True)
    table = pd.read_csv(run / "cloze.csv")
    table.loc[0, "stderr"] = None
    table.to_csv(run / "cloze.csv", index=False)
    assert Sweep(tmp_path).table["cloze_stderr"].isna().all()


def test_what_no_column_depends_on_makes_no_line_of_its_own(tmp_path):
    for step, samples in ((0, 3), (30, 5)):
        run = write_job(tmp_path / f"{step}", step, languages=CODES)
        parts = {
            "generation": {"samples": samples},
            "control": {"draws": samples},
            "cloze": {"name": "x", "regions": step == 0},
        }
        edit(run / "run.json", config={**read_json(run / "run.json")["config"], **parts})
    assert list(Sweep(tmp_path).lines()) == ["bloom-nano"]
