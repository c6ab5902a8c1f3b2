"""Evaluation in an environment of others, on disk: results, figures and a report in a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vand_envs.errors import UsageError
from vand_robot import figures
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Processes, processors, run_cached
from vand_robot.evaluation.target import EvaluationTarget
from vand_robot.foreign.evaluation import (
    ForeignTask,
    ForeignWork,
    collect_foreign,
    follows_seeds,
)
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
    note: Callable[[str], object] | None = None,
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
        note: Called with a line where the environment does not follow seeds.

    Raises:
        UsageError: A number out of range, an unknown instruction, no such interpreter, or an
            evaluation that is there.
        VandError: The environment cannot be made, does not fit the policy, or does not say whether
            an episode succeeded; its process died; or the disk is full. Finished jobs are safe.
    """
    if resume and force:
        raise UsageError("resume an evaluation or replace it by force, not both")
    if processes < 0:
        raise UsageError(f"jobs: expected 0 or more, got {processes}")
    evaluation = ForeignEvaluation.plan(target, task, episodes)
    folder = evaluation.cache(out)
    EvaluationFolder(out).claim(resume=resume, force=force)
    if note is not None and not follows_seeds(task):
        note(
            f"note: {task.env_id} begins in another way each time, whatever the seed: its episodes"
            " cannot be repeated; --env-arg NAME={seed} makes it anew for each"
        )
    executor = Processes(processes or processors())
    results = run_cached(evaluation.jobs, evaluation.work, folder, executor, progress)
    result = evaluation.write(results, out)
    folder.clear()
    return result


@dataclass(frozen=True)
class ForeignEvaluation:
    """An evaluation in an environment of others before it is run; see `TaskEvaluation`."""

    target: EvaluationTarget
    """The policy."""
    task: ForeignTask
    """The environment."""
    jobs: Sequence[RolloutJob]
    """The jobs, by seed."""

    @classmethod
    def plan(cls, target: EvaluationTarget, task: ForeignTask, episodes: int) -> Self:
        """The evaluation of a policy in an environment.

        Raises:
            UsageError: No such number of episodes.
        """
        if episodes < 1:
            raise UsageError(f"episodes: expected at least 1, got {episodes}")
        return cls(target, task, task.jobs(episodes))

    @property
    def work(self) -> ForeignWork:
        """How its jobs are run."""
        return ForeignWork(self.target.make_policy, self.task)

    def cache(self, out: Path) -> JobFolder:
        """Where results of its jobs are kept until all are there."""
        return JobFolder(out / JOBS_FOLDER, f"{self.target.digest} {self.task.digest}", {})

    def write(self, results: Sequence[JobResult], out: Path) -> EvaluationResult:
        """Write results, a figure and the report.

        Args:
            results: Those of the jobs, in their order.
            out: Folder.

        Raises:
            VandError: The disk is full or fails.
        """
        result = collect_foreign(self.task, results, self.target.control_dt_s, self.target.facts)
        chart = figures.success_chart(list(result.tasks), result.success_rates())
        write_evaluation(result, out, [Picture(SUCCESS, "Success by task", chart)], {})
        return result
