"""Numbers of a method from its trials: interquartile means with bootstrap intervals over seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vand_robot.metrics.statistics import bootstrap_interval, interquartile_mean

Figure = Callable[[Mapping[str, Any], str], float]
"""The value of a score, by its name, in a trial's result."""


def summarize_scores(
    outcomes: Sequence[Mapping[str, Any]], scores: Iterable[str], figure: Figure
) -> dict[str, Any]:
    """Sum trials up.

    Args:
        outcomes: Of one method, every signal with every seed.
        scores: Names of scores.
        figure: Takes one from a trial.

    Returns:
        "n", the number of trials, and for each score its interquartile mean and 95 % interval,
        {"iqm", "low", "high"}, the bootstrap drawing seeds within each signal.
    """
    signals = list(dict.fromkeys(outcome["trial"]["signal"] for outcome in outcomes))
    summary: dict[str, Any] = {"n": len(outcomes)}
    for name in scores:
        strata = [
            [figure(o, name) for o in outcomes if o["trial"]["signal"] == signal]
            for signal in signals
        ]
        low, high = bootstrap_interval(strata)
        summary[name] = {
            "iqm": interquartile_mean(np.concatenate(strata)),
            "low": low,
            "high": high,
        }
    return summary
