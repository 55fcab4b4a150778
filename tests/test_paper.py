"""The paper's numbers are transcribed, stand beside a run's own, and its observations are judged as their rules say."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from run_folders import BEFORE, LANGUAGES, edit, fail, sample_table, write_job, write_run_folder

from lf_experiments.equations import lrds, sads
from lf_experiments.measures.uncertainty.deactivation import effect_table, losses_by_language, mean_effects
from lf_experiments.paper import numbers, verdicts
from lf_experiments.paper.numbers import paper_table
from lf_experiments.paper.verdicts import Part, Verdict, verdicts_of_sweep
from lf_experiments.runs.paired import change, contrast, slope
from lf_experiments.runs.run import Run
from lf_experiments.runs.scores import LRDS
from lf_experiments.runs.sweep import Sweep
from lf_experiments.runs.tables import read_json
from lf_experiments.storage import write_json

BLOOM, LLAMA = "bloom-7b1", "llama2-7b"
NEURONS = {BLOOM: 30 * 16384, LLAMA: 32 * 11008}
CODES = ("en", "zh", "ar")
MEANINGS = 30
STEPS = (1000, 10_000, 50_000, 150_000)
SIZES = {"bloom-560m": 559_214_592, "bloom-1b1": 1_065_314_304, "bloom-3b": 3_002_557_440}


def verdicts_of_run(folder: Path) -> list[Verdict]:
    return verdicts.verdicts_of_run(Run(folder))


def beside_paper(folder: Path) -> pd.DataFrame | None:
    return numbers.beside_paper(Run(folder))


def beside_paper_text(folder: Path) -> pd.DataFrame | None:
    return numbers.beside_paper_text(Run(folder))


# The numbers of the paper -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [BLOOM, LLAMA])
def test_the_tables_have_a_row_per_language_and_two_on_the_regions(model):
    table = paper_table(model)
    assert list(table.index) == [*LANGUAGES, "key_neurons", "key_neurons_percent"]
    assert sorted(table.columns) == sorted(["full_model", "random", *LANGUAGES])
    missing = [tuple(cell) for cell in np.argwhere(table.isna().to_numpy())]
    assert missing == [(9, list(table.columns).index("full_model")), (10, list(table.columns).index("full_model"))]


@pytest.mark.parametrize(
    ("model", "language", "deactivated", "printed"),
    [
        (BLOOM, "en", "full_model", 13.94),
        (BLOOM, "id", "full_model", 20.55),
        (BLOOM, "en", "en", 22),
        (BLOOM, "en", "zh", 6),
        (BLOOM, "zh", "en", 3),
        (BLOOM, "hi", "ar", 109),
        (BLOOM, "ar", "ar", 309),
        (BLOOM, "vi", "vi", 83),
        (BLOOM, "id", "id", 1498),
        (BLOOM, "id", "random", 13),
        (BLOOM, "key_neurons", "random", 49152),
        (BLOOM, "key_neurons", "es", 7182),
        (BLOOM, "key_neurons_percent", "ar", 9.4),
        (LLAMA, "en", "full_model", 6.22),
        (LLAMA, "hi", "full_model", 2.34),
        (LLAMA, "en", "en", 10),
        (LLAMA, "en", "zh", 9),
        (LLAMA, "zh", "en", 5),
        (LLAMA, "pt", "es", 19),
        (LLAMA, "vi", "vi", 1796),
        (LLAMA, "hi", "hi", 27093),
        (LLAMA, "ar", "random", 62),
        (LLAMA, "key_neurons", "random", 59884),
        (LLAMA, "key_neurons", "id", 50881),
        (LLAMA, "key_neurons_percent", "vi", 16.5),
    ],
)
def test_cells_are_as_printed(model, language, deactivated, printed):
    assert paper_table(model).loc[language, deactivated] == printed


def test_the_perplexities_and_the_random_columns_are_as_printed():
    bloom, llama = paper_table(BLOOM).loc[LANGUAGES], paper_table(LLAMA).loc[LANGUAGES]
    assert bloom["full_model"].to_dict() == BEFORE
    assert list(llama["full_model"]) == [6.22, 4.40, 4.88, 5.66, 5.55, 3.21, 3.34, 2.34, 4.54]
    assert list(bloom["random"]) == [12, 11, 10, 10, 11, 12, 12, 10, 13]
    assert list(llama["random"]) == [31, 53, 46, 48, 54, 62, 51, 54, 56]


@pytest.mark.parametrize(("model", "sklr", "share"), [(BLOOM, 206_764, 0.421), (LLAMA, 253_041, 0.718)])
def test_counts_and_shares_agree_with_the_size_of_the_models(model, sklr, share):
    table = paper_table(model).drop(columns="full_model")
    percent = 100 * table.loc["key_neurons"] / NEURONS[model]
    np.testing.assert_allclose(table.loc["key_neurons_percent"], percent, atol=0.05)
    assert table.loc["key_neurons", LANGUAGES].sum() == sklr
    assert sklr / NEURONS[model] == pytest.approx(share, abs=5e-4)


def test_the_random_control_of_llama_is_slightly_larger_than_the_largest_region():
    sizes = paper_table(LLAMA).loc["key_neurons"]
    assert sizes[LANGUAGES].idxmax() == "vi"
    assert 1 < sizes["random"] / sizes["vi"] < 1.05


@pytest.mark.parametrize(("model", "number", "name"), [(BLOOM, "Table 1", "BLOOM-7B1"), (LLAMA, "Table 4", "LLaMA-2-7B")])
def test_each_file_names_its_source(model, number, name):
    text = (Path(numbers.__file__).parent / f"{model}.tsv").read_text(encoding="utf-8")
    assert numbers.TABLES[model] == number
    assert text.startswith(f"# {number} ")
    assert f"# {name}. " in text
    assert "Converging to a Lingua Franca: Evolution of Linguistic Regions and Semantics Alignment" in text


@pytest.mark.parametrize("model", ["bloom-nano", "bloom-560m", "llama2-70b"])
def test_the_paper_has_no_table_of_other_models(model):
    assert paper_table(model) is None


# Beside the paper -------------------------------------------------------------------------------------------------------


def paper_run(folder: Path, languages: list[str] = LANGUAGES, model: str = BLOOM, checkpoint: str = "final") -> Path:
    write_run_folder(folder, languages)
    edit(folder / "metrics.json", model=model, checkpoint=checkpoint)
    return folder


def test_every_cell_of_the_paper_has_what_was_measured_and_the_difference(tmp_path):
    folder = paper_run(tmp_path)
    perplexity = pd.read_csv(folder / "perplexity.csv")
    sizes = pd.read_csv(folder / "regions.csv").groupby("language")["key_neurons"].sum()
    table, paper = beside_paper(folder), paper_table(BLOOM)

    assert list(table.columns.unique(level=0)) == ["measured", "paper", "difference"]
    pd.testing.assert_frame_equal(table["paper"], paper)
    for language in LANGUAGES:
        rows = perplexity[perplexity["language"] == language].groupby("deactivated")
        assert table.loc[language, ("measured", "full_model")] == rows["perplexity"].mean()["none"]
        for deactivated in ["random", *LANGUAGES]:
            increase = rows["increase_percent"].mean()[deactivated]
            assert table.loc[language, ("measured", deactivated)] == pytest.approx(increase)
            assert table.loc[language, ("difference", deactivated)] == pytest.approx(
                increase - paper.loc[language, deactivated]
            )
        assert table.loc["key_neurons", ("measured", language)] == sizes[language]
        assert table.loc["key_neurons_percent", ("measured", language)] == pytest.approx(100 * sizes[language] / (3 * 512))
    assert table.loc["id", ("difference", "id")] == 0
    assert table.loc["hi", ("difference", "full_model")] == pytest.approx(0)
    assert table.loc["key_neurons", ("measured", "random")] == sizes.max()
    assert table.loc["key_neurons", ("difference", "random")] == sizes.max() - 49152
    assert not table.drop(columns=[(kind, "full_model") for kind in ("measured", "paper", "difference")]).isna().any(axis=None)


def test_rows_and_columns_are_those_of_the_paper_whatever_was_measured(tmp_path):
    folder = paper_run(tmp_path, ["ar", "en", "hi"], LLAMA)
    for name in ("perplexity.csv", "regions.csv"):
        pd.read_csv(folder / name).replace("hi", "sw").to_csv(folder / name, index=False)
    table, paper = beside_paper(folder), paper_table(LLAMA)
    assert list(table["measured"].columns) == list(paper.columns)
    assert list(table.index) == list(paper.index)
    measured = table["measured"].loc[LANGUAGES].notna()
    assert set(zip(*np.where(measured), strict=True)) == {
        (LANGUAGES.index(row), list(paper.columns).index(column))
        for row in ("ar", "en")
        for column in ("full_model", "random", "ar", "en")
    }


def test_what_a_run_has_not_measured_is_missing_beside_the_paper(tmp_path):
    folder = paper_run(tmp_path)
    (folder / "perplexity.csv").unlink()
    measured = beside_paper(folder)["measured"]
    assert measured.loc[LANGUAGES].isna().all(axis=None)
    assert measured.loc["key_neurons", LANGUAGES].notna().all()
    assert np.isnan(measured.loc["key_neurons", "random"])

    (folder / "regions.csv").unlink()
    table = beside_paper(folder)
    assert table[["measured", "difference"]].isna().all(axis=None)
    assert table["paper"].loc["en", "en"] == 22


def test_without_random_neurons_their_column_is_empty(tmp_path):
    folder = paper_run(tmp_path)
    perplexity = pd.read_csv(folder / "perplexity.csv")
    perplexity[perplexity["deactivated"] != "random"].to_csv(folder / "perplexity.csv", index=False)
    measured = beside_paper(folder)["measured"]
    assert measured["random"].isna().all()
    assert measured["id"].notna().all()


@pytest.mark.parametrize(("model", "checkpoint"), [("bloom-nano", "final"), ("bloom-3b", "final"), (BLOOM, "step1000")])
def test_nothing_stands_beside_a_run_that_the_paper_has_no_table_of(tmp_path, model, checkpoint):
    folder = paper_run(tmp_path, model=model, checkpoint=checkpoint)
    assert beside_paper(folder) is None
    assert beside_paper_text(folder) is None


def test_as_text_each_row_has_three_lines_with_the_decimals_of_the_paper(tmp_path):
    folder = paper_run(tmp_path, ["en", "id"])
    edit_cells(folder, ("none", "en"), perplexity=14.0)
    edit_cells(folder, ("en", "en"), increase_percent=12.6)
    edit_cells(folder, ("id", "en"), increase_percent=4.9)
    regions = pd.DataFrame({"language": ["en", "id"], "layer": 0, "key_neurons": [15000, 16001], "neurons": NEURONS[BLOOM]})
    regions.to_csv(folder / "regions.csv", index=False)

    table = beside_paper_text(folder)

    assert len(table) == 33
    assert list(table.columns[:5]) == ["Language", "", "Full model", "Random neurons", "× English"]
    english = table[table["Language"] == "English"].set_index("")
    assert list(english["Full model"]) == ["14.00", "13.94", "+0.06"]
    assert list(english["× English"]) == ["13", "22", "−9"]
    assert list(english["× Indonesian"]) == ["5", "5", "+0"]
    assert list(english["× Hindi"]) == ["–", "7", "–"]
    counts = table[table["Language"] == "Key neurons"].set_index("")
    assert list(counts["× Indonesian"]) == ["16,001", "15,201", "+800"]
    assert list(counts["Full model"]) == ["–", "–", "–"]
    shares = table[table["Language"] == "Key neurons, % of all"].set_index("")
    assert list(shares["× English"]) == ["3.1", "3.2", "−0.1"]


def edit_cells(folder: Path, cell: tuple[str, str], **values: float) -> None:
    """Change the row of `perplexity.csv` with this deactivated and this evaluated language."""
    table = pd.read_csv(folder / "perplexity.csv")
    rows = (table["deactivated"] == cell[0]) & (table["language"] == cell[1])
    assert rows.any()
    for name, value in values.items():
        table.loc[rows, name] = value
    table.to_csv(folder / "perplexity.csv", index=False)


# The verdicts -----------------------------------------------------------------------------------------------------------


def verdict(verdicts: list[Verdict], number: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.observation.number == number)


def part(verdicts: list[Verdict], number: str, words: str) -> Part:
    """The part whose statement contains the words."""
    (found,) = [part for part in verdict(verdicts, number).parts if words in part.statement]
    return found


def test_every_observation_of_the_paper_is_judged_in_its_order(tmp_path):
    verdicts = verdicts_of_run(write_run_folder(tmp_path, LANGUAGES))
    assert [(verdict.observation.number, verdict.observation.section) for verdict in verdicts] == [
        ("I", "4.2"),
        ("II", "4.3"),
        ("III", "4.4"),
        ("IV", "4.5"),
        ("V", "4.6"),
    ]
    assert all(part.text and part.statement.endswith(".") for verdict in verdicts for part in verdict.parts)


def test_an_empty_folder_measured_nothing(tmp_path):
    verdicts = verdicts_of_run(tmp_path)
    assert {verdict.answer for verdict in verdicts} == {"not measured"}
    assert {part.answer for verdict in verdicts for part in verdict.parts} == {"not measured"}
    assert part(verdicts, "I", "every language").text == "no similarity.npy, samples.csv"
    assert part(verdicts, "II", "that loses most").text == "no perplexity.csv"


# I: similarity ----------------------------------------------------------------------------------------------------------


def write_map(folder: Path, change: Callable[[str, str, bool], float] = lambda *_: 0.0, sentences: int = 4) -> Path:
    """A map in which a language adds 0.3, a meaning 0.1, kinship of fr, es, pt 0.05, and `change(one, other, same meaning)`."""
    random = np.random.default_rng(1)
    samples = sample_table(LANGUAGES, sentences).sample(frac=1, random_state=2)  # labels decide, not positions
    pairs = [[similarity(one, other, change) for other in samples.itertuples()] for one in samples.itertuples()]
    noise = random.normal(0, 1e-6, (len(samples), len(samples)))
    np.save(folder / "similarity.npy", (np.array(pairs) + noise + noise.T).astype(np.float32))
    samples.to_csv(folder / "samples.csv", index=False)
    return folder


def similarity(one, other, change: Callable[[str, str, bool], float]) -> float:
    same_meaning = one.meaning == other.meaning
    kin = {one.language, other.language} <= {"fr", "es", "pt"}
    languages = sorted([one.language, other.language])
    return 0.2 + 0.3 * (one.language == other.language) + 0.1 * same_meaning + 0.05 * kin + change(*languages, same_meaning)


def test_similarity_by_language_and_meaning_holds(tmp_path):
    verdicts = verdicts_of_run(write_map(tmp_path))
    assert part(verdicts, "I", "layers between").answer == "not measured"  # and does not decide
    assert verdict(verdicts, "I").answer == "holds"
    assert part(verdicts, "I", "every language").text.startswith("9 of 9 languages above 0; least +0.3000 (+0.3000, +0.3000)")
    assert part(verdicts, "I", "translations").text.startswith(
        "mean +0.1000 (+0.1000, +0.1000); 36 of 36 pairs of languages above 0; least +0.1000"
    )
    assert part(verdicts, "I", "French").text == "0.2500 against 0.2000; difference +0.0500 (+0.0500, +0.0500)"


def test_the_margins_of_similarity_are_the_parts_of_lrds_and_sads(tmp_path):
    """Brute force over labels, and the mean of the margins against eq. (8) and (9)."""
    folder = write_run_folder(tmp_path, LANGUAGES, sentences=5)
    samples, map_SS = pd.read_csv(folder / "samples.csv"), np.load(folder / "similarity.npy").astype(float)
    pairs = [(one, other) for one, other in combinations(samples.itertuples(), 2) if one.meaning != other.meaning]
    within = {language: [] for language in LANGUAGES}
    across = {language: [] for language in LANGUAGES}
    for one, other in pairs:
        value = map_SS[one.Index, other.Index]
        if one.language == other.language:
            within[one.language].append(value)
        else:
            across[one.language].append(value)
            across[other.language].append(value)
    margins = {language: np.mean(within[language]) - np.mean(across[language]) for language in LANGUAGES}
    language_S = torch.tensor([LANGUAGES.index(language) for language in samples["language"]])
    meaning_S = torch.tensor([int(meaning[1:]) for meaning in samples["meaning"]])
    assert np.mean(list(margins.values())) == pytest.approx(lrds(torch.tensor(map_SS), language_S, meaning_S))
    least = min(margins.values())
    found = part(verdicts_of_run(folder), "I", "every language")
    assert found.answer == ("holds" if least > 0 else "undecided")
    assert f"least {least:+.4f}" in found.text

    translations = {}
    for one, other in combinations(range(9), 2):
        block = map_SS[np.ix_(language_S == one, language_S == other)]
        off = block[~np.eye(5, dtype=bool)]
        translations[one, other] = np.diag(block).mean() - off.mean()
    assert np.mean(list(translations.values())) == pytest.approx(sads(torch.tensor(map_SS), language_S, meaning_S))
    found = part(verdicts_of_run(folder), "I", "translations")
    mean = sum(translations.values()) / len(translations)
    assert found.text.startswith(f"mean {mean:+.4f} (")
    assert f"least {min(translations.values()):+.4f}" in found.text


def test_one_language_that_is_no_block_of_its_own_is_enough_to_fail(tmp_path):
    folder = write_map(tmp_path, lambda one, other, _: -0.35 if one == other == "hi" else 0.0)
    found = part(verdicts_of_run(folder), "I", "every language")
    assert found.answer == "does not hold"
    assert found.text.startswith("8 of 9 languages above 0, 1 below; least -0.0500")
    assert found.text.endswith("Hindi")
    assert verdict(verdicts_of_run(folder), "I").answer == "does not hold"


def test_one_pair_of_languages_without_a_bright_band_is_named(tmp_path):
    folder = write_map(tmp_path, lambda one, other, same: -0.15 if (one, other) == ("ar", "zh") and same else 0.0)
    found = part(verdicts_of_run(folder), "I", "translations")
    assert found.answer == "holds"
    assert "35 of 36 pairs of languages above 0, 1 below; least -0.0500" in found.text
    assert set(found.text.split(", ")[-1].split(" and ")) == {"Chinese", "Arabic"}


@pytest.mark.parametrize("languages", [("en", "zh", "fr", "es", "pt", "ar", "vi"), ("en",)], ids=["most pairs", "on average"])
def test_bright_bands_must_be_there_on_average_and_in_most_pairs(tmp_path, languages):
    depth = -0.15 if len(languages) > 1 else -2.0
    folder = write_map(
        tmp_path,
        lambda one, other, same: depth if same and one in languages and (len(languages) == 1 or other in languages) else 0.0,
    )
    found = part(verdicts_of_run(folder), "I", "translations")
    assert found.answer == "does not hold"
    assert part(verdicts_of_run(folder), "I", "every language").answer == "holds"
    assert verdict(verdicts_of_run(folder), "I").answer == "does not hold"


def test_kinship_is_judged_but_does_not_decide(tmp_path):
    folder = write_map(tmp_path, lambda one, other, _: -0.1 if (one, other) == ("es", "pt") else 0.0)
    found = part(verdicts_of_run(folder), "I", "French")
    assert (found.answer, found.decides) == ("holds", False)
    assert found.text == "0.2167 against 0.2000; difference +0.0167 (+0.0167, +0.0167)"
    folder = write_map(tmp_path, lambda one, other, _: -0.2 if (one, other) == ("es", "pt") else 0.0)
    found = part(verdicts_of_run(folder), "I", "French")
    assert (found.answer, found.text) == ("does not hold", "0.1833 against 0.2000; difference -0.0167 (-0.0167, -0.0167)")
    assert verdict(verdicts_of_run(folder), "I").answer == "holds"


@pytest.mark.parametrize("languages", [["en", "zh", "ar"], ["fr", "es", "pt"]])
def test_kinship_is_not_asked_of_runs_without_kin_or_without_others(tmp_path, languages):
    verdicts = verdicts_of_run(write_run_folder(tmp_path, languages))
    assert not any("French" in part.statement for part in verdict(verdicts, "I").parts)


def write_layers(folder: Path, lrds: list[float], sads: list[float]) -> Path:
    write_run_folder(folder, ["en", "zh"])
    pd.DataFrame({"layer": range(len(lrds)), "lrds": lrds, "sads": sads}).to_csv(folder / "layers.csv", index=False)
    write_influence(folder, [{"lrds": one, "sads": other} for one, other in zip(lrds, sads, strict=True)], 0.001)
    return folder


def write_influence(folder: Path, layers: list[dict[str, float]], error: float, first: int = 0, seed: int = 0) -> None:
    """`influence.parquet` with these scores from layer `first` on, each with an error of its own."""
    random, rows = np.random.default_rng(seed), []
    for layer, scores in enumerate(layers, first):
        noise = {name: centred(random.normal(size=MEANINGS)) * error * np.sqrt(MEANINGS) for name in scores}
        rows += [
            {"meaning": f"m{number}", "layer": layer} | {name: scores[name] + noise[name][number] for name in scores}
            for number in range(MEANINGS)
        ]
    pd.DataFrame(rows).to_parquet(folder / "influence.parquet", index=False)


def centred(noise: np.ndarray) -> np.ndarray:
    """Numbers whose mean is 0 and whose deviation is 1."""
    return (noise - noise.mean()) / noise.std(ddof=1)


@pytest.mark.parametrize(
    ("lrds", "sads", "answer"),
    [
        ([0.5, 0.2, 0.3, 0.4], [0.01, 0.05, 0.03, 0.02], "holds"),
        ([0.2, 0.2, 0.3, 0.4], [0.01, 0.05, 0.03, 0.02], "does not hold"),  # LLaMA's first layer, appendix C.2
        ([0.5, 0.2, 0.3, 0.1], [0.01, 0.05, 0.03, 0.02], "does not hold"),
        ([0.5, 0.2, 0.3, 0.4], [0.06, 0.05, 0.03, 0.02], "does not hold"),
        ([0.5, 0.2, 0.3, 0.4], [0.01, 0.05, 0.03, 0.06], "does not hold"),
        ([0.5, 0.2, 0.3, 0.251], [0.01, 0.05, 0.03, 0.02], "undecided"),
        ([0.5, 0.2], [0.01, 0.05], "not measured"),
    ],
)
def test_the_first_and_last_layers_against_those_between(tmp_path, lrds, sads, answer):
    found = part(verdicts_of_run(write_layers(tmp_path, lrds, sads)), "I", "layers between")
    assert (found.answer, found.decides) == (answer, False)


def test_the_first_and_last_layers_are_a_tenth_of_them(tmp_path):
    lrds = [0.9, 0.8, 0.7, *[0.2] * 24, 0.3, 0.4, 0.5]
    sads = [0.0, 0.0, 0.0, *[0.1] * 24, 0.0, 0.0, 0.0]
    found = part(verdicts_of_run(write_layers(tmp_path, lrds, sads)), "I", "layers between")
    expected = "LRDS: first 0.8000, between 0.2000, last 0.4000; SADS: first 0.0000, between 0.1000, last 0.0000"
    assert (found.answer, found.text) == ("holds", expected)


# II: deactivation -------------------------------------------------------------------------------------------------------


def write_rises(folder: Path, table: pd.DataFrame, noise: float = 0.002) -> Path:
    """What `deactivate` leaves with these rises in percent: evaluated languages as rows, deactivated ones and `random` as
    columns. `noise` is the spread of the rise over windows of text, and of six draws of random neurons, in nats per token.
    """
    random, rows = np.random.default_rng(0), []
    for language in table.index:
        full_W = 100 * np.exp(random.normal(0.8, 0.3, 20))
        cells = [
            ("none", 0, 0.0),
            *((name, draw, table.loc[language, name]) for name in table for draw in range(6 if name == "random" else 1)),
        ]
        for name, draw, rise in cells:
            nats_W = np.log1p(rise / 100) + (name != "none") * noise * (
                centred(random.normal(size=20)) + (draw - 2.5) / 2 * (name == "random")
            )
            rows += [
                (name, draw, "", 1.0, language, window, full + 100 * nats, 100)
                for window, (full, nats) in enumerate(zip(full_W, nats_W, strict=True))
            ]
    columns = ["deactivated", "draw", "matches", "dose", "language", "window", "nll", "tokens"]
    windows = pd.DataFrame(rows, columns=columns)
    losses = losses_by_language(windows, "none", "random")
    effect_table(losses, 0.95).to_csv(folder / "effects.csv", index=False)
    cells = windows.groupby(columns[:5], sort=False)[["nll", "tokens"]].sum().reset_index()
    cells["perplexity"] = np.exp(cells["nll"] / cells["tokens"])
    full = cells[cells["deactivated"] == "none"].set_index("language")["perplexity"]
    cells["increase_percent"] = 100 * (cells["perplexity"] / cells["language"].map(full) - 1)
    cells.to_csv(folder / "perplexity.csv", index=False)
    effects = {}
    for name, effect in mean_effects(losses).items():
        low, high = effect.interval(0.95)
        effects |= {name: effect.value, f"{name}_lo": low, f"{name}_hi": high}
    there = (folder / "metrics.json").exists()
    known = read_json(folder / "metrics.json") if there else {"model": "bloom-nano", "checkpoint": "final"}
    write_json(folder / "metrics.json", known | effects)
    return folder


def rises(own: float = 50.0, others: float = 3.0, random: float = 10.0, codes: tuple[str, ...] = CODES) -> pd.DataFrame:
    table = pd.DataFrame(others, codes, codes) + (own - others) * np.eye(len(codes))
    return table.assign(random=random)


def deciding(found: Verdict) -> list[str]:
    return [part.answer for part in found.parts if part.decides]


@pytest.mark.parametrize("model", [BLOOM, LLAMA])
def test_the_tables_of_the_paper_bear_out_its_observation(tmp_path, model):
    found = verdict(verdicts_of_run(write_rises(tmp_path, paper_table(model).loc[LANGUAGES].drop(columns="full_model"))), "II")
    assert found.answer == "holds"
    least = {BLOOM: "Spanish", LLAMA: "English"}[model]
    assert found.parts[0].text.startswith("9 of 9 regions above 0; least +0.")
    assert found.parts[0].text.endswith(f" nats per token, {least}")
    every = next(part for part in found.parts if part.statement.startswith("Every language loses more"))
    assert (every.answer, every.decides) == ({BLOOM: "holds", LLAMA: "does not hold"}[model], False)


def test_another_language_that_loses_more_fails_the_first_claim(tmp_path):
    table = rises()
    table.loc["zh", "en"] = 55.0
    found = verdict(verdicts_of_run(write_rises(tmp_path, table)), "II")
    assert deciding(found)[:2] == ["does not hold", "holds"]
    assert found.parts[0].text.startswith("2 of 3 regions above 0, 1 below; least -0.0328 (-0.0")
    assert found.parts[0].text.endswith("English")
    assert found.answer == "does not hold"


def test_another_language_that_loses_as_much_leaves_it_undecided(tmp_path):
    table = rises()
    table.loc["zh", "en"] = 50.0
    found = verdict(verdicts_of_run(write_rises(tmp_path, table)), "II")
    assert deciding(found)[:2] == ["undecided", "holds"]
    assert "2 of 3 regions above 0, 1 undecided; least" in found.parts[0].text


def test_effects_within_their_noise_are_undecided(tmp_path):
    found = verdict(verdicts_of_run(write_rises(tmp_path, rises(), noise=1.5)), "II")
    assert set(deciding(found)) == {"undecided"}
    assert found.answer == "undecided"


@pytest.mark.parametrize(
    ("table", "answers"),
    [
        (rises(random=60.0), ["holds", "does not hold", "holds"]),
        (rises(random=2.0), ["holds", "holds", "does not hold"]),
        (rises(random=50.0), ["holds", "undecided", "holds"]),
        (rises(random=3.0), ["holds", "holds", "undecided"]),
    ],
)
def test_random_neurons_are_the_measure_of_much_and_little(tmp_path, table, answers):
    found = verdict(verdicts_of_run(write_rises(tmp_path, table)), "II")
    assert deciding(found) == answers
    assert found.answer == ("undecided" if "does not hold" not in answers else "does not hold")


def test_without_random_neurons_observation_two_is_measured_in_part(tmp_path):
    found = verdict(verdicts_of_run(write_rises(tmp_path, rises().drop(columns="random"))), "II")
    assert deciding(found) == ["holds", "not measured", "not measured"]
    assert found.parts[1].text == "no random neurons were switched off"
    assert found.answer == "not measured"


def test_a_part_that_fails_outweighs_one_that_was_not_measured(tmp_path):
    table = rises(own=1.0).drop(columns="random")
    found = verdict(verdicts_of_run(write_rises(tmp_path, table)), "II")
    assert deciding(found) == ["does not hold", "not measured", "not measured"]
    assert found.answer == "does not hold"


def test_a_run_that_kept_no_windows_is_never_judged_by_its_points(tmp_path):
    folder = write_rises(tmp_path, rises())
    (folder / "effects.csv").unlink()
    found = verdict(verdicts_of_run(folder), "II")
    assert set(deciding(found)) == {"undecided"}
    assert found.parts[0].text == "no interval: this run kept no losses by window of text"


# III and IV: training ---------------------------------------------------------------------------------------------------


def write_training(root: Path, steps: tuple[int, ...] = STEPS, **courses: list[float]) -> Sweep:
    """A sweep over steps, with these values of the scalars of `metrics.json` and their intervals; cloze as one number."""
    for number, step in enumerate(steps):
        folder = write_job(root / f"step{step}", step)
        values = {name: course[number] for name, course in courses.items()}
        edit(folder / "metrics.json", **values, **intervals(values))
        if "cloze_accuracy" in values:
            accuracy = values["cloze_accuracy"]
            edit(folder / "metrics.json", cloze_accuracy={"en": accuracy + 0.1, "zh": accuracy - 0.1})
    return Sweep(root)


def intervals(values: dict[str, float], reach: float = 0.004) -> dict[str, float]:
    """Intervals of scores as runs keep them; of SKLR the excess over shuffled languages, half of it, and what is replicated."""
    found = {}
    for name, value in values.items():
        key = {"cloze_accuracy": "cloze_accuracy_mean"}.get(name, name)
        if isinstance(value, float) and name != "sklr_fraction":
            found |= {f"{key}_lo": value - reach, f"{key}_hi": value + reach}
    if "sklr_fraction" in values:
        excess = 768 * values["sklr_fraction"] / 2
        found |= {"sklr_excess": excess, "sklr_excess_lo": excess - 5, "sklr_excess_hi": excess + 5, "sklr_replicated": excess}
    return found


FALLING, RISING = [0.5, 0.4, 0.45, 0.3], [0.01, 0.03, 0.02, 0.04]


def test_training_as_the_paper_saw_it_holds(tmp_path):
    table = write_training(tmp_path, lrds=FALLING, sklr_fraction=FALLING, sads=RISING, cloze_accuracy=[0.5, 0.5, 0.6, 0.7])
    verdicts = verdicts_of_sweep(table)
    assert [verdict(verdicts, number).answer for number in ("III", "IV")] == ["holds", "holds"]
    assert part(verdicts, "III", "LRDS").text.startswith(
        "bloom-nano: 0.5000 at step 1,000, 0.3000 at step 150,000; change -0.2000 (-0.20"
    )
    assert part(verdicts, "III", "LRDS").text.endswith(" per e-fold")
    assert part(verdicts, "III", "SKLR").text.startswith("bloom-nano: 50.0% at step 1,000, 30.0% at step 150,000")
    assert "change +0.0300 (+0.0" in part(verdicts, "IV", "SADS").text
    assert part(verdicts, "IV", "cloze").text.startswith("bloom-nano: 50.0% at step 1,000, 70.0% at step 150,000")


@pytest.mark.parametrize(
    ("number", "name", "words", "course", "answer"),
    [
        ("III", "lrds", "LRDS", [0.3, 0.4, 0.5, 0.45], "does not hold"),  # turns late, and ends above its beginning
        ("III", "lrds", "LRDS", [0.3, 0.5, 0.4, 0.5], "undecided"),  # as high as its highest point, within the interval
        ("III", "lrds", "LRDS", [0.3, 0.3, 0.3, 0.3], "undecided"),
        ("III", "sklr_fraction", "SKLR", [0.3, 0.4, 0.45, 0.5], "does not hold"),
        ("III", "sklr_fraction", "SKLR", [0.3, 0.301, 0.3, 0.3], "undecided"),
        ("IV", "sads", "SADS", FALLING, "does not hold"),
        ("IV", "sads", "SADS", [0.02, 0.04, 0.03, 0.01], "does not hold"),
        ("IV", "cloze_accuracy", "cloze", [0.6, 0.5, 0.5, 0.5], "undecided"),
    ],
)
def test_training_that_goes_the_other_way_or_nowhere_does_not_hold(tmp_path, number, name, words, course, answer):
    courses = {"lrds": FALLING, "sklr_fraction": FALLING, "sads": RISING, "cloze_accuracy": [0.5, 0.6, 0.7, 0.8], name: course}
    verdicts = verdicts_of_sweep(write_training(tmp_path, **courses))
    assert part(verdicts, number, words).answer == answer
    assert verdict(verdicts, number).answer == answer
    assert verdict(verdicts, {"III": "IV", "IV": "III"}[number]).answer == "holds"


def test_a_course_that_rises_and_drops_at_its_end_does_not_fall(tmp_path):
    table = write_training(tmp_path, (*STEPS, 300_000), lrds=[0.2, 0.3, 0.4, 0.5, 0.1], sads=[0.4, 0.3, 0.2, 0.1, 0.5])
    verdicts = verdicts_of_sweep(table)
    for number, words in (("III", "LRDS"), ("IV", "SADS")):
        assert part(verdicts, number, words).answer == "does not hold"


def test_a_course_is_judged_from_its_turn_where_that_comes_early(tmp_path):
    steps = (1000, 5000, 10_000, 50_000, 100_000, 150_000)
    course = [0.30, 0.35, 0.60, 0.50, 0.40, 0.31]
    verdicts = verdicts_of_sweep(write_training(tmp_path, steps, lrds=course, sads=[1 - score for score in course]))
    for number, words, course_of in (("III", "LRDS", "-0.2900"), ("IV", "SADS", "+0.2900")):
        assert part(verdicts, number, words).answer == "holds"
        assert f"; change {course_of} (" in part(verdicts, number, words).text


def test_the_turn_of_a_course_is_told(tmp_path):
    verdicts = verdicts_of_sweep(write_training(tmp_path, lrds=[0.4, 0.6, 0.5, 0.3], sads=[0.03, 0.02, 0.04, 0.05]))
    assert "0.4000 at step 1,000, 0.6000 at step 10,000, 0.3000 at step 150,000;" in part(verdicts, "III", "LRDS").text
    assert "0.0300 at step 1,000, 0.0200 at step 10,000, 0.0500 at step 150,000;" in part(verdicts, "IV", "SADS").text


def test_without_a_cloze_task_observation_four_is_not_measured(tmp_path):
    verdicts = verdicts_of_sweep(write_training(tmp_path, sads=RISING))
    assert part(verdicts, "IV", "SADS").answer == "holds"
    assert part(verdicts, "IV", "cloze").text == "bloom-nano: measured at 0 points, 3 are needed"
    assert verdict(verdicts, "IV").answer == "not measured"


def test_two_steps_are_no_trend(tmp_path):
    table = write_training(tmp_path, STEPS[:2], lrds=[0.5, 0.3])
    found = part(verdicts_of_sweep(table), "III", "LRDS")
    assert (found.answer, found.text) == ("not measured", "bloom-nano: measured at 2 points, 3 are needed")


def test_untrained_weights_are_not_part_of_the_course(tmp_path):
    table = write_training(tmp_path, (0, *STEPS), lrds=[0.1, *FALLING])
    found = part(verdicts_of_sweep(table), "III", "LRDS")
    assert found.answer == "holds"
    assert "0.5000 at step 1,000" in found.text


def test_steps_that_share_their_weights_and_failed_ones_are_left_out(tmp_path):
    steps = (1000, 5000, 10_000, 50_000, 100_000, 150_000)
    write_training(tmp_path, steps, lrds=[0.5, 0.9, 0.4, 0.8, 0.8, 0.3])
    for step in (50_000, 100_000):
        write_job(tmp_path / f"step{step}", step, fingerprint="same")
        edit(tmp_path / f"step{step}" / "metrics.json", lrds=0.8)
    edit(tmp_path / "step5000" / "run.json", status="failed")
    found = part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS")
    assert found.text.startswith("bloom-nano: 0.5000 at step 1,000, 0.3000 at step 150,000; change -0.2000")
    assert found.answer == "holds"


def test_each_model_is_judged_and_those_without_a_measure_have_no_say(tmp_path):
    write_training(tmp_path / "one", lrds=FALLING)
    for step in STEPS[:2]:
        write_job(tmp_path / "two" / f"step{step}", step, model="llama-nano")
    found = part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS")
    assert found.answer == "holds"
    assert "llama-nano: measured at 2 points, 3 are needed" in found.text

    for number, step in enumerate(STEPS):
        value = FALLING[-1 - number]
        edit(
            write_job(tmp_path / "two" / f"step{step}", step, "llama-nano") / "metrics.json",
            lrds=value,
            **intervals({"lrds": value}),
        )
    found = part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS")
    assert found.answer == "does not hold"


def write_region_layers(folder: Path, counts: list[int]) -> None:
    """Key neurons per layer, half of them of each of two languages."""
    rows = [(language, layer, count // 2, 256) for language in ("en", "zh") for layer, count in enumerate(counts)]
    with_evidence(pd.DataFrame(rows, columns=["language", "layer", "key_neurons", "neurons"])).to_csv(
        folder / "regions.csv", index=False
    )


def with_evidence(regions: pd.DataFrame, null: float = 1.0, replicated: float = 0.5) -> pd.DataFrame:
    """`regions.csv` with what shuffled languages give and what halves find again."""
    count = regions["key_neurons"]
    return regions.assign(null_mean=null, excess=count - null, replicated=replicated * count)


@pytest.mark.parametrize(
    ("counts", "answer"),
    [
        ([20, 6, 10, 10], "holds"),
        ([8, 6, 10, 20], "does not hold"),
        ([20, 6, 10, 8], "does not hold"),
        ([4, 2], "not measured"),
    ],
)
def test_where_key_neurons_lie_is_judged_but_does_not_decide(tmp_path, counts, answer):
    write_run_folder(tmp_path, ["en", "zh"])
    write_region_layers(tmp_path, counts)
    found = part(verdicts_of_run(tmp_path), "III", "more key neurons")
    assert (found.answer, found.decides) == (answer, False)
    assert verdict(verdicts_of_run(tmp_path), "III").answer == "not measured"
    if len(counts) == 4:
        assert found.text == f"key neurons per layer: first {counts[0]:.1f}, between 8.0, last {counts[-1]:.1f}"


@pytest.mark.parametrize(("firsts", "answer"), [([10, 20, 40, 60], "holds"), ([60, 40, 20, 10], "does not hold")])
def test_whether_first_layers_grow_denser(tmp_path, firsts, answer):
    table = write_training(tmp_path, lrds=FALLING, sklr_fraction=FALLING)
    for step, first in zip(STEPS, firsts, strict=True):
        write_region_layers(tmp_path / f"step{step}", [first, 10, 10, 20])
    found = part(verdicts_of_sweep(table), "III", "share of the key neurons")
    assert (found.answer, found.decides) == (answer, False)
    shares = [first / (first + 40) for first in (firsts[0], firsts[-1])]
    assert f"{shares[0]:.1%} at step 1,000, {shares[1]:.1%} at step 150,000" in found.text
    assert verdict(verdicts_of_sweep(table), "III").answer == "holds"


def test_runs_without_regions_or_without_key_neurons_have_no_share(tmp_path):
    table = write_training(tmp_path)
    (tmp_path / "step1000" / "regions.csv").unlink()
    write_region_layers(tmp_path / "step10000", [0, 0, 0])
    found = part(verdicts_of_sweep(table), "III", "share of the key neurons")
    assert (found.answer, found.text) == ("not measured", "bloom-nano: measured at 2 points, 3 are needed")


def test_counts_that_disagree_with_their_null_or_their_halves_are_undecided(tmp_path):
    write_run_folder(tmp_path, ["en", "zh"])
    write_region_layers(tmp_path, [20, 6, 10, 10])
    regions = pd.read_csv(tmp_path / "regions.csv")
    regions.assign(excess=-regions["excess"]).to_csv(tmp_path / "regions.csv", index=False)
    found = part(verdicts_of_run(tmp_path), "III", "more key neurons")
    assert found.answer == "undecided"
    assert found.text.endswith("their number, their excess and those found again disagree")
    regions.drop(columns="replicated").to_csv(tmp_path / "regions.csv", index=False)
    found = part(verdicts_of_run(tmp_path), "III", "more key neurons")
    assert (found.answer, found.text.split("; ")[1]) == ("undecided", "neither shuffled languages nor halves were tried")


def write_sizes(folder: Path, sizes: dict[str, float]) -> Path:
    write_run_folder(folder, list(sizes))
    table = pd.DataFrame({"language": sizes.keys(), "layer": 0, "key_neurons": [int(size) for size in sizes.values()]})
    with_evidence(table.assign(neurons=60_000)).to_csv(folder / "regions.csv", index=False)
    return folder


@pytest.mark.parametrize(("model", "distant", "others"), [(BLOOM, "41,085", "13,918"), (LLAMA, "34,043", "25,152")])
def test_distant_languages_have_larger_regions_in_the_paper(tmp_path, model, distant, others):
    folder = write_sizes(tmp_path, paper_table(model).loc["key_neurons", LANGUAGES].to_dict())
    found = part(verdicts_of_run(folder), "IV", "Vietnamese")
    assert (found.answer, found.decides) == ("holds", False)
    assert found.text == f"{distant} key neurons against {others} key neurons"


def test_distant_languages_with_smaller_regions_do_not_hold_and_other_sets_are_not_asked(tmp_path):
    found = part(verdicts_of_run(write_sizes(tmp_path, {"en": 30, "vi": 10, "ar": 40, "zh": 10})), "IV", "Vietnamese")
    assert found.answer == "does not hold"
    for languages in (["vi", "ar", "zh"], ["en", "ar", "zh"]):
        verdicts = verdicts_of_run(write_sizes(tmp_path, dict.fromkeys(languages, 10)))
        assert not any("Vietnamese" in part.statement for part in verdict(verdicts, "IV").parts)


def test_a_single_run_says_nothing_of_training_and_scale(tmp_path):
    verdicts = verdicts_of_run(write_run_folder(tmp_path, LANGUAGES))
    assert [verdict(verdicts, number).answer for number in ("III", "IV", "V")] == ["not measured"] * 3
    assert part(verdicts, "III", "LRDS").text == "needs a sweep over the training steps of a model"
    assert part(verdicts, "V", "LRDS").text == "needs a sweep over models of one family"


# V: scale ---------------------------------------------------------------------------------------------------------------


def write_scales(root: Path, sizes: dict[str, int], **courses: list[float]) -> Sweep:
    for number, (model, parameters) in enumerate(sizes.items()):
        folder = write_job(root / model, None, model, parameters, cloze=True)
        values = {name: course[number] for name, course in courses.items()}
        edit(folder / "metrics.json", **values, **intervals({"cloze_accuracy": 0.5 + 0.1 * number} | values))
        if "cloze_accuracy" in values:
            mean = values["cloze_accuracy"]["en"]
            edit(folder / "metrics.json", cloze_accuracy_mean_lo=mean - 0.004, cloze_accuracy_mean_hi=mean + 0.004)
    return Sweep(root)


def test_scale_as_the_paper_saw_it_holds(tmp_path):
    verdicts = verdicts_of_sweep(write_scales(tmp_path, SIZES, lrds=[0.5, 0.4, 0.3], sads=[0.1, 0.2, 0.3]))
    assert verdict(verdicts, "V").answer == "holds"
    assert part(verdicts, "V", "LRDS").text.startswith(
        "bloom: 0.5000 at 559M parameters, 0.3000 at 3B parameters; change -0.2000 (-0.20"
    )
    assert verdict(verdicts, "III").answer == "not measured"


@pytest.mark.parametrize(
    ("name", "words", "course"),
    [
        ("lrds", "LRDS", [0.5, 0.3, 0.6]),
        ("sads", "SADS", [0.3, 0.2, 0.1]),
        ("cloze_accuracy", "cloze", [{"en": 0.7}, {"en": 0.6}, {"en": 0.5}]),
    ],
)
def test_scale_that_goes_the_other_way_does_not_hold(tmp_path, name, words, course):
    verdicts = verdicts_of_sweep(write_scales(tmp_path, SIZES, **{name: course}))
    assert part(verdicts, "V", words).answer == "does not hold"
    assert verdict(verdicts, "V").answer == "does not hold"


@pytest.mark.parametrize(
    ("course", "answer"),
    [
        ([0.10, 0.20, 0.30, 0.40, 0.50, 0.05], "does not hold"),  # the line rises, but it ends below where it began
        ([0.10, 0.20, 0.30, 0.40, 0.50, 0.15], "holds"),
        ([0.30, 0.50, 0.40, 0.20, 0.10, 0.35], "does not hold"),  # it ends above where it began, but the line falls
        ([0.10, 0.20, 0.30, 0.40, 0.50, 0.101], "undecided"),  # within the interval it ends where it began
    ],
)
def test_a_trend_is_between_the_ends_and_in_the_slope(tmp_path, course, answer):
    sizes = {f"bloom-{number}": 100_000_000 * number for number in range(1, 7)}
    verdicts = verdicts_of_sweep(write_scales(tmp_path, sizes, sads=course))
    assert part(verdicts, "V", "SADS").answer == answer


def test_a_line_without_intervals_is_undecided_whatever_its_points_say(tmp_path):
    sweep = write_training(tmp_path, lrds=FALLING)
    for folder in tmp_path.iterdir():
        edit(folder / "metrics.json", lrds_lo=None, lrds_hi=None)
    found = part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS")
    assert (found.answer, found.text.split("; ")[1]) == ("undecided", "no interval")
    assert part(verdicts_of_sweep(sweep), "III", "LRDS").answer == "holds"


def test_runs_on_the_same_sentences_are_compared_in_pairs(tmp_path):
    """The influences of the steps are alike: the change is known much better than either score, by hand here."""
    courses = [0.52, 0.515, 0.51, 0.505]
    write_training(tmp_path, lrds=courses)
    common, random = centred(np.random.default_rng(3).normal(size=MEANINGS)), np.random.default_rng(4)
    own = [centred(random.normal(size=MEANINGS)) for _ in STEPS]
    for step, value, noise in zip(STEPS, courses, own, strict=True):
        meanings = [f"m{number}" for number in range(MEANINGS)]
        table = pd.DataFrame({"meaning": meanings, "layer": -1, "lrds": value + 0.1 * common + 0.005 * noise})
        table.sample(frac=1, random_state=step).to_parquet(tmp_path / f"step{step}" / "influence.parquet", index=False)
        edit(tmp_path / f"step{step}" / "metrics.json", lrds_lo=value - 0.04, lrds_hi=value + 0.04)
    runs = Sweep(tmp_path).runs
    found = change(runs[0], runs[-1], LRDS)
    difference = 0.005 * (own[-1] - own[0])
    assert found.value == pytest.approx(-0.015)
    assert found.error == pytest.approx(difference.std(ddof=1) / np.sqrt(MEANINGS))
    x = np.log(STEPS) - np.log(STEPS).mean()
    weights = x / (x**2).sum()
    noise_of_slope = 0.005 * sum(weight * noise for weight, noise in zip(weights, own, strict=True))
    of_line = slope(runs, STEPS, LRDS)
    assert of_line.value == pytest.approx(np.polyfit(np.log(STEPS), courses, 1)[0])
    assert of_line.error == pytest.approx(noise_of_slope.std(ddof=1) / np.sqrt(MEANINGS))
    assert part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS").answer == "holds"

    record = read_json(tmp_path / "step150000" / "run.json")
    edit(tmp_path / "step150000" / "run.json", data={**record["data"], "dataset": {"name": "other", "fingerprint": "f"}})
    apart = Sweep(tmp_path).runs
    assert change(apart[0], apart[-1], LRDS).error == pytest.approx(np.hypot(0.04, 0.04) / 1.959964, rel=1e-6)
    assert part(verdicts_of_sweep(Sweep(tmp_path)), "III", "LRDS").answer == "undecided"


def test_sentences_of_a_document_are_one_observation(tmp_path):
    folder = write_job(tmp_path / "a", 30)
    values = centred(np.random.default_rng(0).normal(size=12))
    meanings = [f"line {number} of document {number // 3}" for number in range(12)]
    pd.DataFrame({"meaning": meanings, "layer": -1, "lrds": 0.4 + values}).to_parquet(folder / "influence.parquet")
    edit(folder / "metrics.json", lrds=0.4)
    found = contrast([Run(folder)], [1.0], LRDS)
    of_documents = values.reshape(4, 3).mean(axis=1)
    assert found.error == pytest.approx(of_documents.std(ddof=1) / 2)
    assert found.freedom == 3


def test_two_sizes_are_no_trend_and_one_is_no_family(tmp_path):
    sizes = {**dict(list(SIZES.items())[:2]), "llama2-7b": 6_738_415_616}
    found = part(verdicts_of_sweep(write_scales(tmp_path, sizes)), "V", "LRDS")
    assert (found.answer, found.text) == ("not measured", "bloom: measured at 2 points, 3 are needed")


# Sweeps -----------------------------------------------------------------------------------------------------------------


def test_what_is_asked_of_runs_is_asked_of_the_last_one_of_every_line(tmp_path):
    write_training(tmp_path / "training")
    write_scales(tmp_path / "scale", SIZES)
    without_effect, with_effect = rises(own=1.0, codes=tuple(LANGUAGES)), rises(codes=tuple(LANGUAGES))
    for job in ("training/step150000", "scale/bloom-560m", "scale/bloom-3b"):
        write_rises(tmp_path / job, with_effect)
    write_rises(tmp_path / "training" / "step1000", without_effect)
    write_rises(tmp_path / "scale" / "bloom-1b1", without_effect)

    found = part(verdicts_of_sweep(Sweep(tmp_path)), "II", "that loses most")

    texts = dict(text.split(": ", 1) for text in found.text.replace("; least", ", least").split("; "))
    assert {name: text[:6] for name, text in texts.items()} == {
        "bloom-nano": "9 of 9",
        "bloom-560m": "9 of 9",
        "bloom-1b1": "0 of 9",
        "bloom-3b": "9 of 9",
    }
    assert found.answer == "does not hold"


def test_a_sweep_in_which_every_run_failed_measured_nothing(tmp_path):
    write_training(tmp_path, STEPS[:3])
    for step in STEPS[:3]:
        fail(tmp_path / f"step{step}", "out of memory")
    verdicts = verdicts_of_sweep(Sweep(tmp_path))
    assert {verdict.answer for verdict in verdicts} == {"not measured"}
    assert part(verdicts, "I", "every language").text == "no run has ended well"
