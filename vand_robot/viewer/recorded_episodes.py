"""Recorded demonstrations, from their states: exactly as they were."""

from pathlib import Path

import numpy as np

from vand_demos import DemoDataset
from vand_demos.embedded import world_of
from vand_envs import get_task
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_robot.viewer.episodes import Frame


class RecordedEpisodes:
    """The demonstrations of a data set; see `EpisodeSource`.

    Args:
        file: The data set.
        task: Task of the demonstration that is opened first; that of the first by default.
        episode: Its name, `demo_<int>`; the first of the task by default.

    Raises:
        UsageError: No such file, task or episode.
        VandError: The file is damaged, empty, or was recorded without states.
    """

    def __init__(self, file: Path, task: str | None = None, episode: str | None = None) -> None:
        self._file = file
        self._names: dict[str, list[str]] = {}
        with DemoDataset.open(file, guarded=True) as dataset:
            for name in dataset.names:
                self._names.setdefault(dataset.attribute(name, "task"), []).append(name)
        if not self._names:
            raise VandError(f"{file}: the data set is empty")
        if task is not None and task not in self._names:
            raise unknown_name("task", task, self.tasks)
        among = [name for each in self.tasks if task in (None, each) for name in self._names[each]]
        name = among[0] if episode is None else episode
        if name not in among:
            raise unknown_name("episode", name, among)
        task = next(each for each in self.tasks if name in self._names[each])
        self.open(task, self._names[task].index(name))

    def open(self, task: str, number: int) -> None:
        """As `EpisodeSource.open`."""
        if task not in self._names:
            raise unknown_name("task", task, self.tasks)
        names = self._names[task]
        if not 0 <= number < len(names):
            raise UsageError(f"demonstration of {task}: expected 0 to {len(names) - 1}")
        with DemoDataset.open(self._file, guarded=True) as dataset:
            demo = dataset.episode(names[number], next_observations=False)
        if demo.states is None:
            raise VandError(
                f"{self._file}: {demo.name} was recorded without states; record with --states"
            )
        self.world = world_of(demo)
        self.control_dt_s = demo.control_dt_s
        self.task, self.number, self.count = task, number, len(names)
        self.title = f"{self._file.name} {names[number]} ({demo.device})"
        done = np.concatenate([[0], np.cumsum(demo.rewards)])[: len(demo)]  # what a reward is for
        stages = len(get_task(task).stage_names)
        self.moments = [
            Frame(
                state,
                task,
                min(int(gained), stages),
                0.0 if stages else float(gained),
                demo.success and step == len(demo) - 1,
            )
            for step, (state, gained) in enumerate(zip(demo.states, done, strict=True))
        ]

    @property
    def tasks(self) -> tuple[str, ...]:
        """As `EpisodeSource.tasks`."""
        return tuple(self._names)

    @property
    def length(self) -> int:
        """As `EpisodeSource.length`."""
        return len(self.moments)

    def extend(self) -> None:
        """All is known."""
