"""Training and evaluation as runs on disk: a folder in, a folder out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vand_demos.system.files import disk_errors, write_bytes
from vand_envs import task_ids
from vand_envs.errors import UsageError, unknown_name
from vand_robot import figures
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.jobs import plan_jobs
from vand_robot.evaluation.results import Evaluation, collect
from vand_robot.evaluation.runner import processors, run_jobs
from vand_robot.evaluation.suites import find_suite
from vand_robot.evaluation.summary import worst_episodes
from vand_robot.evaluation.target import EvaluationTarget, load_target
from vand_robot.layout import (
    EPISODES_FILE,
    JOBS_FOLDER,
    METRICS_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    named,
    run_folder,
)
from vand_robot.report import Picture, write_report
from vand_robot.workflows.pictures import SUCCESS, draw


def run_evaluation(
    source: Path,
    out: Path,
    *,
    suite: str = "nominal",
    perturbations: Sequence[str] = (),
    tasks: Sequence[str] = (),
    episodes: int | None = None,
    processes: int = 1,
    expert: bool = False,
    replays: int = 0,
    resume: bool = False,
    force: bool = False,
    links: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Evaluate the policy of a run on held-out seeds and write what came out.

    Args:
        source: Folder of the run, or of a checkpoint; for the experts also a data set.
        out: Folder for `results.json`, `episodes.csv`, `report.html` and figures as PNG.
        suite: Name of the suite.
        perturbations: In place of the suite's.
        tasks: Task ids; all that the policy was trained on by default.
        episodes: Of each task under each perturbation, in place of the suite's.
        processes: Processes, 0 for one per processor; the numbers do not depend on it.
        expert: Whether the scripted experts act in place of the policy.
        replays: Pages to write beside the report, of so many of the worst episodes.
        resume: Go on with an evaluation that was interrupted.
        force: Replace an evaluation that is there.
        links: Pages to link from the report: title -> address relative to it.
        progress: Called with the steps done and all steps.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: No such run, an unknown suite, perturbation or task, a number out of range, an
            evaluation that is there, or both `resume` and `force`.
        VandError: A damaged checkpoint, a policy that changed meanwhile, or the disk is full;
            finished jobs are safe. A replay that cannot be written: everything else is.
    """
    if resume and force:
        raise UsageError("resume an evaluation or replace it by force, not both")
    for name, number in (("processes", processes), ("replays", replays)):
        if number < 0:
            raise UsageError(f"{name}: expected 0 or more, got {number}")
    wanted = find_suite(suite, perturbations, episodes)
    target = load_target(source, expert=expert)
    for task in tasks:
        if task not in target.references:
            raise unknown_name("task", task, target.references)
    dt = target.control_dt_s
    jobs = plan_jobs(
        tuple(tasks) or [task for task in task_ids() if task in target.references],
        wanted.perturbations,
        target.references,
        episodes=wanted.episodes,
        control_dt_s=dt,
    )
    folder = JobFolder(out / JOBS_FOLDER, target.digest, target.references)
    _claim(out, folder, resume=resume, force=force)
    outcomes = run_jobs(
        target.make_policy, jobs, folder, processes=processes or processors(), progress=progress
    )
    evaluation = collect(
        jobs,
        outcomes,
        target.references,
        control_dt_s=dt,
        suite=wanted.name,
        describe=target.facts,
    )
    metrics = source / METRICS_FILE
    shown = metrics if metrics.exists() and not expert else None
    results = evaluation.results()
    pictures = draw(evaluation, results, shown)
    write_evaluation(evaluation, out, pictures, links or {})
    # only now, so that a replay that fails costs nothing but itself; resuming makes it anew
    if pages := write_replays(target, evaluation, out, replays):
        _write_report(out, results, pictures, {**(links or {}), **pages})
    folder.clear()
    return results


def evaluation_folder(source: Path, *, expert: bool = False) -> Path:
    """Where the evaluation of a run is kept unless another folder is given.

    That of a checkpoint, RUN/best or RUN/last, is kept beside it as RUN/evaluation-best or
    RUN/evaluation-last: training replaces a checkpoint's folder with everything in it.

    Raises:
        UsageError: It is a data set, which has no such place.
    """
    if source.is_file():
        raise UsageError("--out: a folder for the results is needed where a data set is given")
    source = named(source)
    run = run_folder(source)
    if expert:
        return run / "expert-evaluation"
    return run / ("evaluation" if run == source else f"evaluation-{source.name}")


def _claim(out: Path, folder: JobFolder, *, resume: bool, force: bool) -> None:
    """Make sure that nothing is overwritten that was not meant to be.

    What is replaced goes first: the results of an evaluation that is not finished would be
    another's.
    """
    if force:
        folder.clear()
        with disk_errors("remove", out):
            for name in (RESULTS_FILE, EPISODES_FILE, REPORT_FILE):
                (out / name).unlink(missing_ok=True)
    elif (out / RESULTS_FILE).exists() and not (resume and folder.path.exists()):
        raise UsageError(f"{out}: there is an evaluation already; --force replaces it")
    elif folder.path.exists() and not resume:
        raise UsageError(
            f"{out}: an evaluation was interrupted; --resume goes on, --force begins anew"
        )


def write_replays(
    target: EvaluationTarget, evaluation: Evaluation, out: Path, limit: int
) -> dict[str, str]:
    """Write 3-D pages of the worst episodes: title -> file name."""
    from vand_robot.viewer.replay import (  # noqa: PLC0415  (loads the viewers)
        job_motion,
        write_motion,
    )

    pages = {}
    for perturbation, task, entry in worst_episodes(evaluation.results(), limit):
        job = next(
            it for it in evaluation.jobs if (it.perturbation.name, it.task) == (perturbation, task)
        )
        number = entry["seed"] - evaluation.first_seed
        with disk_errors("write", out):
            out.mkdir(parents=True, exist_ok=True)
        name = f"replay-{perturbation}-{task}-{number}.html"
        job = dataclasses.replace(job, seeds=(entry["seed"],))
        write_motion(job_motion(target, job), out / name, "html")
        pages[f"{task}, {perturbation}, episode {number}"] = name
    return pages


def write_evaluation(
    evaluation: Evaluation, out: Path, pictures: Sequence[Picture], links: Mapping[str, str]
) -> None:
    """Write an evaluation's results, episodes, figures and report.

    Args:
        evaluation: The evaluation.
        out: Folder.
        pictures: Its figures.
        links: Pages to link: title -> address relative to the report.

    Raises:
        VandError: The disk is full or fails.
    """
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / RESULTS_FILE, evaluation.results_json().encode())
    write_bytes(out / EPISODES_FILE, evaluation.episodes_csv().encode())
    for picture in pictures:
        figures.write_png(picture.figure, out / f"{picture.name}.png")
    _write_report(out, evaluation.results(), pictures, links)


def _write_report(
    out: Path, results: Mapping[str, Any], pictures: Sequence[Picture], links: Mapping[str, str]
) -> None:
    # the page's first table shows the success rates already
    write_report(
        out / REPORT_FILE, results, [it for it in pictures if it.name != SUCCESS], links=links
    )
