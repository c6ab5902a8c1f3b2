"""Evaluation in an environment of others, on disk: results, figures and a report in a folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError
from vand_robot import figures
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Processes, processors, run_cached
from vand_robot.evaluation.target import EvaluationTarget
from vand_robot.foreign.evaluation import ForeignTask, ForeignWork, collect_foreign
from vand_robot.layout import JOBS_FOLDER, EvaluationFolder
from vand_robot.report import Picture
from vand_robot.workflows.evaluate import write_evaluation
from vand_robot.workflows.pictures import SUCCESS


def run_foreign_evaluation(
    target: EvaluationTarget,
    task: ForeignTask,
    out: Path,
    *,
    episodes: int = 50,
    processes: int = 1,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationResult:
    """Evaluate a policy in an environment of others, and write results, a figure and a report.

    Args:
        target: The policy; what judges it here is the environment.
        task: The environment.
        out: Folder for `results.json`, `episodes.csv`, `report.html`.
        episodes: Episodes.
        processes: Processes, 0 for one per processor; the numbers do not depend on it.
        resume: Go on with an evaluation that was interrupted.
        force: Replace an evaluation that is there.
        progress: Called with the episodes done and all of them.

    Raises:
        UsageError: A number out of range, an unknown instruction, no such interpreter, or an
            evaluation that is there.
        VandError: The environment cannot be made, does not fit the policy, or does not say whether
            an episode succeeded; its process died; or the disk is full. Finished jobs are safe.
    """
    if resume and force:
        raise UsageError("resume an evaluation or replace it by force, not both")
    if episodes < 1 or processes < 0:
        raise UsageError(f"episodes, jobs: expected 1 and 0 at least, got {episodes}, {processes}")
    folder = JobFolder(out / JOBS_FOLDER, f"{target.digest} {task.digest}", {})
    EvaluationFolder(out).claim(resume=resume, force=force)
    work = ForeignWork(target.make_policy, task)
    executor = Processes(processes or processors())
    results = run_cached(task.jobs(episodes), work, folder, executor, progress)
    result = collect_foreign(task, results, target.control_dt_s, target.facts)
    chart = figures.success_chart(list(result.tasks), result.success_rates())
    write_evaluation(result, out, [Picture(SUCCESS, "Success by task", chart)], {})
    folder.clear()
    return result


def env_arguments(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` as arguments of an environment; values are JSON, or else text.

    Raises:
        UsageError: One is not of this form.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--env-arg: expected KEY=VALUE, got {word!r:.60}")
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments
