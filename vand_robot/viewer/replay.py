"""Replay of a policy's rollout or of a demonstration: what is asked for, and the files."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.scenes import get_scene
from vand_envs import get_task, make_world
from vand_envs.errors import UsageError, unknown_name
from vand_envs.robot import ROBOT_PREFIX, get_robot
from vand_envs.scenes import Scene
from vand_envs.seeds import TEST_SEED
from vand_envs.typing import FloatArray
from vand_envs.world import World
from vand_robot.evaluation.jobs import RolloutJob, plan_jobs, play
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS
from vand_robot.evaluation.rollout import rollout
from vand_robot.evaluation.target import EvaluationTarget, load_target
from vand_robot.viewer.camera import motion_camera
from vand_robot.viewer.html import write_html
from vand_robot.viewer.recorded_episodes import RecordedEpisodes
from vand_robot.viewer.video import SIZE, VIDEO_FORMATS, require_video, write_video

FILES = ("html", "video")
"""Viewers that write a file."""
INTERACTIVE = ("native", "web")
"""Viewers that a person operates."""
VIEWERS = (*INTERACTIVE, *FILES)
EXPERT = "expert"
"""In place of a data set beside a policy: the scripted expert, on the same seed."""
_BEFORE_STAGE = " - "
"""Stands in a caption between the instruction and the stage that is done."""


@dataclass(frozen=True)
class RecordedMotion:
    """A motion with its captions, ready to be written as a page or a video."""

    model: Any
    """The world, `mujoco.MjModel`."""
    path: FloatArray
    """Generalized positions or integration states, (T, nq) or (T, S)."""
    dt: float
    """Time between samples [s]."""
    title: str
    """Name of the source and the instruction."""
    captions: tuple[str, ...]
    """Text in the picture at each sample, T."""
    outcome: str
    """How it ended."""
    hand: str
    """Name of the end effector's site."""

    @property
    def marks(self) -> tuple[tuple[float, str], ...]:
        """When a stage was completed, time [s] and its name; or the instruction changed."""
        return tuple(
            (step * self.dt, now.removeprefix(before.partition(_BEFORE_STAGE)[0] + _BEFORE_STAGE))
            for step, (before, now) in enumerate(pairwise(self.captions), start=1)
            if now != before
        )


@dataclass(frozen=True)
class ReplayRequest:
    """A request to show something; checks itself. None leaves an option to its default.

    Raises:
        UsageError: No such source or viewer, an option that is not for this source or this viewer,
            a number out of range, or a file that is there.
    """

    source: Path
    """Folder of a run, or a data set."""
    out: Path | None = None
    """File to write, for `html` and `video`: MP4, WebM or GIF by its ending."""
    viewer: str = "html"
    """`html` (a self-contained page with the scene and a time bar), `video`, `web` or `native`."""
    task: str | None = None
    """Task of a run to roll out, or of the demonstration; the first by default."""
    index: int | None = None
    """Index of the held-out episode of a run; the first by default."""
    episode: str | None = None
    """Name of the demonstration; the first of the task by default."""
    seconds: float | None = None
    """Length of a rollout [s]; as in the evaluation by default."""
    perturbation: str | None = None
    """Perturbation of the evaluation under which a run is rolled out; nominal by default."""
    expert: bool = False
    """Whether the scripted expert acts in place of the run's policy; the source may then be a data
    set."""
    beside: str | None = None
    """`web`, `native`: a data set whose demonstrations are shown beside, or `EXPERT`."""
    camera: str | None = None
    """`html`, `video`: camera of the scene; by default one from where the motion is seen."""
    size: tuple[int, int] | None = None
    """`video`: width and height [pixel]."""
    fps: float | None = None
    """`video`: frames per second."""
    host: str | None = None
    """`web`: where to listen; this machine alone by default."""
    port: int | None = None
    """`web`: port; a free one by default."""
    force: bool = False
    """Whether to replace a file that is there."""

    def __post_init__(self) -> None:
        if self.viewer not in VIEWERS:
            raise unknown_name("viewer", self.viewer, VIEWERS)
        self._check_viewer()
        if not self.source.exists():
            raise UsageError(f"no run and no data set {self.source}")
        self._check_source()

    @property
    def is_rollout(self) -> bool:
        """Whether a policy or an expert acts; else a demonstration is shown as it was recorded."""
        return self.source.is_dir() or self.expert

    def _check_viewer(self) -> None:
        for option, given, viewers in (
            ("--beside", self.beside is not None, ("web", "native")),
            ("--camera", self.camera is not None, FILES),
            ("--size", self.size is not None, ("video",)),
            ("--fps", self.fps is not None, ("video",)),
            ("--host", self.host is not None, ("web",)),
            ("--port", self.port is not None, ("web",)),
        ):
            if given and self.viewer not in viewers:
                raise UsageError(
                    f"{option} is not for the {self.viewer} viewer; use --viewer"
                    f" {' or '.join(viewers)}"
                )
        if self.viewer in INTERACTIVE:
            if self.out is not None or self.force:
                option = "--force" if self.out is None else "--out"
                raise UsageError(f"{option}: the {self.viewer} viewer writes no file")
        elif self.out is None:
            raise UsageError(f"--out: the {self.viewer} viewer needs a file to write")
        else:
            self._check_file(self.out)

    def _check_file(self, out: Path) -> None:
        if self.viewer == "video":
            require_video(out, self.size or SIZE, self.fps)
        elif out.suffix.lower() in VIDEO_FORMATS:
            raise UsageError(f"{out}: the html viewer writes a page; use --viewer video")
        if out.exists() and not self.force:
            raise UsageError(f"{out} exists already; --force replaces it")

    def _check_source(self) -> None:
        if self.perturbation is not None and self.perturbation not in PERTURBATIONS:
            raise unknown_name("perturbation", self.perturbation, PERTURBATIONS)
        if self.index is not None and self.index < 0:
            raise UsageError(f"--index: expected 0 or more, got {self.index}")
        if self.beside not in (None, EXPERT) and not Path(str(self.beside)).is_file():
            raise UsageError(f"--beside: expected a data set or {EXPERT!r}, got {self.beside!r}")
        if self.is_rollout:
            if self.episode is not None:
                raise UsageError(
                    f"--episode: no demonstration is shown of {self.source}; use --index"
                )
        elif self.beside != EXPERT:
            self._check_recorded()

    def _check_recorded(self) -> None:
        """Check that nothing is asked of a recorded demonstration that only a rollout can do."""
        for option, value in (
            ("--seconds", self.seconds),
            ("--perturbation", self.perturbation),
            ("--index", self.index),
        ):
            if value is not None:
                raise UsageError(
                    f"{option}: a demonstration of {self.source} is shown as it was recorded"
                    " (--episode chooses one); expected a run, or --expert"
                )


def replay(request: ReplayRequest, progress: Callable[[int, int], None] | None = None) -> str:
    """Write a replay.

    Args:
        request: A request for `html` or `video`.
        progress: Called with the work done and all of it.

    Returns:
        What is shown and how it ended, in words.

    Raises:
        UsageError: No such task, episode or camera, or the viewer writes no file.
        VandError: Something cannot be read, rendered or written.
    """
    if request.out is None:
        raise UsageError(f"--viewer {request.viewer} writes no file; see `open_player`")
    if request.is_rollout:
        motion = policy_motion(
            request.source,
            request.task,
            request.index or 0,
            request.seconds,
            perturbation=request.perturbation or NOMINAL.name,
            expert=request.expert,
        )
    else:
        motion = demonstration_motion(request.source, request.task, request.episode)
    write_motion(
        motion,
        request.out,
        request.viewer,
        camera=request.camera,
        size=request.size or SIZE,
        fps=request.fps,
        progress=progress,
    )
    return f"{motion.title}; {motion.outcome}"


