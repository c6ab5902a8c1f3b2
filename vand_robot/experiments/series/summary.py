"""Numbers of a method from its trials."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vand_robot.experiments.comparison.summary import summarize_scores

WORST: Mapping[str, float] = {
    "in_tolerance": 0.0,
    "frequency_error": 1.0,
    "amplitude_error": 1.0,
    "phase_drift_rad": 2 * math.pi,
}
"""Score -> what stands for a motion that has stopped or run away; errors are cut off there."""

WORST_NLL = 100.0
"""Stands for a likelihood that is worse or not finite [nats per step]."""

SCORES = {
    "in_tolerance": "share of time in tolerance",
    "frequency_error": "frequency error",
    "amplitude_error": "amplitude error",
    "phase_drift_rad": "phase drift [rad per cycle]",
    "nll": "one-step NLL [nats per step]",
}
"""Score -> what its axis says."""


def figure(outcome: Mapping[str, Any], name: str) -> float:
    """One score of a trial, a mean over its recordings; drift without its sign."""
    if name == "nll":
        return WORST_NLL if outcome["nll"] is None else min(outcome["nll"], WORST_NLL)
    return mean_score(outcome["scores"], name)


def mean_score(scores: Sequence[Mapping[str, float | None]], name: str) -> float:
    """The mean of one score over recordings; the worst where it cannot be told."""
    worst = WORST[name]
    if name == "in_tolerance":
        return float(np.mean([score[name] or 0.0 for score in scores]))
    values = [score[name] for score in scores]
    return float(np.mean([worst if v is None else min(abs(v), worst) for v in values]))


def goodness(outcomes: Sequence[Mapping[str, Any]]) -> float:
    """The score that settings are chosen by: share of time in tolerance, mean over trials."""
    return float(np.mean([figure(outcome, "in_tolerance") for outcome in outcomes]))


def summarize(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum trials of one method up, every signal with every seed; see `summarize_scores`."""
    return summarize_scores(outcomes, SCORES, figure)
