"""What of a recording session is in a data set already."""

from pathlib import Path

from vand_demos.recording_options import RecordingOptions
from vand_demos.storage.layout import part_files
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.recorder import repair
from vand_demos.system.files import file_path


def episodes_missing(
    path: str | Path,
    task_id: str,
    *,
    episodes: int,
    session: int = 0,
    keep_failures: bool = False,
    switch_to: str | None = None,
) -> int:
    """The number of episodes that a session which was interrupted still has to record.

    What a killed session left behind is taken into the data set first.

    Args:
        path: The data set; it need not exist.
        task_id: The task.
        episodes: Episodes that the session is to have in the end: successful ones, or all with
            `keep_failures`.
        session: Number of the session.
        keep_failures: Whether the session keeps failed episodes.
        switch_to: The task to which the instruction changes on the way, see `ExpertOptions`.

    Returns:
        Episodes to add, 0 or more.

    Raises:
        VandError: The data set cannot be read.
    """
    path = file_path(path)
    if part_files(path):
        repair(path)
    seeds = RecordingOptions(session=session).seeds
    there = sum(
        success or keep_failures
        for _, success in session_episodes(path, told_tasks(task_id, switch_to), seeds)
    )
    return max(episodes - there, 0)


def told_tasks(task_id: str, switch_to: str | None) -> tuple[str, ...]:
    """The tasks that the robot is told, in that order."""
    return (task_id,) if switch_to is None else (task_id, switch_to)


def session_episodes(path: Path, told: tuple[str, ...], seeds: range) -> list[tuple[int, bool]]:
    """Seed and success of the episodes in which this is told and whose seeds are among these."""
    if not path.exists():
        return []
    with DemoDataset.open(path, guarded=True) as dataset:
        return [
            (seed, bool(dataset.attribute(name, "success")))
            for name in dataset.names
            if dataset.told(name) == told and (seed := dataset.attribute(name, "seed")) in seeds
        ]