def write_motion(
    motion: RecordedMotion,
    out: Path,
    viewer: str,
    *,
    camera: str | None = None,
    size: tuple[int, int] = SIZE,
    fps: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a motion.

    Args:
        motion: The motion.
        out: The file.
        viewer: `html` or `video`.
        camera: Camera of the scene; by default one from where the motion is seen.
        size: Width and height of a video [pixel].
        fps: Frames per second of a video; None for the default.
        progress: Called with the frames of a video that are drawn and all of them.
    """
    view = camera or motion_camera(motion.model, motion.path, motion.hand)
    if viewer == "html":
        write_html(
            motion.model,
            motion.path,
            motion.dt,
            out,
            title=motion.title,
            caption=motion.outcome,
            camera=view,
            marks=motion.marks,
        )
    else:
        write_video(
            motion.model,
            motion.path,
            motion.dt,
            out,
            size=size,
            fps=fps,
            camera=view,
            captions=motion.captions,
            progress=progress,
        )


def policy_motion(
    source: Path,
    task: str | None,
    index: int,
    seconds: float | None,
    *,
    perturbation: str = "nominal",
    expert: bool = False,
) -> RecordedMotion:
    """The rollout of a held-out episode: to the last bit that of the evaluation."""
    target = load_target(source, expert=expert, judged=False)
    if not expert and (scene := get_scene(target.make_policy().spec.scene)) is not None:
        return scene_motion(target, scene, task, index, seconds)
    if not target.references:
        target = load_target(source, expert=expert)  # says why nothing judges it
    task_id = next(iter(target.references)) if task is None else task
    return job_motion(
        target, episode_job(target, task_id, index, seconds, perturbation=perturbation)
    )


def scene_motion(
    target: EvaluationTarget, scene: Scene, task: str | None, index: int, seconds: float | None
) -> RecordedMotion:
    """What a policy does in the scene of one's own that it was trained in; nobody judges it.

    Raises:
        UsageError: Another task than that of the scene, or no such length.
    """
    policy, dt = target.make_policy(), target.control_dt_s
    if task not in (None, scene.options.task):
        raise unknown_name("task", str(task), (scene.options.task,))
    _require_length(seconds, dt)
    steps = None if seconds is None else round(seconds / dt)
    played = rollout(policy, scene.options.task, [TEST_SEED + index], steps)
    path, told = played.qpos[:, 0], played.task.instruction
    world = make_world(get_robot(policy.spec.robot), scene=scene)
    title = f"{target.facts.run}: {told} (start {index})"
    outcome = f"{(len(path) - 1) * dt:.0f} s, judged by nobody"
    return RecordedMotion(world.model, path, dt, title, (told,) * len(path), outcome, _hand(world))


def episode_job(
    target: EvaluationTarget,
    task: str,
    index: int,
    seconds: float | None = None,
    *,
    perturbation: str = "nominal",
) -> RolloutJob:
    """The job of one held-out episode.

    Args:
        target: Who acts.
        task: The task that is judged.
        index: Index of the held-out episode.
        seconds: Its length [s]; as in the evaluation by default.
        perturbation: Name of the perturbation.

    Raises:
        UsageError: No such task, index or perturbation, or no such length.
    """
    if perturbation not in PERTURBATIONS:
        raise unknown_name("perturbation", perturbation, PERTURBATIONS)
    if task not in target.references:
        raise unknown_name("task", task, target.references)
    dt = target.control_dt_s
    _require_length(seconds, dt)
    if index < 0:
        raise UsageError(f"--index: expected 0 or more, got {index}")
    (job,) = plan_jobs(
        [task],
        [PERTURBATIONS[perturbation]],
        target.references,
        episodes=1,
        control_dt_s=dt,
        first_seed=TEST_SEED + index,
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


def _require_length(seconds: float | None, dt: float) -> None:
    if seconds is not None and not dt <= seconds <= 3600:
        raise UsageError(f"--seconds: expected {dt:g} to 3600, got {seconds:g}")


def job_motion(target: EvaluationTarget, job: RolloutJob) -> RecordedMotion:
    """The motion of the first episode of a job."""
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
    title = f"{target.facts.run}: {task.instruction} (held-out episode {number}{perturbation})"
    world = make_world(played.robot)
    return RecordedMotion(
        world.model, path, dt, title, captions[: len(path)], outcome, _hand(world)
    )


def demonstration_motion(file: Path, task: str | None, episode: str | None) -> RecordedMotion:
    """A recorded demonstration, from its states: exactly as it was."""
    shown = RecordedEpisodes(file, task, episode)
    frames, dt = shown.frames, shown.control_dt_s
    captions = tuple(
        _caption(frame.instruction, ("", *frame.instructed.stage_names)[frame.stages_done])
        for frame in frames
    )
    outcome = f"{'success' if frames[-1].success else 'failure'} after {len(frames) * dt:.1f} s"
    return RecordedMotion(
        shown.world.model,
        np.stack([frame.state for frame in frames]),
        dt,
        f"{shown.title}: {frames[-1].instruction}",
        captions,
        outcome,
        _hand(shown.world),
    )


def _hand(world: World) -> str:
    return ROBOT_PREFIX + world.robot.ee_site


def _caption(instruction: str, stage: str) -> str:
    return f"{instruction}{_BEFORE_STAGE}{stage}" if stage else instruction
