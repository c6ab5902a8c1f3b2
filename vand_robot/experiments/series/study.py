"""The study: tune every method on some people, compare the chosen settings on others, report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError
from vand_robot.experiments.comparison.results import versions, write_results
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.experiments.comparison.trials import Trials, running_trials
from vand_robot.experiments.comparison.tuning import best_settings, count_trials, joined, tune
from vand_robot.experiments.series.plan import Plan
from vand_robot.experiments.series.recordings import EXERCISES, fingerprint, read_recordings
from vand_robot.experiments.series.report import write_report
from vand_robot.experiments.series.sources import find_recordings
from vand_robot.experiments.series.summary import WORST, goodness, mean_score, summarize
from vand_robot.experiments.series.trial import check_result, ruler, run_trial


def run_study(
    out: Path,
    plan: Plan,
    recordings: Path,
    *,
    jobs: int,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Run a plan and write `results.json` and `report.html`.

    Args:
        out: Folder; made if it is not there. Finished trials in it are used.
        plan: What to run.
        recordings: Folder of the recordings, which are fetched where it does not hold them yet.
        jobs: Processes side by side. The numbers do not depend on it.
        progress: Called with trials done and trials in all.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: There are no jobs.
        VandError: The recordings cannot be had, the disk is full or fails, or somebody else is
            writing there.
        KeyboardInterrupt: After Ctrl-C, when what was running is put away.
    """
    if jobs < 1:
        raise UsageError(f"--jobs: expected 1 or more, got {jobs}")
    file = find_recordings(recordings).resolve()
    plan = replace(plan, recordings=fingerprint(read_recordings(file)))
    total = count_trials(plan)
    run = partial(run_trial, file)
    with running_trials(
        out, run, check_result, jobs, lambda done: progress(min(done, total), total)
    ) as trials:
        results = _results(trials, plan, file)
        progress(total, total)
    return write_results(out, results, write_report)


def _results(trials: Trials, plan: Plan, file: Path) -> dict[str, Any]:
    """Run the trials of a plan: the content of `results.json`, the motions included."""
    tuned = tune(trials, plan, goodness)
    chosen = best_settings(tuned)
    compared = [plan.comparison(entry["cell"], entry["setting"]) for entry in chosen]
    trials.run(joined(compared))
    signals = tuple(dict.fromkeys(name for names in plan.signals.values() for name in names))
    return {
        "plan": plan.as_dict(),
        "versions": versions(),
        "methods": [
            _entry(entry, name, trials, [trial for trial in some if trial.signal in group])
            for entry, some in zip(chosen, compared, strict=True)
            for name, group in _groups(plan.signals[entry["cell"]])
        ],
        "by_signal": [
            _entry(entry, signal, trials, [trial for trial in some if trial.signal == signal])
            for entry, some in zip(chosen, compared, strict=True)
            for signal in plan.signals[entry["cell"]]
        ],
        "ruler": [_rulers(file, name, group) for name, group in _groups(signals)],
        "tuning": tuned,
        "trials": [trials.done[key] for key in sorted(trials.done)],
    }


def _entry(
    chosen: Mapping[str, Any], signals: str, trials: Trials, some: Sequence[Trial]
) -> dict[str, Any]:
    return {
        "cell": chosen["cell"],
        "signals": signals,
        "method": chosen["method"],
        "setting": chosen["setting"],
        **summarize(trials.run(some)),
    }


def _rulers(file: Path, name: str, signals: Sequence[str]) -> dict[str, Any]:
    """Means of what needs no network, over the recordings of a group of signals."""
    found: dict[str, list[dict[str, float | None]]] = {"recording": [], "repetition": []}
    for signal in signals:
        for motion, scores in ruler(file, signal, "test").items():
            found[motion] += scores
    return {
        "signals": name,
        "n": len(found["recording"]),
        **{
            motion: {score: mean_score(scores, score) for score in WORST}
            for motion, scores in found.items()
        },
    }


def _groups(signals: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
    """Groups to sum up over: the exercises, and what else there is by itself."""
    exercises = [signal for signal in signals if signal in EXERCISES.values()]
    others: list[tuple[str, Sequence[str]]] = [
        (signal, [signal]) for signal in signals if signal not in exercises
    ]
    if not exercises:
        return others
    return [(exercises[0] if len(exercises) == 1 else "exercises", exercises), *others]
