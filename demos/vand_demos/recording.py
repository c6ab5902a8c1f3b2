"""A recording session: somebody demonstrates a task until enough good episodes are in the file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vand_demos.episode import Episode
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.experts.disturbance import Disturbance
from vand_demos.storage.augment import with_images
from vand_demos.storage.guard import require_readable
from vand_demos.storage.layout import part_files
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.recorder import Recorder, repair
from vand_demos.system.files import file_path
from vand_demos.teleop import TELEOP_DEVICES, TeleopDevice, TeleopSession, run
from vand_envs import TaskBatch, get_task
from vand_envs.cameras import Cameras
from vand_envs.controller import ActionMode
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.seeds import MAX_SESSION_SEED, SEEDS_PER_SESSION
from vand_envs.world import World

RECORDING_DEVICES = ("expert", *TELEOP_DEVICES)
"""Devices that can drive a recording session."""

DEFAULT_DISTURBANCE = Disturbance()
"""On unless it is turned off: demonstrations should show recoveries."""

GIVE_UP = 5
"""Attempts per wanted episode after which a session has failed."""


@dataclass(frozen=True)
class SessionReport:
    """What a session recorded."""

    path: Path
    """The data set."""
    recorded: int
    """Episodes added."""
    attempts: int
    """Episodes demonstrated, failures included."""
    total: int
    """Episodes in the data set now."""
    steps: int
    """Control steps added."""
    interrupted: bool = False
    """Whether Ctrl-C ended it."""


Connect = Callable[[World], TeleopDevice]
"""Opens the controls with which a person drives a robot in that world."""


def record(
    task_id: str,
    path: str | Path,
    *,
    episodes: int,
    seed: int = 0,
    device: str = "expert",
    connect: Connect | None = None,
    speed_limit: float = 1.0,
    disturbance: Disturbance | None = DEFAULT_DISTURBANCE,
    keep_failures: bool = False,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    resume: bool = False,
    states: bool = True,
    cameras: Mapping[str, Sequence[int]] | None = None,
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SessionReport:
    """Record demonstrations of a task into a data set.

    Args:
        task_id: The task.
        path: The data set; a new file, or with `resume` one to add to.
        episodes: Episodes to add: successful ones, or all with `keep_failures`.
        seed: Seed of the session; equal arguments record equal episodes.
        device: Who demonstrates, one of `RECORDING_DEVICES`.
        connect: Opens the device, where it is not the expert: `open_device` with its options. The
            session then lasts until the operator quits.
        speed_limit: Share of full speed that a person's commands do not exceed, in (0, 1].
        disturbance: Noise on what is executed, never on the label; None for none.
        keep_failures: Whether failed episodes are kept, marked as such.
        action_mode: What `actions` holds.
        control_dt_s: Duration of a control step [s].
        resume: Add to the data set if there is one. Seeds that it holds of this task are skipped.
        states: Whether to store the simulation's states, which make exact replay possible.
        cameras: Images to store, `"head_rgb"` or `"wrist_rgb"` -> (height, width) [pixel]. They are
            drawn once an episode is over: the expert does not look at them.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after each episode kept with the episodes added and wanted.

    Returns:
        What was recorded.

    Raises:
        UsageError: An unknown task, device or camera, a number out of range, or a file that exists.
        VandError: The data set is of another robot, action mode or control step, the disk is full,
            the device cannot be used, too many demonstrations fail, or the session has no starts
            left. Finished episodes are safe, and so they are when Ctrl-C ends the session.
    """
    get_task(task_id)
    if device not in RECORDING_DEVICES:
        raise unknown_name("device", device, RECORDING_DEVICES)
    if (device == "expert") != (connect is None):
        raise UsageError(f"device {device!r}: expected connect for a person, none for the expert")
    if not 0 < speed_limit <= 1:
        raise UsageError(f"speed: expected more than 0, at most 1, got {speed_limit:g}")
    if not 0 <= seed <= MAX_SESSION_SEED:
        raise UsageError(f"seed: expected 0 to {MAX_SESSION_SEED}, got {seed}")
    if episodes < 1:
        raise UsageError(f"episodes: expected at least 1, got {episodes}")
    path = file_path(path)
    batch = TaskBatch(
        task_id, 1, action_mode=action_mode, control_dt_s=control_dt_s, cameras=cameras
    )
    if resume and part_files(path):
        repair(path)  # a session before this one was killed; its seeds count as used
    elif resume and path.is_file():
        require_readable(path)
    with (
        closing(Cameras(batch.model, batch.image_sizes)) as eyes,
        Recorder(path, batch.env_args, resume=resume, states=states) as recorder,
    ):
        first, end = _next_seed(path, task_id, seed * SEEDS_PER_SESSION), _end(seed)
        if first >= end:
            raise _used_up(path, seed)
        if connect is not None:
            drive = TeleopSession(
                TaskBatch(task_id, 1, control_dt_s=control_dt_s),
                recorder,
                device=device,
                seed=first,
                wanted=episodes,
                action_mode=action_mode,
                speed_limit=speed_limit,
                keep_failures=keep_failures,
                finish=lambda episode: with_images(episode, eyes),
            )
            interrupted = _operate(drive, connect)
            attempts = drive.attempts
        else:
            demonstrations = demonstrate(
                task_id,
                range(first, end),
                disturbance=disturbance,
                action_mode=action_mode,
                control_dt_s=control_dt_s,
                parallel=min(16, episodes),
                num_threads=num_threads,
            )

            def keep(episode: Episode) -> None:
                if episode.success or keep_failures:
                    recorder.save(with_images(episode, eyes))
                    if progress is not None:
                        progress(recorder.saved, episodes)

            attempts, interrupted = _collect(demonstrations, keep, recorder, episodes, task_id)
            if recorder.saved < episodes and not interrupted:
                raise _used_up(path, seed)
    return SessionReport(path, recorder.saved, attempts, len(recorder), recorder.steps, interrupted)


def episodes_missing(
    path: str | Path, task_id: str, *, episodes: int, seed: int = 0, keep_failures: bool = False
) -> int:
    """How many episodes a session that was interrupted still has to record.

    What a killed session left behind is taken into the data set first.

    Args:
        path: The data set; it need not exist.
        task_id: The task.
        episodes: Episodes that the session is to have in the end: successful ones, or all with
            `keep_failures`.
        seed: Seed of the session.
        keep_failures: Whether the session keeps failed episodes.

    Returns:
        Episodes to add, 0 or more.

    Raises:
        VandError: The data set cannot be read.
    """
    path = file_path(path)
    if part_files(path):
        repair(path)
    session = _session(path, task_id, seed * SEEDS_PER_SESSION)
    there = sum(success or keep_failures for _, success in session)
    return max(episodes - there, 0)


def _end(seed: int) -> int:
    """The first start that belongs to the session after this one."""
    return (seed + 1) * SEEDS_PER_SESSION


def _used_up(path: Path, seed: int) -> VandError:
    return VandError(
        f"{path}: session {seed} has used all of its {SEEDS_PER_SESSION} starts; what was recorded"
        " is kept, and another --seed goes on"
    )


def _operate(drive: TeleopSession, connect: Connect) -> bool:
    """Let a person drive until they quit; whether by Ctrl-C."""
    try:
        with closing(connect(drive.batch.world)) as controls:
            run(drive, controls)
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


def _next_seed(path: Path, task_id: str, first: int) -> int:
    """The first seed of a session that the data set does not hold of this task."""
    return max((seed for seed, _ in _session(path, task_id, first)), default=first - 1) + 1


def _session(path: Path, task_id: str, first: int) -> list[tuple[int, bool]]:
    """Seed and success of the episodes of a session, from its first seed on, in the data set."""
    if not path.exists():
        return []
    with DemoDataset.open(path, guarded=True) as dataset:
        return [
            (int(seed), bool(dataset.attribute(name, "success")))
            for name in dataset.names
            if dataset.attribute(name, "task") == task_id
            and first <= (seed := dataset.attribute(name, "seed")) < first + SEEDS_PER_SESSION
        ]
