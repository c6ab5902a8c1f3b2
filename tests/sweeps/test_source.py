"""Trials that Optuna's sampler chooses."""

import pytest

from vand_robot.config.validation import build
from vand_robot.sweeps.outcomes import Outcome
from vand_robot.sweeps.plan import SweepPlan
from vand_robot.sweeps.schema import SweepConfig
from vand_robot.sweeps.source import TpeTrials
from vand_robot.sweeps.trial import TrialResult

BEST = 0.3


@pytest.fixture
def plan(tmp_path):
    space = {"input_noise_std": {"low": 0.0, "high": 1.0}}
    keys = {"search": {"sampler": "tpe", "trials": 25, "space": space}, "seeds": [0, 1]}
    sweep = build(SweepConfig, {"base": "single-task", **keys})
    return SweepPlan.of(sweep, tmp_path / "sweep.yaml")


def outcome(trial, success):
    return Outcome(trial.key, trial.name, 1, 0.0, TrialResult(success=success))


def run(source, limit=10_000):
    """Runs trials whose success falls with the distance from the best value."""
    tried = []
    while len(tried) < limit and (trial := source.take()) is not None:
        value = trial.config.input_noise_std
        source.tell(trial, outcome(trial, 1 - (value - BEST) ** 2))
        tried.append((value, trial.seed))
    return tried


def test_settings_gather_where_success_is_high(plan, tmp_path):
    tried = run(TpeTrials(plan, tmp_path, 1))
    values = [value for value, seed in tried if seed == 0]
    assert len(values) == 25
    assert [seed for _, seed in tried] == [0, 1] * 25
    late = values[-8:]
    assert sum(abs(value - BEST) for value in late) / 8 < 0.2  # uniform: 0.29


def test_a_search_goes_on_where_it_stopped(plan, tmp_path):
    first = run(TpeTrials(plan, tmp_path, 1), limit=21)  # in the middle of the eleventh setting
    resumed = TpeTrials(plan, tmp_path, 1)
    again = run(resumed)
    assert again[:21] == first
    assert again[21] == (first[20][0], 1)
    assert len(again) == 50


def test_a_setting_that_failed_has_no_score(plan, tmp_path):
    source = TpeTrials(plan, tmp_path, 1)
    for error in ("", "out of memory"):
        trial = source.take()
        result = TrialResult(error=error, success=None if error else 1.0)
        source.tell(trial, Outcome(trial.key, trial.name, 1, 0.0, result))
    assert len(run(source)) == 48
