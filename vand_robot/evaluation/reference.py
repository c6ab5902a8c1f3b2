"""References by which a policy is judged, taken from the demonstrations of each task.

A reference is made from the training data and kept in the checkpoint, so that a policy can be
evaluated where its demonstrations are not at hand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from vand_demos import DemoDataset, Episode
from vand_demos.step_tasks import last_change
from vand_demos.storage.compatibility import require_fits, reward_fault, signature
from vand_demos.storage.layout import file_names
from vand_demos.system.json_record import JsonRecord
from vand_envs import get_task, task_ids
from vand_envs.errors import VandError
from vand_envs.geometry import hand_path
from vand_envs.robot import DEFAULT_ROBOT, get_robot
from vand_envs.tasks.base import Task
from vand_envs.typing import FloatArray
from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.reference_cycle import LONGEST_S, ReferenceCycle

EXTRAS_KEY = "references"
"""Key of the references among a checkpoint's extras."""

PATHS = 12
"""Largest number of demonstrations whose paths are kept."""
WORK_SHARES = (0.05, 1.0)
"""Range in which the work of a disturbed step is sought, in those of an undisturbed one."""
PATH_DT_S = 0.2
"""Time between two points of a path [s]."""
MOST_STEPS = 10_000_000
"""Bound of the length of a demonstration in a checkpoint [control steps]."""


@dataclass(frozen=True, eq=False)
class TaskReference:
    """Lengths, rhythm and paths of the demonstrations of one task."""

    episodes: int
    """Number of successful demonstrations."""
    median_steps: int
    """Median length [control steps]."""
    times_s: tuple[float, ...]
    """Durations until success, per demonstration of a sequential task, as without disturbance
    (`undisturbed_steps`) [s]."""
    cycle: ReferenceCycle | None
    """The rhythm of a periodic task."""
    paths: tuple[FloatArray, ...] = ()
    """Paths of the hand in the world, of some demonstrations of a sequential task, each of shape
    (M, 3) [m], a point every `PATH_DT_S`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "episodes": self.episodes,
            "median_steps": self.median_steps,
            "times_s": list(self.times_s),
            "cycle": None if self.cycle is None else self.cycle.to_json(),
            "paths_mm": [np.rint(1000 * path).astype(int).tolist() for path in self.paths],
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The reference that `to_json` wrote.

        Raises:
            VandError: Something is missing, of another type, or out of range.
        """
        cycle = record.values.get("cycle")
        return cls(
            episodes=record.integer("episodes", 1),
            median_steps=record.integer("median_steps", 1, MOST_STEPS),
            times_s=record.number_list("times_s", 0.0, LONGEST_S),
            cycle=None if cycle is None else ReferenceCycle.from_json(record.record("cycle")),
            paths=_paths_from_json(record) if "paths_mm" in record.values else (),
        )


def reference_from_episodes(
    task_id: str, episodes: Sequence[Episode], robot: str = DEFAULT_ROBOT.name
) -> TaskReference:
    """The reference set by demonstrations of one task, each from where the robot is told it.

    Args:
        task_id: The task.
        episodes: Its successful demonstrations.
        robot: Name of the robot that they show.

    Raises:
        UsageError: A periodic task, and no robot of that name is known here.
        VandError: There is no demonstration, or no cycle in those of a periodic task.
    """
    return _reference(task_id, [_shown(get_task(task_id), e, robot) for e in episodes])


@dataclass(frozen=True, eq=False)
class _Shown:
    """All that a reference takes from one demonstration: of many, the rest is too much to hold."""

    control_dt_s: float
    steps: int
    rewards: NDArray[np.float32] | None
    disturbed: NDArray[np.bool_] | None
    path: FloatArray | None = None
    """(M, 3) [m], where the task is sequential: a point every `PATH_DT_S`."""
    signal: FloatArray | None = None
    """(N, 2) phase plane of a periodic task."""
    valid: NDArray[np.bool_] | None = None
    """(N,) whether the motion counts."""


def _shown(
    task: Task, episode: Episode, robot: str, view: Mapping[str, NDArray[Any]] | None = None
) -> _Shown:
    """What a demonstration shows.

    Args:
        task: Its task.
        episode: The demonstration.
        robot: The robot.
        view: Its observations, in place of its own; those that the task is judged by are looked at.
    """
    view = episode.observations if view is None else view
    if start := last_change(episode.step_tasks):  # before it, another task is shown
        view = _LaterSteps(view, start)
    rewards = None if episode.rewards is None else episode.rewards[start:]
    disturbed = None if episode.disturbed is None else episode.disturbed[start:]
    common = (episode.control_dt_s, len(episode) - start, rewards, disturbed)
    if task.kind == "sequential":
        every = max(1, round(PATH_DT_S / episode.control_dt_s))
        return _Shown(*common, path=hand_path(view)[::every])
    if task.cycle is None:
        return _Shown(*common)
    spec = get_robot(robot)
    signal = task.cycle.phase_plane(view, spec)
    return _Shown(*common, signal=signal, valid=task.cycle.valid(view, spec))


