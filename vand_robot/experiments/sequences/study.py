"""The study: tune every method, compare the chosen settings, vary VAND, report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError
from vand_robot.experiments.comparison.results import versions, write_results
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.experiments.comparison.trials import Trials, running_trials
from vand_robot.experiments.comparison.tuning import (
    best_settings,
    count_trials,
    joined,
    tune,
)
from vand_robot.experiments.sequences.plan import (
    TUNING_SIGNAL,
    VARIATIONS,
    Plan,
)
from vand_robot.experiments.sequences.report import write_report
from vand_robot.experiments.sequences.summary import goodness, summarize
from vand_robot.experiments.sequences.trial import check_result, run_trial


def run_study(
    out: Path, plan: Plan, *, jobs: int, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Run a plan and write `results.json` and `report.html`.

    Args:
        out: Folder; made if it is not there. Finished trials in it are used.
        plan: What to run.
        jobs: Processes side by side. The numbers do not depend on it.
        progress: Called with trials done and trials in all.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: There are no jobs.
        VandError: The disk is full or fails, or somebody else is writing there.
        KeyboardInterrupt: After Ctrl-C, when what was running is put away.
    """
    if jobs < 1:
        raise UsageError(f"--jobs: expected 1 or more, got {jobs}")
    total = _count(plan)
    with running_trials(
        out, run_trial, check_result, jobs, lambda done: progress(min(done, total), total)
    ) as trials:
        results = _results(trials, plan)
        progress(total, total)
    return write_results(out, results, write_report)


def _results(trials: Trials, plan: Plan) -> dict[str, Any]:
    """Run the trials of a plan: the content of `results.json`, the paths included."""
    tuned = tune(trials, plan, goodness)
    chosen = best_settings(tuned)
    compared = [plan.comparison(entry["cell"], entry["setting"]) for entry in chosen]
    trials.run(joined(compared))
    varied = _varied(plan)
    trials.run(joined([some for *_, some in varied]))
    return {
        "plan": plan.as_dict(),
        "versions": versions(),
        "methods": [
            {"cell": entry["cell"], "signals": name, "method": entry["method"]}
            | {"setting": entry["setting"]}
            | summarize(trials.run([trial for trial in some if trial.signal in signals]))
            for entry, some in zip(chosen, compared, strict=True)
            for name, signals in _groups(plan.signals[entry["cell"]])
        ],
        "variations": [
            {"option": option, "value": value} | summarize(trials.run(some))
            for option, value, some in varied
        ],
        "tuning": tuned,
        "trials": [trials.done[key] for key in sorted(trials.done)],
    }


def _varied(plan: Plan) -> list[tuple[str, Any, list[Trial]]]:
    """Each option of VAND with each value, and its trials; none where VAND is not varied."""
    if not plan.varies:
        return []
    return [
        (option, value, plan.variation(option, value))
        for option, values in VARIATIONS.items()
        for value in values
    ]


def _groups(signals: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Groups to sum up over: all signals, where there are several, and the one all cells share."""
    if len(signals) == 1:
        return [(signals[0], signals)]
    shared = [(TUNING_SIGNAL, [TUNING_SIGNAL])] if TUNING_SIGNAL in signals else []
    return [("all", signals), *shared]


def _count(plan: Plan) -> int:
    """Trials in all; a few less where a variation is what was chosen anyway."""
    varied = {trial.key for *_, some in _varied(plan) for trial in some}
    return count_trials(plan) + len(varied)
