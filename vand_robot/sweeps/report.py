"""The report of a sweep: methods compared, success over each axis that was swept, failed trials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vand_robot.evaluation.episodes import read_successes
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.figures.sweep import Curve, axis_chart
from vand_robot.layout import REPORT_FILE, RESULTS_FILE
from vand_robot.metrics.comparison import Comparison, MethodScore
from vand_robot.report import Picture, comparison_html
from vand_robot.sweeps.regimes import REGIMES_FOLDER, Finished, RegretTable, write_regrets
from vand_robot.sweeps.scheduler import Ended
from vand_robot.sweeps.schema import SweepConfig
from vand_robot.sweeps.trial import EVALUATION_FOLDER, Trial
from vand_robot.workflows.compare import EvaluatedRun, compare, mean_success, write_comparison

DEMONSTRATIONS = "demonstrations"
"""Name of the axis of data sizes."""


def write_sweep_report(
    ended: Ended, trials: Path, out: Path, sweep: SweepConfig
) -> Comparison | RegretTable | None:
    """Compare the trials of a sweep that are finished, and write the report.

    Of a sweep over regimes every regime has a report of its own, in `regimes/NAME/`, and the
    sweep's is that of the regrets.

    Args:
        ended: Trials with their outcomes.
        trials: Folder that holds a folder for each.
        out: Folder for `comparison.json` or `regret.json`, `report.html` and figures.
        sweep: The sweep.

    Returns:
        The comparison, or the regrets; None, and nothing is written, where no trial finished.

    Raises:
        VandError: An evaluation is damaged, or the disk is full.
    """
    finished = [
        (trial, _evaluated(trial, trials / trial.name))
        for trial, outcome in ended
        if not outcome.result.error
    ]
    finished.sort(key=lambda pair: pair[1].seed)  # stable: methods stay in the order of the sweep
    if not finished:
        return None
    failed = {trial.name: outcome.result.error for trial, outcome in ended if outcome.result.error}
    if not sweep.regimes:
        return _write(finished, out, out.name, failed)
    for regime in sweep.regimes:
        if here := [pair for pair in finished if pair[0].regime == regime]:
            _write(here, out / REGIMES_FOLDER / regime, regime, {})
    development = [name for name, regime in sweep.regimes.items() if regime.development]
    table = RegretTable.of(finished, development)
    write_regrets(table, out, failed)
    return table


def _write(finished: Finished, out: Path, name: str, failed: Mapping[str, str]) -> Comparison:
    """Write the comparison of trials that were evaluated on the same tasks."""
    comparison = compare([run for _, run in finished], pairs_among=_best_labels(finished))
    pictures = [
        Picture(f"axis-{axis}", f"Success over {axis}", axis_chart(axis, curves))
        for axis, curves in _axes(finished, comparison).items()
    ]
    write_comparison(
        comparison,
        out,
        pictures,
        lambda drawn: comparison_html(comparison, drawn, name=name, failed=failed),
        page=REPORT_FILE,
    )
    return comparison


def _evaluated(trial: Trial, folder: Path) -> EvaluatedRun:
    evaluation = folder / EVALUATION_FOLDER
    result = EvaluationResult.read(evaluation / RESULTS_FILE)
    return EvaluatedRun(trial.label, trial.seed, evaluation, result, read_successes(evaluation))


def _best_labels(finished: Finished) -> list[str]:
    """The best setting of each method and data size, by mean success: those that are paired."""
    scores: dict[tuple[str, int | None], dict[str, list[float]]] = {}
    for trial, run in finished:
        place = scores.setdefault((trial.method.split("/")[0], trial.demonstrations), {})
        place.setdefault(trial.label, []).append(mean_success(run))
    return [
        max(labels, key=lambda label: sum(labels[label]) / len(labels[label]))
        for labels in scores.values()
    ]


def _axes(finished: Finished, comparison: Comparison) -> Mapping[str, list[Curve]]:
    """Axis -> a curve for each method: its success by the values of the axis.

    An axis is a key of the search, or the number of demonstrations, that has several values. Runs
    that differ in other keys count together.
    """
    places = [_place(trial) for trial, _ in finished]
    axes = {}
    for axis in dict.fromkeys(key for place in places for key in place):
        values = list(dict.fromkeys(repr(place[axis]) for place in places if axis in place))
        if len(values) > 1:
            axes[axis] = [
                curve
                for method in dict.fromkeys(trial.method for trial, _ in finished)
                for curve in _curves(method, axis, finished, comparison)
            ]
    return axes


def _place(trial: Trial) -> dict[str, Any]:
    size = {} if trial.demonstrations is None else {DEMONSTRATIONS: trial.demonstrations}
    return {**size, **trial.setting}


def _curves(method: str, axis: str, finished: Finished, comparison: Comparison) -> list[Curve]:
    """The curves of a method, one for each perturbation."""
    runs: dict[Any, list[EvaluatedRun]] = {}
    for trial, run in finished:
        if trial.method == method and axis in (place := _place(trial)):
            runs.setdefault(_hashable(place[axis]), []).append(run)
    curves = []
    for perturbation in comparison.perturbations:
        tasks = next(iter(comparison.methods.values())).perturbations[perturbation].tasks
        points = {
            value: MethodScore.of(
                {t: [r.result.success_rates()[perturbation][t].rate for r in some] for t in tasks}
            )
            for value, some in runs.items()
        }
        curves.append(Curve(method, perturbation, points))
    return curves


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)
