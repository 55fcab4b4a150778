"""Effects of a deactivation: paired intervals, controls, tests of assignment, several judged together, and stories."""

import math

import numpy as np
import pytest
from scipy import stats

from lf_experiments.intervals import Effect, combined, holm
from lf_experiments.measures.uncertainty.effects import (
    against_control,
    assignment_p_value,
    control_p_value,
    double_centred,
    log_ratio,
)
from lf_experiments.measures.uncertainty.stories import (
    guessing_p_value,
    mcnemar_p_value,
    mean_over_languages,
    paired_difference,
    wilson_interval,
)


def windows(count: int, seed: int, rise: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nats of windows with and without a region, whose difficulty differs much more than the rise, and their tokens."""
    random = np.random.default_rng(seed)
    tokens = random.integers(60, 130, count).astype(float)
    before = tokens * np.exp(random.normal(1, 0.4, count))
    return before, before + tokens * (rise + random.normal(0, 0.05, count)), tokens


def test_the_log_ratio_is_that_of_the_perplexities() -> None:
    on, off, tokens = windows(12, 0)
    ratio = math.exp(off.sum() / tokens.sum()) / math.exp(on.sum() / tokens.sum())
    assert log_ratio(on, off, tokens).value == pytest.approx(math.log(ratio), abs=1e-12)


def test_the_error_of_equal_windows_is_that_of_their_mean() -> None:
    on, off = np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 5.0])
    found = log_ratio(on, off, np.full(3, 2.0))
    assert found.error == pytest.approx(np.std([0.5, 1.0, 0.5], ddof=1) / math.sqrt(3))
    low, high = found.interval(0.95)
    assert high - low == pytest.approx(2 * 4.302653 * found.error, rel=1e-6)
    assert log_ratio(on[:1], off[:1], np.full(1, 2.0)).interval(0.95) == pytest.approx((math.nan, math.nan), nan_ok=True)


@pytest.mark.slow
def test_intervals_of_a_log_ratio_hold_the_truth_and_unpaired_ones_are_far_too_wide() -> None:
    held, widths = [], []
    for seed in range(1000):
        low, high = log_ratio(*windows(50, seed)).interval(0.95)
        held.append(low <= 0.1 <= high)
        widths.append(high - low)
    assert 0.93 <= np.mean(held) <= 0.97
    on, _, tokens = windows(50, 0)
    assert 2 * np.std(on / tokens) / math.sqrt(50) > 3 * np.mean(widths)


def test_a_control_takes_its_own_spread_into_account() -> None:
    on, off, tokens = windows(40, 1, rise=0.3)
    controls = np.stack([on + tokens * shift for shift in (0.0, 0.1, 0.2)])
    found = against_control(off, controls, tokens)
    assert found.value == pytest.approx(log_ratio(on, off, tokens).value - 0.1, abs=1e-9)
    paired = log_ratio(controls.mean(axis=0), off, tokens)
    assert found.error == pytest.approx(math.hypot(paired.error, 0.1 * math.sqrt(1 + 1 / 3)))
    parts = paired.error**2, 0.01 * (1 + 1 / 3)
    assert found.freedom == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 39 + parts[1] ** 2 / 2))
    alone = against_control(off, controls[:1], tokens)
    assert alone.value == pytest.approx(log_ratio(controls[0], off, tokens).value)
    assert math.isnan(alone.interval(0.95)[0])
    assert math.isnan(alone.p_value())
    assert control_p_value(off, controls) == 1 / 4
    assert control_p_value(controls[1], controls) == 3 / 4


@pytest.mark.slow
def test_a_region_that_is_one_more_random_draw_is_found_to_cost_more_as_often_as_the_level_says() -> None:
    """Draws differ by as much as windows do: an interval of the windows alone would be wrong in most cases."""
    random = np.random.default_rng(1)
    p_values, ranks = [], []
    for seed in range(1000):
        on, _, tokens = windows(30, 10_000 + seed, rise=0.0)
        off_RW = on + tokens * (random.normal(0.2, 0.05, (20, 1)) + random.normal(0, 0.02, (20, 30)))
        p_values.append(against_control(off_RW[0], off_RW[1:6], tokens).p_value())
        ranks.append(control_p_value(off_RW[0], off_RW[1:]))
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(np.array(ranks) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_a_sum_of_independent_effects_adds_their_variances() -> None:
    random = np.random.default_rng(5)
    one, other = random.normal(1, 1, 12), random.normal(0, 3, 20)
    means = [Effect(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(len(x)), len(x) - 1) for x in (one, other)]
    found, welch = combined([(1, means[0]), (-1, means[1])]), stats.ttest_ind(one, other, equal_var=False)
    assert found.p_value() == pytest.approx(welch.pvalue)
    interval = welch.confidence_interval(0.9)
    assert found.interval(0.9) == pytest.approx((interval.low, interval.high))
    assert math.isnan(combined([(1, means[0]), (1, Effect(1.0, math.nan, 0))]).interval(0.95)[0])
    assert combined([(1, Effect(0.5, 0.0, 3))]).interval(0.95) == (0.5, 0.5)


def test_double_centring_gives_what_is_on_the_diagonal_alone() -> None:
    random = np.random.default_rng(0)
    effect = random.normal(size=(6, 1)) + random.normal(size=(1, 6)) + 0.4 * np.eye(6)
    np.testing.assert_allclose(double_centred(effect), 0.4, atol=1e-12)
    noisy = random.normal(size=(6, 6))
    others = (noisy.sum() - np.trace(noisy)) / 30
    assert double_centred(noisy).mean() == pytest.approx(np.trace(noisy) / 6 - others)


def test_regions_of_their_own_language_pass_the_assignment_test_and_shuffled_ones_do_not() -> None:
    random = np.random.default_rng(1)
    assert assignment_p_value(random.normal(size=(9, 9)) + 3 * np.eye(9), 999, 0) == 1 / 1000
    assert assignment_p_value(np.ones((5, 5)), 99, 0) == 1.0


@pytest.mark.slow
def test_the_assignment_test_has_its_size() -> None:
    random = np.random.default_rng(2)
    p_values = [assignment_p_value(random.normal(size=(7, 7)), 199, seed) for seed in range(1000)]
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.015)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([math.nan, 0.02, 0.2]) == pytest.approx([math.nan, 0.04, 0.2], nan_ok=True)


def test_a_p_value_is_that_of_the_t_test() -> None:
    random = np.random.default_rng(3)
    values = random.normal(0.3, 1, 20)
    found = paired_difference(np.zeros(20), values)
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert Effect(0.0, 0.0, 5).p_value() == 1 and Effect(0.1, 0.0, 5).p_value() == 0
    assert math.isnan(Effect(0.1, math.nan, 0).p_value())


# Stories ----------------------------------------------------------------------------------------------------------------


def test_the_interval_of_an_accuracy_by_the_formula_of_wilson() -> None:
    right, items, z = 45, 60, 1.959964
    centre = (right + z * z / 2) / (items + z * z)
    reach = z / (items + z * z) * math.sqrt(right * (items - right) / items + z * z / 4)
    assert wilson_interval(right, items, 0.95) == pytest.approx((centre - reach, centre + reach), abs=1e-6)
    assert wilson_interval(60, 60, 0.95)[1] == pytest.approx(1)
    assert guessing_p_value(9, 10) == pytest.approx(11 / 1024)


def test_only_stories_that_change_count_in_the_test_of_pairs() -> None:
    before = np.array([1] * 8 + [0] * 2 + [1] * 50)
    after = np.array([0] * 8 + [1] * 2 + [1] * 50)
    tail = sum(math.comb(10, k) for k in range(3)) / 1024
    assert mcnemar_p_value(before, after) == pytest.approx(2 * tail - math.comb(10, 2) / 1024)
    assert mcnemar_p_value(before, before) == 1
    assert mcnemar_p_value(np.array([0, 1]), np.array([1, 0])) == pytest.approx(1 - 0.5 / 2)


def test_stories_are_one_observation_however_many_languages_tell_them() -> None:
    outcome = np.array([[1, 0, 1, 1], [1, 0, 1, 0]])
    found = mean_over_languages(outcome)
    assert found.value == pytest.approx(5 / 8)
    assert found.error == pytest.approx(np.std([1, 0, 1, 0.5], ddof=1) / 2)
    assert mean_over_languages(np.vstack([outcome, outcome])).error == pytest.approx(found.error)
