"""The effects of key regions from the windows of a run, by brute force, and how often their intervals hold the truth."""

import math

import numpy as np
import pandas as pd
import pytest

from lf_experiments.measures.uncertainty.deactivation import (
    assignment_p,
    cells_against_control,
    dose_table,
    effect_table,
    effects,
    losses_by_language,
    mean_effects,
)
from lf_experiments.study.deactivate import beside_control

CODES = ["en", "fr", "zh", "ar"]
DOSE = 1.0


def window_rows(
    random: np.random.Generator, own: float, draws: int = 4, count: int = 30, match: bool = True, spread: float = 0.02
) -> pd.DataFrame:
    """Windows of four languages: a region costs its own language `own`, others 0.1, random neurons 0.2 nats a token."""
    rows = []
    for language in CODES:
        tokens_W = random.integers(60, 130, count).astype(float)
        full_W = tokens_W * np.exp(random.normal(1, 0.4, count))
        cells = {("none", 0, ""): 0.0} | {(code, 0, ""): own if code == language else 0.1 for code in CODES}
        cells |= {("random", draw, language if match else ""): 0.2 + 0.01 * (draw - (draws - 1) / 2) for draw in range(draws)}
        for (name, draw, matches), rise in cells.items():
            noise_W = random.normal(0, spread, count) if name != "none" else 0
            for dose in (0.5, DOSE) if name != "none" else (1.0,):
                nll_W = full_W + dose * tokens_W * (rise + noise_W)
                rows += [
                    (name, draw, matches, dose, language, window, nll, tokens)
                    for window, (nll, tokens) in enumerate(zip(nll_W, tokens_W, strict=True))
                ]
    return pd.DataFrame(rows, columns=["deactivated", "draw", "matches", "dose", "language", "window", "nll", "tokens"])


def log_perplexity(rows: pd.DataFrame, **cell: object) -> float:
    for name, value in cell.items():
        rows = rows[rows[name] == value]
    return rows["nll"].sum() / rows["tokens"].sum()


@pytest.mark.parametrize("match", [True, False])
def test_every_cell_stands_beside_the_random_neurons_of_its_language(match: bool) -> None:
    rows = window_rows(np.random.default_rng(0), 0.5, match=match)
    losses = losses_by_language(rows.sample(frac=1, random_state=1), "none", "random")
    found = cells_against_control(losses, 0.95).set_index(["language", "deactivated"])
    assert len(found) == len(CODES) ** 2
    for (language, region), cell in found.iterrows():
        without = log_perplexity(rows, deactivated=region, dose=DOSE, language=language)
        random = log_perplexity(rows, deactivated="random", dose=DOSE, language=language)  # as many windows in each draw
        assert cell["against_control"] == pytest.approx(without - random)
        assert cell["against_control_lo"] < cell["against_control"] < cell["against_control_hi"]
    own = effect_table(losses, 0.95).set_index("language")
    for end in ("", "_lo", "_hi"):
        for language in CODES:
            assert found.loc[(language, language), "against_control" + end] == own.loc[language, "against_control" + end]
    assert cells_against_control(losses, None)[["against_control_lo", "against_control_hi"]].isna().all(axis=None)
    alone = losses_by_language(rows[rows["deactivated"] != "random"], "none", "random")
    assert cells_against_control(alone, 0.95).empty


def test_what_is_beside_control_is_of_the_full_dose_of_a_region() -> None:
    cells = pd.DataFrame({"language": ["en"], "deactivated": ["fr"], "against_control": [0.5]})
    table = pd.DataFrame({"deactivated": ["none", "fr", "fr", "random"], "dose": [1.0, 0.25, 0.5, 0.5], "language": "en"})
    assert beside_control(table, cells)["against_control"].fillna(0).tolist() == [0, 0, 0.5, 0]


