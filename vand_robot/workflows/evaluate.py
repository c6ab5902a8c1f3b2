"""Evaluation on disk: the folder of a run in, the folder of an evaluation out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from vand_demos.system.files import disk_errors, write_bytes
from vand_envs import task_ids
from vand_envs.errors import UsageError, unknown_name
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.doors import EXPORTED, exported_target
from vand_robot.evaluation.episodes import EpisodeKey, read_rows
from vand_robot.evaluation.jobs import JobResult, RolloutJob, RolloutWork, plan_jobs
from vand_robot.evaluation.repeated import EarlierEvaluation
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Executor, Processes, Progress, processors, run_cached
from vand_robot.evaluation.suites import Suite, find_suite
from vand_robot.evaluation.summary import Rollouts, collect, join_jobs
from vand_robot.evaluation.target import EvaluationTarget, load_target
from vand_robot.layout import (
    EPISODES_FILE,
    JOBS_FOLDER,
    METRICS_FILE,
    REPORT_FILE,
    RESULTS_FILE,
    EvaluationFolder,
    named,
    run_folder,
)
from vand_robot.policies.device import CPU
from vand_robot.report import Picture, write_report
from vand_robot.workflows.pictures import SUCCESS, draw_evaluation


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
    device: str = CPU,
    first_seed: int = TEST_SEED,
    resume: bool = False,
    force: bool = False,
    links: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], object] | None = None,
    target: EvaluationTarget | None = None,
) -> EvaluationResult:
    """Evaluate the policy of a run on held-out seeds and write results, figures and a report.

    Args:
        source: Folder of a run or checkpoint, or a `policy.onnx`; for the experts also a data set.
        out: Folder for `results.json`, `episodes.csv`, `report.html` and figures as PNG.
        suite: Name of the suite.
        perturbations: In place of the suite's.
        tasks: Task ids; all that the policy was trained on by default.
        episodes: Of each task and perturbation, in place of the suite's.
        processes: Processes, 0 for one per processor.
        expert: Whether the scripted experts act in place of the policy.
        replays: Pages to write of so many of the worst episodes.
        device: Where the policy acts: auto, cpu, cuda, cuda:N or mps.
        first_seed: Seed of the first episode; `VALIDATION_SEED` while settings are chosen.
        resume: Go on with an evaluation that was interrupted.
        force: Replace an evaluation that is there.
        links: Pages to link: title -> address.
        progress: Called with the steps done and all steps.
        note: Called with a line where the replaced evaluation had other numbers.
        target: The policy, where it is not what `source` stands for.

    Raises:
        UsageError: A mistake in the options, or an evaluation is there.
        VandError: A damaged checkpoint, or a full disk; finished jobs are safe.
    """
    wanted = _checked(find_suite(suite, perturbations, episodes), processes, replays)
    evaluation = TaskEvaluation.plan(
        target or target_of(source, expert=expert, device=device),
        wanted,
        tasks,
        first_seed=first_seed,
        curve=training_curve(source, expert=expert),
        replays=replays,
        links=links or {},
    )
    earlier = EarlierEvaluation.read(out) if force and note is not None else None
    EvaluationFolder(out).claim(resume=resume, force=force)
    executor = Processes(processes or processors())
    tell = partial(_tell, earlier, out, note)
    return evaluation.run(out, executor, progress, tell)


@dataclass(frozen=True)
class TaskEvaluation:
    """An evaluation on our own tasks before it is run: its jobs, and what is made of their results.

    Where the jobs are run does not matter to it, see `run_evaluation` and `workflows.shards`.
    """

    target: EvaluationTarget
    """The policy, and what it is judged by."""
    suite: Suite
    """The suite."""
    jobs: Sequence[RolloutJob]
    """The jobs, by perturbation, then task, then seed."""
    curve: Path | None = None
    """Metrics of the policy's training, to be drawn."""
    replays: int = 0
    """Pages to write of so many of the worst episodes."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Pages to link in the report: title -> address."""

    @classmethod
    def plan(
        cls,
        target: EvaluationTarget,
        suite: Suite,
        tasks: Sequence[str],
        *,
        first_seed: int,
        **rest: Any,
    ) -> Self:
        """The evaluation of a policy on tasks, by default all that it was trained on.

        Raises:
            UsageError: An unknown task, or no perturbation applies to any of the tasks.
            VandError: The policy was not trained on a task.
        """
        return cls(target, suite, _plan(target, suite, tasks, first_seed), **rest)

    @property
    def work(self) -> RolloutWork:
        """How its jobs are run."""
        return RolloutWork(self.target.make_policy, self.target.references)

    def cache(self, out: Path) -> JobFolder:
        """Where results of its jobs are kept until all are there."""
        return JobFolder(out / JOBS_FOLDER, self.target.digest, self.target.references)

    def run(
        self,
        out: Path,
        executor: Executor,
        progress: Progress | None,
        tell: Callable[[EvaluationResult], None],
    ) -> EvaluationResult:
        """Do its jobs, or what is left of them, and write what comes out; see `write`."""
        folder = self.cache(out)
        results = run_cached(self.jobs, self.work, folder, executor, progress)
        result = self.write(results, out, tell)
        folder.clear()
        return result

    def write(
        self,
        results: Sequence[JobResult],
        out: Path,
        tell: Callable[[EvaluationResult], None] = lambda _: None,
    ) -> EvaluationResult:
        """Write results, figures, the report and replays.

        Args:
            results: Those of the jobs, in their order.
            out: Folder.
            tell: Called once the numbers are written.

        Raises:
            VandError: The disk is full or fails.
        """
        rollouts = join_jobs(self.jobs, results)
        dt = self.target.control_dt_s
        result = collect(rollouts, control_dt_s=dt, suite=self.suite.name, policy=self.target.facts)
        pictures = draw_evaluation(result, rollouts, self.target, self.curve)
        write_evaluation(result, out, pictures, self.links)
        tell(result)
        if pages := write_replays(self.target, result, rollouts, out, self.replays):
            _write_report(out, result, pictures, self.links, pages)
        return result


