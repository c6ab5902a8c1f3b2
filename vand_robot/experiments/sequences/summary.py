"""Numbers of a method from its trials: interquartile means with bootstrap intervals over seeds."""

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


def figure(outcome: Mapping[str, Any], name: str) -> float:
    """The mean of one score over the rollouts of a trial; drift without its sign.

    The frequency is the mean one, by the phase, so that its error is the drift in whole turns. The
    peak of the spectrum, which `PeriodicScore` looks at too, has no direction for an eight.
    """
    if name == "frequency_error":
        return figure(outcome, "phase_drift_rad") / (2 * math.pi)
    return float(np.mean([_bounded(name, score[name]) for score in outcome["scores"]]))


def goodness(outcomes: Sequence[Mapping[str, Any]]) -> float:
    """The score that settings are chosen by: share of time in tolerance, mean over trials."""
    return float(np.mean([figure(outcome, "in_tolerance") for outcome in outcomes]))


def summarize(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum trials of one method up, every signal with every seed; see `summarize_scores`."""
    return summarize_scores(outcomes, WORST, figure)


def _bounded(name: str, value: float | None) -> float:
    if value is None or name == "in_tolerance":
        return WORST[name] if value is None else value
    return min(abs(value), WORST[name])
