import numpy as np
import pytest
from scipy import stats

from vand_robot.metrics.statistics import (
    bootstrap_interval,
    compare_paired,
    interquartile_mean,
    mean_interval,
    wilson_interval,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (98, 100), (100, 100), (3, 7)])
def test_wilson_interval_is_that_of_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_is_the_textbook_formula():
    z = stats.norm.ppf(0.975)
    for n in (1, 2, 3, 10, 50, 500):
        for k in range(n + 1):
            middle = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
            half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
            expected = (middle - half, middle + half)
            assert wilson_interval(k, n) == pytest.approx(expected, abs=1e-12)


def test_wilson_interval_stays_within_0_and_1_and_never_has_no_width():
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(0, 20)[1] > 0.1
    assert wilson_interval(20, 20)[1] == 1
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="11 successes of 10 episodes"):
        wilson_interval(11, 10)


def test_interquartile_mean_of_whole_and_broken_quarters():
    assert interquartile_mean([0, 1, 3, 100]) == 2
    assert interquartile_mean([5.0]) == 5
    assert interquartile_mean([0.0, 1.0, 5.0]) == pytest.approx((0.25 * 0 + 1 + 0.25 * 5) / 1.5)
    values = np.random.default_rng(0).normal(size=40)
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25))
    with pytest.raises(ValueError, match="at least one"):
        interquartile_mean([])


def test_bootstrap_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    lower, upper = bootstrap_interval([values], statistic=lambda x: float(x.mean()), seed=1)
    half = 1.96 * values.std() / np.sqrt(400)
    assert lower == pytest.approx(values.mean() - half, abs=0.03)
    assert upper == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_interval_is_stratified_and_seeded():
    apart = [[0.0] * 5, [1.0] * 5]  # no spread within a stratum: none in the interval
    assert bootstrap_interval(apart, statistic=lambda x: float(x.mean())) == (0.5, 0.5)
    strata = np.random.default_rng(0).random((3, 8))
    assert bootstrap_interval(strata, seed=4) == bootstrap_interval(strata, seed=4)
    assert bootstrap_interval(strata, seed=4) != bootstrap_interval(strata, seed=5)
    with pytest.raises(ValueError, match="every stratum"):
        bootstrap_interval([[1.0], []])


def test_paired_comparison_is_the_exact_binomial_test_of_the_differing_episodes():
    rng = np.random.default_rng(0)
    first, second = rng.random(60) < 0.8, rng.random(60) < 0.5
    result = compare_paired(first, second)
    n = result.only_first + result.only_second
    assert result.p_value == pytest.approx(stats.binomtest(result.only_first, n).pvalue)
    assert result.difference == pytest.approx((result.only_first - result.only_second) / 60)


def test_paired_comparison_of_equal_policies_finds_nothing():
    same = compare_paired([True, False, True], [True, False, True])
    assert (same.only_first, same.only_second, same.p_value) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="one shape"):
        compare_paired([True], [True, False])


def test_the_interval_of_a_mean_is_students():
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-5)
    assert mean_interval([1.0, 2.0]) is None