def _reference(task_id: str, shown: Sequence[_Shown]) -> TaskReference:
    """As `reference_from_episodes`."""
    if not shown:
        raise VandError(f"task {task_id!r}: no successful demonstration to judge by")
    task = get_task(task_id)
    dt = shown[0].control_dt_s
    times: tuple[float, ...] = ()
    cycle = None
    paths: tuple[FloatArray, ...] = ()
    if task.kind == "sequential":
        # the last stage's reward marks the success
        times = tuple((undisturbed_steps(shown) * dt).tolist())
        chosen = np.linspace(0, len(shown) - 1, min(PATHS, len(shown))).round().astype(int)
        paths = tuple(_compact(path) for i in chosen if (path := shown[i].path) is not None)
    elif task.cycle is not None:
        try:
            cycle = reference_from_demonstrations(
                [s.signal for s in shown if s.signal is not None],
                dt,
                valid=[s.valid for s in shown if s.valid is not None],
                disturbed=[s.disturbed for s in shown],
            )
        except VandError as error:
            raise VandError(f"task {task_id!r}: {error}") from None
    steps = int(np.median([s.steps for s in shown]))
    return TaskReference(len(shown), steps, times, cycle, paths)


def undisturbed_steps(episodes: Sequence[Episode] | Sequence[_Shown]) -> FloatArray:
    """How long successful demonstrations of one sequential task would be without disturbance.

    A disturbed step does a share r of the work of one that is not, so a demonstration of U + D
    steps, D of them disturbed, would have taken U + r D. The share is the same in all
    demonstrations and stages, and is the one with which how long a stage would have taken does not
    depend on how much of it was disturbed: the correlation between its logarithm and the disturbed
    share, each relative to the mean of the stage over the demonstrations, is 0. Each stage of each
    demonstration is one observation.

    Args:
        episodes: The demonstrations. Where it is not known of each what was disturbed, or where
            no share explains the durations, they are taken as long as they are.

    Returns:
        Shape of the episodes [step].
    """
    ends = [
        np.flatnonzero(np.asarray(episode.rewards)) + 1 for episode in episodes
    ]  # of the stages
    steps = np.array([end[-1] for end in ends], np.float64)
    known = [e.disturbed for e in episodes if e.disturbed is not None]
    if len(known) < len(episodes) or len({len(end) for end in ends}) > 1:
        return steps
    disturbed = np.stack(
        [
            np.diff(np.concatenate([[0], np.cumsum(flags)])[np.concatenate([[0], end])])
            for flags, end in zip(known, ends, strict=True)
        ]
    )  # (episodes, stages)
    clean = np.diff(np.stack(ends), axis=1, prepend=0) - disturbed
    return np.asarray(steps - (1 - _work_share(clean, disturbed)) * disturbed.sum(axis=1))


def _work_share(clean: FloatArray, disturbed: FloatArray) -> float:
    """The share of the work of a step that a disturbed one does, see `undisturbed_steps`.

    Args:
        clean: Steps without disturbance, (episodes, stages).
        disturbed: Steps with it, of the same shape.

    Returns:
        A number in `WORK_SHARES`, or 1 where none of them solves the equation.
    """
    share = disturbed / (clean + disturbed)
    share = share - share.mean(axis=0)

    def dependence(work: float) -> float:
        would = np.log(clean + work * disturbed)
        return float((share * (would - would.mean(axis=0))).sum())

    low, high = WORK_SHARES
    if not dependence(low) < 0 < dependence(high):
        return 1.0
    return float(brentq(dependence, low, high))


def _compact(path: FloatArray) -> FloatArray:
    """A path rounded to millimeters, as it will be read back from JSON."""
    return np.asarray(np.rint(1000 * path).astype(int) / 1000)


