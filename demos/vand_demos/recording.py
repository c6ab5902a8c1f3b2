"""Recording sessions: a task is demonstrated until enough good episodes are in the data set."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vand_demos.episode import Episode
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.experts.disturbance import Disturbance
from vand_demos.recording_options import (
    DEFAULT_DISTURBANCE,
    Connect,
    ExpertOptions,
    Progress,
    RecordingOptions,
    SessionReport,
    TeleopOptions,
)
from vand_demos.sessions import episodes_missing, session_episodes, told_tasks
from vand_demos.storage.augment import with_images
from vand_demos.storage.guard import require_readable
from vand_demos.storage.layout import part_files, parts_folder
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.recorder import Recorder, repair
from vand_demos.switching import require_switchable
from vand_demos.system.files import file_path
from vand_demos.system.interrupt import saying
from vand_demos.teleop import TELEOP_DEVICES, TeleopSession, run
from vand_envs import TaskBatch, get_task
from vand_envs.cameras import Cameras
from vand_envs.controller import ActionMode
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec, require_offered
from vand_envs.scenes import Scene
from vand_envs.seeds import SEEDS_PER_SESSION

EXPERT = "expert"
"""Name of the device that is no device: a script drives."""

GIVE_UP = 5
"""Attempts per wanted episode after which a session has failed."""


def record(  # noqa: D417  (the classes of options say the rest)
    task_id: str,
    path: str | Path,
    *,
    episodes: int,
    session: int = 0,
    device: str = EXPERT,
    connect: Connect | None = None,
    speed_limit: float = 1.0,
    disturbance: Disturbance | None = DEFAULT_DISTURBANCE,
    switch_to: str | None = None,
    keep_failures: bool = False,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    resume: bool = False,
    overwrite: bool = False,
    states: bool = True,
    cameras: Mapping[str, Sequence[int]] | None = None,
    robot: RobotSpec = DEFAULT_ROBOT,
    scene: Scene | None = None,
    num_threads: int = 0,
    progress: Progress | None = None,
) -> SessionReport:
    """Record demonstrations of a task into a data set.

    Args:
        task_id: The task; with `scene`, that of the scene.
        path: The data set; a new file, or with `resume` one to add to.
        episodes: Episodes to add: successful ones, or all with `keep_failures`.
        device: Who demonstrates, `EXPERT` or one of `TELEOP_DEVICES`.
        connect: See `TeleopOptions`, as for `speed_limit`; for the expert, None.
        resume: Add to the data set if there is one. Seeds that it holds of this task are skipped.
        overwrite: Remove the data set if there is one, and begin a new one.
        progress: Called after each episode of the expert that is kept.

    `disturbance`, `switch_to` and `num_threads` are those of `ExpertOptions`, the rest those of
    `RecordingOptions`.

    Raises:
        UsageError: An unknown task, device or camera, a number out of range, or a file that exists.
        VandError: The data set is of another robot, mode or rate, the disk is full, the device
            cannot be used, or too many demonstrations fail. Finished episodes are safe.
    """
    _require_demonstrator(device, scene, connect)
    options = RecordingOptions(
        session=session,
        keep_failures=keep_failures,
        action_mode=action_mode,
        control_dt_s=control_dt_s,
        states=states,
        cameras=cameras,
        robot=robot,
        scene=scene,
    )
    how: Any = {"episodes": episodes, "resume": resume, "overwrite": overwrite}
    if connect is not None:
        person = TeleopOptions(device=device, connect=connect, speed_limit=speed_limit)
        return record_by_hand(task_id, path, person, options, **how)
    expert = ExpertOptions(disturbance=disturbance, num_threads=num_threads, switch_to=switch_to)
    return record_by_expert(task_id, path, expert, options, progress=progress, **how)


def _require_demonstrator(device: str, scene: Scene | None, connect: Connect | None) -> None:
    require_device(device)
    if scene is not None and device == EXPERT:
        raise UsageError(f"no expert knows the scene {scene.name!r}: expected a person's device")
    if (device == EXPERT) != (connect is None):
        raise UsageError(f"device {device!r}: expected connect for a person, none for the expert")


def require_device(name: str) -> None:
    """Check that a device can drive a recording session.

    Raises:
        UsageError: There is none of that name.
    """
    if name != EXPERT and name not in TELEOP_DEVICES:
        raise unknown_name("device", name, (EXPERT, *TELEOP_DEVICES))


def record_tasks(
    tasks: Sequence[str],
    path: str | Path,
    driver: ExpertOptions | TeleopOptions,
    options: RecordingOptions,
    *,
    episodes: int,
    resume: bool = False,
    overwrite: bool = False,
    show: Callable[[str, int], AbstractContextManager[Progress]] | None = None,
) -> Iterator[tuple[str, SessionReport]]:
    """Record a session of each of several tasks into one data set, one after the other.

    Args:
        tasks: Ids of the tasks.
        path: The data set; a new file, or with `resume` one to add to.
        driver: Who demonstrates; a person, one task at a time.
        options: How episodes are recorded.
        episodes: Episodes that each session is to have.
        resume: Add to the data set if there is one; of an expert's session, what is missing.
        overwrite: Remove the data set if there is one, and begin a new one.
        show: Called with each task and the episodes to record; shows the progress in its block.

    Yields:
        Each task and what was recorded of it. The session that Ctrl-C ended is the last.

    Raises:
        UsageError: See `record`; or several tasks for a person.
        VandError: See `record`.
    """
    if isinstance(driver, TeleopOptions) and len(tasks) > 1:
        raise UsageError(f"device {driver.device!r} records one task at a time, got {len(tasks)}")
    for number, task_id in enumerate(tasks):
        wanted = episodes
        if resume and isinstance(driver, ExpertOptions):
            wanted = episodes_missing(
                path,
                task_id,
                episodes=episodes,
                session=options.session,
                keep_failures=options.keep_failures,
                switch_to=driver.switch_to,
            )
        if wanted == 0 < episodes:
            with DemoDataset.open(path) as dataset:
                yield task_id, SessionReport(dataset.path, 0, 0, len(dataset), 0)
            continue
        how = {"resume": resume or number > 0, "overwrite": overwrite and number == 0}
        with ExitStack() as stack:
            progress = stack.enter_context(show(task_id, wanted)) if show else None
            if isinstance(driver, TeleopOptions):
                report = record_by_hand(task_id, path, driver, options, episodes=wanted, **how)
            else:
                report = record_by_expert(
                    task_id, path, driver, options, episodes=wanted, progress=progress, **how
                )
        yield task_id, report
        if report.interrupted:
            return


def record_by_expert(
    task_id: str,
    path: str | Path,
    expert: ExpertOptions,
    options: RecordingOptions,
    *,
    episodes: int,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SessionReport:
    """Record demonstrations by the expert of a task; see `record`."""
    told = told_tasks(task_id, expert.switch_to)
    if expert.switch_to is not None:
        require_switchable(task_id, expert.switch_to)
        require_offered(options.robot, task_id)
    with _Session(
        told, file_path(path), options, episodes, resume=resume, overwrite=overwrite
    ) as session:
        demonstrations = demonstrate(
            told[-1],
            session.seeds,
            first=None if expert.switch_to is None else task_id,
            disturbance=expert.disturbance,
            action_mode=options.action_mode,
            control_dt_s=options.control_dt_s,
            parallel=min(16, episodes),
            num_threads=expert.num_threads,
            robot=options.robot,
        )

        def keep(episode: Episode) -> None:
            if episode.success or options.keep_failures:
                session.recorder.save(session.with_images(episode))
                if progress is not None:
                    progress(session.recorder.saved, episodes)

        attempts, interrupted = _collect(
            demonstrations, keep, session.recorder, episodes, " then ".join(told)
        )
        if session.recorder.saved < episodes and not interrupted:
            raise session.used_up
    return session.report(attempts, interrupted=interrupted)


def record_by_hand(
    task_id: str,
    path: str | Path,
    person: TeleopOptions,
    options: RecordingOptions,
    *,
    episodes: int,
    resume: bool = False,
    overwrite: bool = False,
) -> SessionReport:
    """Record demonstrations by a person, until they quit; see `record`."""
    with _Session(
        (task_id,), file_path(path), options, episodes, resume=resume, overwrite=overwrite
    ) as session:
        teleop = TeleopSession(
            TaskBatch(
                task_id,
                1,
                control_dt_s=options.control_dt_s,
                robot=options.robot,
                scene=options.scene,
            ),
            session.recorder,
            device=person.device,
            seed=session.seeds.start,
            wanted=episodes,
            action_mode=options.action_mode,
            speed_limit=person.speed_limit,
            keep_failures=options.keep_failures,
            finish=session.with_images,
        )
        interrupted = _operate(teleop, person.connect)
    return session.report(teleop.attempts, interrupted=interrupted)


class _Session:
    """The data set and the cameras of a session, open in its block.

    Args:
        told: What the robot is told, in that order; the last task is the one that is judged.
        path: The data set.
        options: How episodes are recorded.
        episodes: Episodes to record.
        resume: Whether to add to the data set if there is one.
        overwrite: Whether to remove the data set if there is one.

    Raises:
        UsageError: At construction: an unknown task or camera, or a number out of range.
        VandError: On entering the block: the data set cannot be written, or no start is left.
    """

    def __init__(
        self,
        told: tuple[str, ...],
        path: Path,
        options: RecordingOptions,
        episodes: int,
        *,
        resume: bool,
        overwrite: bool,
    ) -> None:
        if options.scene is None:
            require_offered(options.robot, get_task(told[-1]).id)
        if episodes < 1:
            raise UsageError(f"episodes: expected at least 1, got {episodes}")
        self._batch = TaskBatch(
            told[-1],
            1,
            action_mode=options.action_mode,
            control_dt_s=options.control_dt_s,
            cameras=options.cameras,
            robot=options.robot,
            scene=options.scene,
        )
        self._told, self._path, self._options = told, path, options
        self._resume, self._overwrite = resume, overwrite
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._resume and part_files(self._path):
            repair(self._path)  # a session before this one was killed; its seeds count as used
        elif self._resume and self._path.is_file():
            require_readable(self._path)
        with ExitStack() as stack:
            stack.enter_context(saying(lambda: _kept(self._path)))
            batch, options = self._batch, self._options
            self._cameras = stack.enter_context(closing(Cameras(batch.model, batch.image_sizes)))
            self.recorder = stack.enter_context(
                Recorder(
                    self._path,
                    batch.env_args,
                    resume=self._resume,
                    states=options.states,
                    overwrite=self._overwrite,
                )
            )
            used = session_episodes(self._path, self._told, options.seeds)
            first = max((seed for seed, _ in used), default=options.seeds.start - 1) + 1
            self.seeds = range(first, options.seeds.stop)
            """Seeds of the starts that are left."""
            if not self.seeds:
                raise self.used_up
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def with_images(self, episode: Episode) -> Episode:
        """The episode with the images that are asked for."""
        return with_images(episode, self._cameras)

    @property
    def used_up(self) -> VandError:
        """The error that the session has no starts left."""
        return VandError(
            f"{self._path}: session {self._options.session} has used all of its"
            f" {SEEDS_PER_SESSION} starts; what was recorded is kept, and another --session goes on"
        )

    def report(self, attempts: int, *, interrupted: bool) -> SessionReport:
        """Report of what was recorded, after the block."""
        recorder = self.recorder
        return SessionReport(
            self._path, recorder.saved, attempts, len(recorder), recorder.steps, interrupted
        )


def _kept(path: Path) -> str | None:
    """Where the episodes are that a session leaves which ends before they are packed."""
    if not (waiting := len(part_files(path))):
        return None
    return (
        f"{waiting} recorded episodes wait in {parts_folder(path)}; to put them into the data set:"
        f" vand-robot demos repair {shlex.quote(str(path))}"
    )


def _operate(session: TeleopSession, connect: Connect) -> bool:
    """Let a person drive until they quit; whether by Ctrl-C."""
    try:
        with closing(connect(session.batch.world)) as controls:
            run(session, controls)
    except KeyboardInterrupt:
        return True
    return False


def _collect(
    demonstrations: Iterable[Episode],
    keep: Callable[[Episode], None],
    recorder: Recorder,
    episodes: int,
    task_id: str,
) -> tuple[int, bool]:
    """Keep demonstrations until there are enough: their number, and whether Ctrl-C came first."""
    attempts = 0
    try:
        for episode in demonstrations:
            attempts += 1
            keep(episode)
            if recorder.saved == episodes:
                break
            if attempts >= GIVE_UP * episodes:
                raise VandError(
                    f"{recorder.path}: only {recorder.saved} of {attempts} demonstrations of"
                    f" {task_id!r} succeeded; those are kept"
                )
    except KeyboardInterrupt:
        return attempts, True
    return attempts, False