def _tell(
    earlier: EarlierEvaluation | None,
    out: Path,
    note: Callable[[str], object] | None,
    result: EvaluationResult,
) -> None:
    """Say where the same policy gave other numbers in the evaluation that was replaced."""
    if note is not None and earlier is not None:
        earlier.compare(result, read_rows(out), note)


def target_of(source: Path, *, expert: bool, device: str) -> EvaluationTarget:
    """What a path stands for: an exported policy, a run, or the experts.

    Raises:
        UsageError: There is none, or no such device.
        VandError: It is damaged or foreign.
    """
    if source.suffix == EXPORTED and not expert:
        return exported_target(source)
    return load_target(source, expert=expert, device=device)


def training_curve(source: Path, *, expert: bool) -> Path | None:
    """The metrics of the run's training, if there are any to be drawn."""
    curve = source / METRICS_FILE
    return curve if curve.exists() and not expert else None


def _checked(suite: Suite, processes: int, replays: int) -> Suite:
    """The suite, once the numbers are checked.

    Raises:
        UsageError: A number is negative.
    """
    for name, number in (("processes", processes), ("replays", replays)):
        if number < 0:
            raise UsageError(f"{name}: expected 0 or more, got {number}")
    return suite


def _plan(
    target: EvaluationTarget, suite: Suite, tasks: Sequence[str], first_seed: int
) -> list[RolloutJob]:
    """The jobs of an evaluation, of all tasks that the policy was trained on by default."""
    for task in tasks:
        if task not in target.references:
            raise unknown_name("task", task, target.references)
    return plan_jobs(
        tuple(tasks) or [task for task in task_ids() if task in target.references],
        suite.perturbations,
        target.references,
        episodes=suite.episodes,
        control_dt_s=target.control_dt_s,
        first_seed=first_seed,
    )


def evaluation_folder(source: Path, *, expert: bool = False) -> Path:
    """Folder of the evaluation of a run, unless another is given.

    That of a checkpoint, RUN/best or RUN/last, is kept beside it as RUN/evaluation-best or
    RUN/evaluation-last: training replaces a checkpoint's folder with everything in it.

    Raises:
        UsageError: It is a data set, which has no such place.
    """
    if source.suffix == EXPORTED and not expert:
        return source.with_name(f"{source.stem}-evaluation")
    if source.is_file():
        raise UsageError("--out: a folder for the results is needed where a data set is given")
    source = named(source)
    run = run_folder(source)
    if expert:
        return run / "expert-evaluation"
    return run / ("evaluation" if run == source else f"evaluation-{source.name}")


def write_replays(
    target: EvaluationTarget,
    result: EvaluationResult,
    rollouts: Sequence[Rollouts],
    out: Path,
    limit: int,
) -> dict[EpisodeKey, str]:
    """Write 3-D pages of the worst episodes: episode -> file name.

    After all numbers, so that a page that fails costs nothing but itself; resuming makes it anew.
    """
    from vand_robot.viewer.replay import (  # noqa: PLC0415  (loads the viewers)
        job_motion,
        write_motion,
    )

    jobs = {(cell.job.perturbation.name, cell.job.task): cell.job for cell in rollouts}
    pages = {}
    for perturbation, task, episode in result.worst_episodes(limit):
        with disk_errors("write", out):
            out.mkdir(parents=True, exist_ok=True)
        name = f"replay-{perturbation}-{task}-{episode.seed - result.first_seed}.html"
        job = dataclasses.replace(jobs[perturbation, task], seeds=(episode.seed,))
        write_motion(job_motion(target, job), out / name, "html")
        pages[perturbation, task, episode.seed] = name
    return pages


def write_evaluation(
    result: EvaluationResult, out: Path, pictures: Sequence[Picture], links: Mapping[str, str]
) -> None:
    """Write an evaluation's results, episodes, figures and report.

    Args:
        result: The result.
        out: Folder.
        pictures: Its figures.
        links: Pages to link: title -> address relative to the report.

    Raises:
        VandError: The disk is full or fails.
    """
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / RESULTS_FILE, result.json_text().encode())
    write_bytes(out / EPISODES_FILE, result.csv_text().encode())
    for picture in pictures:
        write_bytes(out / f"{picture.name}.png", picture.png)
    _write_report(out, result, pictures, links, {})


def _write_report(
    out: Path,
    result: EvaluationResult,
    pictures: Sequence[Picture],
    links: Mapping[str, str],
    replays: Mapping[EpisodeKey, str],
) -> None:
    # the page's first table shows the success rates already
    others = [picture for picture in pictures if picture.name != SUCCESS]
    write_report(out / REPORT_FILE, result, others, links=links, replays=replays)
