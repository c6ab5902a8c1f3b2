"""Replay: what a policy does, or what was demonstrated, as a page or a video."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vand_envs import get_task, make_world
from vand_envs.errors import UsageError, unknown_name
from vand_envs.seeds import TEST_SEED
from vand_envs.typing import FloatArray
from vand_robot.evaluation.jobs import RolloutJob, plan_jobs, play
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS
from vand_robot.evaluation.target import EvaluationTarget, load_target
from vand_robot.viewer.html import write_html
from vand_robot.viewer.recorded_episodes import RecordedEpisodes
from vand_robot.viewer.video import write_video

FILES = ("html", "video")
"""Viewers that write a file."""
WINDOWS = ("native", "web")
"""Viewers that a person operates."""
VIEWERS = (*WINDOWS, *FILES)


@dataclass(frozen=True)
class RecordedMotion:
    """Something to look at."""

    model: Any
    """The world, `mujoco.MjModel`."""
    path: FloatArray
    """Generalized positions or integration states, (T, nq) or (T, S)."""
    dt: float
    """Time between samples [s]."""
    title: str
    """What is shown."""
    captions: tuple[str, ...]
    """What to say at each sample, T."""
    outcome: str
    """How it ended."""


def replay(
    source: Path,
    out: Path,
    *,
    viewer: str = "html",
    task: str | None = None,
    seed: int = 0,
    episode: str | None = None,
    seconds: float | None = None,
    perturbation: str = "nominal",
    expert: bool = False,
    camera: str = "overview",
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Write a replay.

    Args:
        source: Folder of a run, or a data set.
        out: File to write.
        viewer: `html` (a self-contained page with the scene and a time bar) or `video` (MP4).
        task: Task of a run to roll out, or of the demonstration; the first by default.
        seed: Which held-out episode of a run.
        episode: Name of the demonstration; the first of the task by default.
        seconds: Length of a rollout [s]; as in the evaluation by default.
        perturbation: Perturbation of the evaluation under which a run is rolled out.
        expert: Whether the scripted expert acts in place of the run's policy; the source may then
            be a data set. A data set's demonstrations are shown as they are: seed, seconds and
            perturbation are not for them.
        camera: Where to look from.
        force: Replace a file that is there.
        progress: Called with the work done and all of it.

    Returns:
        What is shown and how it ended, in words.

    Raises:
        UsageError: No such source, task, episode or viewer, an option that is not for this source,
            or a file that is there.
        VandError: It cannot be read, rendered or written.
    """
    if viewer not in FILES:
        raise unknown_name("viewer", viewer, FILES)
    if out.exists() and not force:
        raise UsageError(f"{out} exists already; --force replaces it")
    if not source.exists():
        raise UsageError(f"no run and no data set {source}")
    if source.is_dir() or expert:
        if episode is not None:
            raise UsageError(f"--episode: no demonstration is shown of {source}; use --seed")
        motion = policy_motion(
            source, task, seed, seconds, perturbation=perturbation, expert=expert
        )
    else:
        require_as_recorded(source, seed, seconds, perturbation)
        motion = demonstration_motion(source, task, episode)
    write_motion(motion, out, viewer, camera=camera, progress=progress)
    return f"{motion.title}; {motion.outcome}"


def require_as_recorded(source: Path, seed: int, seconds: float | None, perturbation: str) -> None:
    """Check that nothing is asked of a recorded demonstration that only a rollout can do.

    Raises:
        UsageError: Something is; the line names the option.
    """
    for option, given in (
        ("--seconds", seconds is not None),
        ("--perturbation", perturbation != NOMINAL.name),
        ("--seed", seed != 0),
    ):
        if given:
            raise UsageError(
                f"{option}: a demonstration of {source} is shown as it was recorded (--episode"
                " chooses one); expected a run, or --expert"
            )