@pytest.mark.parametrize("match", [True, False])
def test_effects_are_differences_of_log_perplexities_at_the_full_dose(match: bool) -> None:
    rows = window_rows(np.random.default_rng(0), 0.5, match=match)
    losses = losses_by_language(rows.sample(frac=1, random_state=1), "none", "random")
    for language in CODES:
        found = effects(losses, language)

        def rise(region: str, text: str) -> float:
            return log_perplexity(rows, deactivated=region, dose=DOSE, language=text) - log_perplexity(
                rows, deactivated="none", language=text
            )

        others = [code for code in CODES if code != language]
        control = np.mean(
            [
                log_perplexity(rows, deactivated="random", draw=draw, dose=DOSE, language=language)
                - log_perplexity(rows, deactivated="none", language=language)
                for draw in range(4)
            ]
        )
        expected = {
            "own": rise(language, language),
            "spill": np.mean([rise(language, other) for other in others]),
            "selectivity": rise(language, language) - np.mean([rise(language, other) for other in others]),
            "margin": rise(language, language) - max(rise(language, other) for other in others),
            "exposure": np.median([rise(other, language) for other in others]),
            "control": control,
            "against_control": rise(language, language) - control,
            "exposure_against_control": np.median([rise(other, language) for other in others]) - control,
        }
        assert {name: effect.value for name, effect in found.items()} == pytest.approx(expected)


def test_a_control_that_matches_comes_before_the_paper_s() -> None:
    rows = window_rows(np.random.default_rng(0), 0.5)
    other = rows[rows["deactivated"] == "random"].assign(matches="", nll=lambda table: 2 * table["nll"])
    both = losses_by_language(pd.concat([rows, other]), "none", "random")
    alone = losses_by_language(rows, "none", "random")
    assert effects(both, "fr")["control"] == effects(alone, "fr")["control"]


def test_without_random_neurons_the_other_effects_are_there() -> None:
    rows = window_rows(np.random.default_rng(0), 0.5)
    losses = losses_by_language(rows[rows["deactivated"] != "random"], "none", "random")
    table = effect_table(losses, 0.95)
    assert not [name for name in table if "control" in name]
    assert (table["draws"] == 0).all()
    assert set(mean_effects(losses)) == {"own", "spill", "selectivity"}


def test_means_over_languages_are_means() -> None:
    losses = losses_by_language(window_rows(np.random.default_rng(0), 0.5), "none", "random")
    table = effect_table(losses, 0.95)
    for name, mean in mean_effects(losses).items():
        assert mean.value == pytest.approx(table[name].mean())
    assert table["selectivity_p_holm"].tolist() == pytest.approx(
        [
            min(1, 4 * p) if p == table["selectivity_p"].min() else q
            for p, q in zip(table["selectivity_p"], table["selectivity_p_holm"], strict=True)
        ]
    )
    assert assignment_p(losses, 0) == pytest.approx(1 / 24, abs=0.01)


def test_a_single_window_gives_effects_without_intervals() -> None:
    losses = losses_by_language(window_rows(np.random.default_rng(0), 0.5, count=1), "none", "random")
    table = effect_table(losses, 0.95)
    assert table["selectivity"].notna().all()
    assert table[["own_lo", "selectivity_hi", "against_control_lo", "selectivity_p"]].isna().all(axis=None)
    assert math.isnan(mean_effects(losses)["selectivity"].interval(0.95)[0])


@pytest.mark.slow
def test_intervals_of_the_mean_selectivity_hold_the_truth() -> None:
    held, own_held = [], []
    for seed in range(400):
        losses = losses_by_language(
            window_rows(np.random.default_rng(seed), 0.5, draws=0, count=20, spread=0.2), "none", "random"
        )
        low, high = mean_effects(losses)["selectivity"].interval(0.95)
        held.append(low <= 0.4 <= high)
        low, high = effects(losses, "fr")["selectivity"].interval(0.95)
        own_held.append(low <= 0.4 <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert np.mean(own_held) == pytest.approx(0.95, abs=0.03)


def test_doses_have_the_effects_of_their_own_cells() -> None:
    rows = window_rows(np.random.default_rng(3), 0.5)
    table = dose_table(rows.sample(frac=1, random_state=0), "none", "random", 0.95).set_index("dose")
    assert table.index.tolist() == [0.5, 1.0]
    for dose, row in table.iterrows():
        alone = rows[(rows["deactivated"] == "none") | (rows["dose"] == dose)]
        expected = effect_table(losses_by_language(alone, "none", "random"), 0.95)
        assert row[["own", "spill", "control"]].tolist() == pytest.approx(expected[["own", "spill", "control"]].mean().tolist())
        assert row["own_lo"] < row["own"] < row["own_hi"] and row["control_lo"] < row["control"] < row["control_hi"]
    assert table.loc[1.0, "own"] == pytest.approx(2 * table.loc[0.5, "own"], rel=0.1)
    assert dose_table(rows, "none", "random", None).filter(like="_lo").isna().all(axis=None)
    regions = dose_table(rows[rows["deactivated"] != "random"], "none", "random", 0.95)
    assert "control" not in regions and "against_control" not in regions