def references_from_datasets(
    paths: Sequence[str | Path],
    tasks: Sequence[str] = (),
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, TaskReference]:
    """The references set by data sets, for each of their tasks (or the given ones).

    A task that was never demonstrated with success has none.

    Args:
        paths: The data sets.
        tasks: Task ids; empty: all.
        progress: Called with the number of data sets that were read and that of all.

    Raises:
        VandError: A file cannot be read, a demonstration is unusable, or none was successful.
    """
    shown: dict[str, list[_Shown]] = {}
    failed = False
    for number, path in enumerate(paths, 1):
        with DemoDataset.open(path, guarded=True) as dataset:
            reader = _JudgedReader(dataset)
            for name in dataset.names:
                task = dataset.attribute(name, "task")
                if tasks and task not in tasks:
                    continue
                if dataset.attribute(name, "success"):
                    shown.setdefault(task, []).append(reader.read(name, task))
                else:
                    failed = True
        if progress is not None:
            progress(number, len(paths))
    if failed and not shown:
        of = f" of {', '.join(tasks)}" if tasks else ""
        raise VandError(
            f"{file_names(paths)}: no successful demonstration{of}: nothing to judge a policy by"
        )
    return {task: _reference(task, shown[task]) for task in sorted(shown)}


class _LaterSteps(Mapping[str, NDArray[Any]]):
    """Observations from a step on; each is looked at only where it is asked for."""

    def __init__(self, observations: Mapping[str, NDArray[Any]], start: int) -> None:
        self._observations, self._start = observations, start

    def __getitem__(self, key: str) -> NDArray[Any]:
        return self._observations[key][self._start :]

    def __iter__(self) -> Iterator[str]:
        return iter(self._observations)

    def __len__(self) -> int:
        return len(self._observations)


class _NotedReads(dict[str, NDArray[Any]]):
    """Observations that note which of them are looked at."""

    def __init__(self, observations: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(observations)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> NDArray[Any]:
        self.read.add(key)
        return super().__getitem__(key)


class _JudgedReader:
    """Reads what demonstrations show, and no more than that: most of it is for policies to see.

    The first demonstration of a task is read whole; it tells which observations the others need.

    Args:
        dataset: The open data set.
    """

    def __init__(self, dataset: DemoDataset) -> None:
        self._dataset = dataset
        self._robot = str(dataset.env_args["env_kwargs"]["robot"])
        self._first: dict[str, str] = {}
        self._keys: dict[str, tuple[str, ...]] = {}  # of each task

    def read(self, name: str, task: str) -> _Shown:
        """What a demonstration of a task shows.

        Raises:
            VandError: It cannot be read, does not fit the data set, or lacks what is judged.
        """
        keys = self._keys.get(task)
        episode = self._dataset.episode(
            name, keys, states=False, next_observations=False, images=False
        )
        first = {
            path: shape
            for path, shape in self._first.items()
            if keys is None or not path.startswith("obs/") or path.removeprefix("obs/") in keys
        }
        require_fits(episode, self._dataset.env_args, first)
        self._first = self._first or signature(episode)
        _require_judgeable(self._dataset.path, episode)
        noted = _NotedReads(episode.observations)
        shown = _shown(get_task(task), episode, self._robot, noted)
        self._keys.setdefault(task, tuple(sorted({*noted.read, "base_pose", "ee_pos"})))
        return shown


def _require_judgeable(path: str | Path, episode: Episode) -> None:
    """Raise VandError where a successful demonstration lacks what a reference is made from."""
    for key in ("base_pose", "ee_pos"):
        if key not in episode.observations:
            raise VandError(f"{path}: {episode.name}: obs/{key} is missing")
    if (fault := reward_fault(episode)) is not None:
        raise VandError(f"{path}: {episode.name}: {fault}")


def to_extras(references: Mapping[str, TaskReference]) -> dict[str, Any]:
    """The references as the extras of a checkpoint."""
    return {EXTRAS_KEY: {task: reference.to_json() for task, reference in references.items()}}


def from_extras(extras: Mapping[str, Any], source: str = "extras") -> dict[str, TaskReference]:
    """The references in a checkpoint's extras; empty where it has none.

    Args:
        extras: The extras.
        source: The file that they are from, for error messages.

    Raises:
        VandError: A reference does not fit its task, or something in it is of another type.
    """
    if EXTRAS_KEY not in extras:
        return {}
    records = JsonRecord(source, extras, "extras").records(EXTRAS_KEY)
    return {task: _task_reference(task, record) for task, record in records.items()}


def _task_reference(task: str, record: JsonRecord) -> TaskReference:
    """The reference of a task; one that is known here gets all that it is judged by."""
    reference = TaskReference.from_json(record)
    known = get_task(task) if task in task_ids() else None
    if known is not None and known.kind == "sequential" and not reference.times_s:
        raise record.mistake("times_s", "at least one duration")
    if known is not None and known.kind == "periodic" and reference.cycle is None:
        raise record.mistake("cycle", "the cycle of a periodic task")
    return reference


def _paths_from_json(record: JsonRecord) -> tuple[FloatArray, ...]:
    paths = record.list_of_rows("paths_mm", 3)
    return tuple(np.array(path).reshape(-1, 3) / 1000 for path in paths)