def write_motion(
    motion: RecordedMotion,
    out: Path,
    viewer: str,
    *,
    camera: str = "overview",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a motion as `html` or `video`; see `replay`."""
    if viewer == "html":
        write_html(
            motion.model,
            motion.path,
            motion.dt,
            out,
            title=motion.title,
            caption=motion.outcome,
            camera=camera,
        )
    else:
        write_video(
            motion.model,
            motion.path,
            motion.dt,
            out,
            camera=camera,
            captions=motion.captions,
            progress=progress,
        )


def policy_motion(
    source: Path,
    task: str | None,
    seed: int,
    seconds: float | None,
    *,
    perturbation: str = "nominal",
    expert: bool = False,
) -> RecordedMotion:
    """A rollout on a held-out seed: to the last bit that of the evaluation."""
    target = load_target(source, expert=expert)
    task_id = next(iter(target.references)) if task is None else task
    return job_motion(
        target, episode_job(target, task_id, seed, seconds, perturbation=perturbation)
    )


def episode_job(
    target: EvaluationTarget,
    task: str,
    seed: int,
    seconds: float | None = None,
    *,
    perturbation: str = "nominal",
) -> RolloutJob:
    """The job of one episode on a held-out seed.

    Args:
        target: Who acts.
        task: What is judged.
        seed: Which held-out episode.
        seconds: Its length [s]; as in the evaluation by default.
        perturbation: What interferes.

    Raises:
        UsageError: No such task, seed or perturbation, or no such length.
    """
    if perturbation not in PERTURBATIONS:
        raise unknown_name("perturbation", perturbation, PERTURBATIONS)
    if task not in target.references:
        raise unknown_name("task", task, target.references)
    dt = target.control_dt_s
    if seconds is not None and not dt <= seconds <= 3600:
        raise UsageError(f"--seconds: expected {dt:g} to 3600, got {seconds:g}")
    if seed < 0:
        raise UsageError(f"--seed: expected 0 or more, got {seed}")
    (job,) = plan_jobs(
        [task],
        [PERTURBATIONS[perturbation]],
        target.references,
        episodes=1,
        control_dt_s=dt,
        first_seed=TEST_SEED + seed,
    )
    if seconds is not None:
        job = dataclasses.replace(job, steps=round(seconds / dt))
        first = job.first_instruction
        if first is not None and job.steps <= first.steps:
            raise UsageError(
                f"--seconds: expected more than {first.steps * dt:g}, when the instruction"
                f" changes, got {seconds:g}"
            )
    return job


def job_motion(target: EvaluationTarget, job: RolloutJob) -> RecordedMotion:
    """What happens in the first episode of a job."""
    job = dataclasses.replace(job, seeds=job.seeds[:1])
    played = play(target.make_policy(), job)
    dt, task = played.control_dt_s, played.task
    done, path = played.stages_done[:, 0], played.qpos[:, 0]
    told = [task.instruction] * len(path)
    names = ("", *task.stage_names)
    stages = [names] * len(path)
    if job.first_instruction is not None:  # until it changes, the first task's stages count
        first = get_task(job.first_instruction.task)
        told[: played.start] = [first.instruction] * played.start
        stages[: played.start] = [("", *first.stage_names)] * played.start
    captions = tuple(_caption(text, of[k]) for text, of, k in zip(told, stages, done, strict=True))
    if task.kind == "periodic":
        outcome = f"{job.steps * dt:.0f} s"
    else:
        outcome = f"{done[-1]} of {len(names) - 1} stages done in order"
        if played.progress.at_end[0]:
            # a second more than the last stage took: nothing happens after it
            last = played.start + int((done[played.start :] < done[-1]).sum())
            path = path[: last + round(2.0 / dt) + 1]
    perturbation = "" if job.perturbation == NOMINAL else f", {job.perturbation.name}"
    number = job.seeds[0] - TEST_SEED
    title = f"{target.facts.run}: {task.instruction} (held-out seed {number}{perturbation})"
    return RecordedMotion(make_world().model, path, dt, title, captions[: len(path)], outcome)


def demonstration_motion(file: Path, task: str | None, episode: str | None) -> RecordedMotion:
    """A recorded demonstration, from its states: exactly as it was."""
    shown = RecordedEpisodes(file, task, episode)
    moments, dt = shown.moments, shown.control_dt_s
    names = ("", *get_task(shown.task).stage_names)
    captions = tuple(_caption(m.instruction, names[m.stages_done]) for m in moments)
    outcome = f"{'success' if moments[-1].success else 'failure'} after {len(moments) * dt:.1f} s"
    return RecordedMotion(
        shown.world.model,
        np.stack([moment.state for moment in moments]),
        dt,
        f"{shown.title}: {moments[-1].instruction}",
        captions,
        outcome,
    )


def _caption(instruction: str, stage: str) -> str:
    return f"{instruction} - {stage}" if stage else instruction
