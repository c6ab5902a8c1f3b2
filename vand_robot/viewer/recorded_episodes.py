"""Recorded demonstrations as a viewer plays them, from their stored states."""

from pathlib import Path

import numpy as np

from vand_demos import DemoDataset
from vand_demos.embedded import world_of
from vand_demos.native import NATIVE
from vand_envs import get_task, task_ids
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
            self._instructions = dataset.env_args["env_kwargs"]["instructions"]
        if not self._names:
            raise VandError(f"{file}: the data set is empty")
        if task is not None and task not in self._names:
            raise unknown_name("task", task, self.tasks)
        tasks = self.tasks if task is None else (task,)
        candidates = [name for task_id in tasks for name in self._names[task_id]]
        name = candidates[0] if episode is None else episode
        if name not in candidates:
            raise unknown_name("episode", name, candidates)
        task = next(task_id for task_id in tasks if name in self._names[task_id])
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
            step_tasks = dataset.step_tasks(names[number])
        if demo.model_file is None or demo.action_mode == NATIVE:
            world_of(demo)  # says what can be seen of it all the same
        if demo.states is None:
            raise VandError(
                f"{self._file}: {demo.name} was recorded without states; record with --states"
            )
        self.world = world_of(demo)
        self.control_dt_s = demo.control_dt_s
        self.task, self.number, self.count = task, number, len(names)
        self.title = f"{self._file.name} {names[number]} ({demo.device})"
        # each stage and each cycle gives a reward of 1
        known = task in task_ids() and demo.rewards is not None
        rewards = np.asarray(demo.rewards) if known else np.zeros(len(demo))
        done = np.concatenate([[0], np.cumsum(rewards)])[: len(demo)]
        stages = len(get_task(task).stage_names) if known else 0
        scene = self.world.scene
        told = [task] * len(demo)
        if step_tasks is not None:
            told = [self._instructions[index] for index in step_tasks]
        self.frames = [
            Frame(
                state,
                told[step],
                min(int(gained), stages),
                0.0 if stages else float(gained),
                bool(demo.success) and step == len(demo) - 1,
                told=None if scene is None else scene.task,
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
        return len(self.frames)

    def extend(self) -> None:
        """Do nothing: every frame is known."""
