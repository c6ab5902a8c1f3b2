"""Choice of settings: every method, on every cell, tries its settings on trials never reported."""

from collections.abc import Callable, Sequence
from typing import Any

from vand_robot.experiments.comparison.methods import METHODS, Setting
from vand_robot.experiments.comparison.plan import ComparisonPlan
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.experiments.comparison.trials import TrialResult, Trials

Goodness = Callable[[Sequence[TrialResult]], float]
"""The score of a setting from its trials; higher is better."""

Judged = tuple[str, str, Setting, float]
"""Cell, method, setting, and its score."""


def tune(trials: Trials, plan: ComparisonPlan, goodness: Goodness) -> list[dict[str, Any]]:
    """Judge every setting of every method on every cell, then the best one's learning rates.

    Returns:
        For JSON: "cell", "method", "setting" and "score" of each.
    """
    settings = [
        (cell, method, setting)
        for cell in plan.signals
        for method in plan.methods
        for setting in METHODS[method]
    ]
    found = _judge(trials, plan, goodness, settings)
    if plan.own_rates:
        best: dict[tuple[str, str], tuple[Setting, float]] = {}
        for cell, method, setting, score in found:
            if (cell, method) not in best or score > best[cell, method][1]:
                best[cell, method] = setting, score
        rates = [
            (cell, method, setting)
            for (cell, method), (chosen, _) in best.items()
            for setting in plan.rates_of(chosen)
        ]
        found += _judge(trials, plan, goodness, rates)
    return [
        {"cell": cell, "method": method, "setting": dict(setting), "score": score}
        for cell, method, setting, score in found
    ]


def best_settings(tuned: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best setting of each method on each cell; the first, mildest one of equals."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in tuned:
        place = entry["cell"], entry["method"]
        if place not in best or entry["score"] > best[place]["score"]:
            best[place] = entry
    return list(best.values())


def count_trials(plan: ComparisonPlan) -> int:
    """Trials that settings are chosen on and that are compared."""
    settings = sum(
        len(METHODS[method]) + len(plan.rates_of(METHODS[method][0])) for method in plan.methods
    )
    compared = len(plan.methods) * sum(map(len, plan.signals.values()))
    tuned = len(plan.signals) * settings * len(plan.tuning_signals) * len(plan.tuning_seeds)
    return tuned + compared * len(plan.seeds)


def joined(lists: Sequence[Sequence[Trial]]) -> list[Trial]:
    """All trials, each once."""
    return list({trial.key: trial for trials in lists for trial in trials}.values())


def _judge(
    trials: Trials,
    plan: ComparisonPlan,
    goodness: Goodness,
    settings: Sequence[tuple[str, str, Setting]],
) -> list[Judged]:
    """Run the trials that settings are judged by, all at once, side by side."""
    tuning = [plan.tuning(cell, setting) for cell, _, setting in settings]
    trials.run(joined(tuning))
    return [
        (*entry, goodness(trials.run(some))) for entry, some in zip(settings, tuning, strict=True)
    ]
