"""A recording session: somebody demonstrates a task until enough good episodes are in the file."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from vand_demos.dataset import DemoDataset, part_files
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.experts.disturbance import Disturbance
from vand_demos.recorder import Recorder, repair
from vand_envs import TaskBatch, get_task
from vand_envs.controller import ActionMode
from vand_envs.errors import UsageError, VandError, unknown_name

RECORDING_DEVICES = ("expert",)
"""Devices that can drive a recording session."""

SEEDS_PER_SESSION = 10_000
"""A session of seed S records the episode seeds S * this, S * this + 1, ..."""

MAX_SESSION_SEED = 999
"""Episode seeds of larger sessions would meet those reserved for validation and evaluation."""

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


def record(
    task_id: str,
    path: str | Path,
    *,
    episodes: int,
    seed: int = 0,
    device: str = "expert",
    disturbance: Disturbance | None = DEFAULT_DISTURBANCE,
    keep_failures: bool = False,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    resume: bool = False,
    states: bool = True,
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
        disturbance: Noise on what is executed, never on the label; None for none.
        keep_failures: Whether failed episodes are kept, marked as such.
        action_mode: What `actions` holds.
        control_dt_s: Duration of a control step [s].
        resume: Add to the data set if there is one. Seeds that it holds of this task are skipped.
        states: Whether to store the simulation's states, which make exact replay possible.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after each episode kept with the episodes added and wanted.

    Returns:
        What was recorded.

    Raises:
        UsageError: An unknown task or device, a seed out of range, or a file that exists.
        VandError: The data set is of another robot, action mode or control step, the disk is full,
            or too many demonstrations fail. Finished episodes are safe.
    """
    get_task(task_id)
    if device not in RECORDING_DEVICES:
        raise unknown_name("device", device, RECORDING_DEVICES)
    if not 0 <= seed <= MAX_SESSION_SEED:
        raise UsageError(f"seed: expected 0 to {MAX_SESSION_SEED}, got {seed}")
    if episodes < 1:
        raise UsageError(f"episodes: expected at least 1, got {episodes}")
    path = Path(path).expanduser()
    env_args = TaskBatch(task_id, 1, action_mode=action_mode, control_dt_s=control_dt_s).env_args
    if resume and part_files(path):
        repair(path)  # a session before this one was killed; its seeds count as used
    kept = attempts = steps = 0
    with Recorder(path, env_args, resume=resume, states=states) as recorder:
        first = _next_seed(path, task_id, seed * SEEDS_PER_SESSION)
        for episode in demonstrate(
            task_id,
            count(first),
            disturbance=disturbance,
            action_mode=action_mode,
            control_dt_s=control_dt_s,
            parallel=min(16, episodes),
            num_threads=num_threads,
        ):
            attempts += 1
            if episode.success or keep_failures:
                recorder.save(episode)
                kept, steps = kept + 1, steps + len(episode)
                if progress is not None:
                    progress(kept, episodes)
            if kept == episodes:
                break
            if attempts >= GIVE_UP * episodes:
                raise VandError(
                    f"{path}: only {kept} of {attempts} demonstrations of {task_id!r} succeeded;"
                    f" those are kept"
                )
        total = len(recorder)
    return SessionReport(path, kept, attempts, total, steps)


def _next_seed(path: Path, task_id: str, first: int) -> int:
    """The first seed of a session that the data set does not hold of this task."""
    if not path.exists():
        return first
    with DemoDataset.open(path) as dataset:
        used = [
            dataset.attribute(name, "seed")
            for name in dataset.names
            if dataset.attribute(name, "task") == task_id
        ]
    session = [s for s in used if first <= s < first + SEEDS_PER_SESSION]
    return max(session, default=first - 1) + 1
