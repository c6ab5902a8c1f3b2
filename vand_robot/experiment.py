"""Training and evaluation as runs on disk: a folder in, a folder out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from vand_demos.files import disk_errors, write_bytes
from vand_envs.errors import UsageError, unknown_name
from vand_robot import figures, schema
from vand_robot.checkpoint import load_checkpoint, software_versions
from vand_robot.config import load_config
from vand_robot.evaluation import Evaluation, ValidationScore, evaluate
from vand_robot.progress import METRICS
from vand_robot.report import write_report
from vand_robot.standard import from_extras, standards_of, to_extras
from vand_robot.training import TrainResult, train

RESULTS = "results.json"
EPISODES = "episodes.csv"
REPORT = "report.html"
SUCCESS = "success"
"""Stem of the chart of success rates."""


def run_training(
    config_path: Path,
    overrides: Sequence[str],
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
) -> TrainResult:
    """Train as a configuration says, choosing the checkpoint by rollouts on validation seeds.

    Args:
        config_path: YAML file.
        overrides: `key=value` texts.
        out: Folder of the run.
        resume: Go on from its last checkpoint.
        force: Replace a run that is there.
        console: Where to show progress.

    Returns:
        What became of the run.

    Raises:
        UsageError: A mistake in the configuration, or a folder that is taken.
        VandError: Unusable data; see `train`.
    """
    config = load_config(config_path, overrides)
    standards = standards_of(config.data, config.tasks) if config.data else {}
    return train(
        config,
        out,
        resume=resume,
        force=force,
        score=ValidationScore(standards, config.rollouts.episodes),
        extras=to_extras(standards),
        console=console,
    )


def run_evaluation(
    run: Path,
    out: Path,
    *,
    episodes: int,
    tasks: Sequence[str] = (),
    force: bool = False,
    links: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate the policy of a run on held-out seeds and write what came out.

    Args:
        run: Folder of the run, or of a checkpoint.
        out: Folder for `results.json`, `episodes.csv`, `report.html` and figures as PNG.
        episodes: Episodes of each task.
        tasks: Task ids; all that the policy was trained on by default.
        force: Replace an evaluation that is there.
        links: Pages to link from the report: title -> address relative to it.
        progress: Called with the steps done and all steps.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: No such run, an unknown task, or an evaluation that is there.
        VandError: A damaged checkpoint, or the disk is full.
    """
    checkpoint = load_checkpoint(run)
    standards = from_extras(checkpoint.extras)
    for task in tasks:
        if task not in standards:
            raise unknown_name("task", task, standards)
    if (out / RESULTS).exists() and not force:
        raise UsageError(f"{out}: there is an evaluation already; --force replaces it")
    evaluation = evaluate(
        checkpoint.policy,
        standards,
        tuple(tasks) or tuple(standards),
        episodes=episodes,
        describe={
            "run": run.name,
            "checkpoint_update": checkpoint.update,
            "config": schema.to_dict(checkpoint.config),
            "versions": software_versions(),
        },
        progress=progress,
    )
    metrics = run / METRICS
    write_evaluation(evaluation, out, metrics if metrics.exists() else None, links or {})
    return evaluation.results()


def write_evaluation(
    evaluation: Evaluation, out: Path, metrics: Path | None, links: Mapping[str, str]
) -> None:
    """Write an evaluation's results, episodes, figures and report.

    Args:
        evaluation: The evaluation.
        out: Folder.
        metrics: The run's `metrics.jsonl`, for the training curve.
        links: Pages to link: title -> address relative to the report.
    """
    results = evaluation.results()
    pictures = draw(evaluation, metrics)
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / RESULTS, evaluation.results_json().encode())
    write_bytes(out / EPISODES, evaluation.episodes_csv().encode())
    for name, (_, figure) in pictures.items():
        figures.write_png(figure, out / f"{name}.png")
    write_report(
        out / REPORT,
        results,
        # the page's first table shows the success rates already
        figures=[picture for name, picture in pictures.items() if name != SUCCESS],
        links=links,
    )


def draw(evaluation: Evaluation, metrics: Path | None) -> dict[str, tuple[str, Any]]:
    """The figures of an evaluation: file stem -> title and figure."""
    results = evaluation.results()
    drawn: dict[str, tuple[str, Any]] = {
        SUCCESS: ("Success by task", figures.success_chart(results))
    }
    for task, result in evaluation.tasks.items():
        run = result.rollout
        if run.task.cycle is None:
            names = [stage.name for stage in run.task.stages]
            horizon = len(run.actions) * run.control_dt_s
            drawn[f"{task}-stages"] = (
                f"{task}: stages against time",
                figures.stage_completion(run.stage_times_s, names, horizon),
            )
        elif result.standard.reference is not None:
            cycle = run.task.cycle
            drawn[f"{task}-phase"] = (
                f"{task}: phase portrait",
                figures.phase_portrait(
                    list(cycle.phase_plane(run.observations).swapaxes(0, 1)),
                    result.standard.reference,
                    run.control_dt_s,
                    valid=list(cycle.valid(run.observations).swapaxes(0, 1)),
                    names=cycle.signal_names,
                ),
            )
    if metrics is not None:
        drawn["training"] = ("Training", figures.training_curve(metrics))
    return drawn
