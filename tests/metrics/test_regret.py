"""Regrets of a made-up table, computed by hand."""

import pytest

from vand_robot.metrics.regret import regrets

TABLE = {
    # the best in `few` is 0.6, in `slip` 0.5, in `lstm` 0.9
    "none": {"few": [0.2, 0.4], "slip": [0.5, 0.5], "lstm": [0.9, 0.9]},
    "noise/0.02": {"few": [0.6, 0.6], "slip": [0.1, 0.3], "lstm": [0.8, 0.8]},
    "vand": {"few": [0.5, 0.5], "slip": [0.4, 0.4], "lstm": [0.8, 0.7]},
}


def test_a_regret_is_what_the_best_setting_in_each_regime_is_better_by():
    found = regrets(TABLE)
    assert list(found) == ["none", "vand", "noise/0.02"]
    assert found["none"].regimes == pytest.approx({"few": 0.3, "slip": 0.0, "lstm": 0.0})
    assert found["noise/0.02"].regimes == pytest.approx({"few": 0.0, "slip": 0.3, "lstm": 0.1})
    assert found["vand"].regimes == pytest.approx({"few": 0.1, "slip": 0.1, "lstm": 0.15})
    assert [found[s].mean for s in TABLE] == pytest.approx([0.1, 0.4 / 3, 0.35 / 3])
    assert (found["none"].worst, found["none"].worst_in) == (pytest.approx(0.3), "few")
    assert (found["vand"].worst, found["vand"].worst_in) == (pytest.approx(0.15), "lstm")
    assert found["vand"].interval is None  # two seeds


def test_a_setting_without_a_regime_counts_where_it_was_and_has_no_regret():
    found = regrets({**TABLE, "lucky": {"few": [0.9, 0.9]}})
    assert set(found) == set(TABLE)
    assert found["none"].regimes["few"] == pytest.approx(0.6)  # to the 0.9 of "lucky"
    assert regrets({"a": {"x": [1.0]}, "b": {"y": [1.0]}}) == {}


def test_the_interval_of_the_mean_is_that_of_seeds_drawn_again():
    """One setting's seeds differ; the other's do not, and it is the best in every resample.

    The mean of three draws of 0.2, 0.2, 0.8 is 0.2 with probability 8/27, and 0.8 with 1/27: so the
    regret goes from 1 - 0.8 to 1 - 0.2 within the middle 95 %.
    """
    found = regrets({"best": {"x": [1.0, 1.0, 1.0]}, "other": {"x": [0.2, 0.2, 0.8]}})
    assert found["best"].interval == (0.0, 0.0)
    assert found["other"].mean == pytest.approx(0.6)
    assert found["other"].interval == pytest.approx((0.2, 0.8))
