"""A task: an instruction, and how to tell that it was carried out; and the registry of tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import gymnasium

from vand_envs.errors import UsageError
from vand_envs.robot import RobotSpec
from vand_envs.simulation import Simulation
from vand_envs.tasks.registry import Registry
from vand_envs.typing import BoolArray, FloatArray, Observation

Predicate = Callable[[Simulation], BoolArray]
"""Whether something holds at present, in each of n simulations, (n,). A function of a module, or a
frozen dataclass with `__call__`, can be sent to another process; a closure cannot."""


@dataclass(frozen=True)
class Stage:
    """One step of a sequential task."""

    name: str
    """The achievement, as a table's heading: "cube lifted"."""
    holds: Predicate
    """Whether it is achieved at present. Stages with equal functions are one event that comes
    several times: each of them needs it to come true again."""
    until: Predicate | None = None
    """The end of an event that holds: a button that is pressed counts as pressed until it is well
    up again. None: the event ends when `holds` is false."""
    after_s: tuple[float, float] | None = None
    """Times after the stage before it between which it must come true [s]; None: at any time."""
    exact: bool = False
    """Whether it spoils the episode if it comes true out of its turn, as pressing a wrong button
    does. As the last stage, an exact one need not hold until the end; any other must."""


@dataclass(frozen=True)
class Loop:
    """A circle that a cycle's motion winds around."""

    center: tuple[float, float] = (0.0, 0.0)
    """Its center in the phase plane, in the cycle's unit."""
    direction: Literal[1, -1] = 1
    """1 where the motion winds counter-clockwise."""


@dataclass(frozen=True)
class Cycle:
    """A repeated motion, seen in a plane in which it winds around.

    Both functions are pure functions of observations with any leading shape and of the robot that
    observed them, so that demonstrations and rollouts are measured by the same code.
    """

    name: str
    """Name of one cycle: "circle"."""
    signal_names: tuple[str, str]
    """Names of the plane's axes."""
    unit: str
    """Unit of both axes."""
    phase_plane: Callable[[Observation, RobotSpec], FloatArray]
    """Observations of (...) moments -> the two signals, relative to the center, (..., 2)."""
    valid: Callable[[Observation, RobotSpec], BoolArray]
    """Observations -> whether the motion counts at that moment (contact, say), (...)."""
    radius: tuple[float, float]
    """Smallest and largest distance from a loop's center at which winding counts, in `unit`."""
    min_cycles: int
    """Cycles after which a demonstration of an endless task is long enough. An evaluation asks for
    more: that the rhythm keeps to the demonstrations' cycle up to the end of the episode."""
    loops: tuple[Loop, ...] = (Loop(),)
    """The loops around each of which a cycle winds once: one circle, or both of a figure of
    eight."""


@dataclass(frozen=True)
class Task:
    """One instructed behavior: stages, or a cycle without end, or a count of cycles and stages."""

    id: str
    """Names the task on the command line and in data sets: "stow-cube"."""
    env_id: str
    """Name of its Gymnasium environment."""
    instruction: str
    """The instruction in words, for people."""
    horizon_s: float
    """Time within which it must be done [s]; of periodic tasks, the length of an episode."""
    stages: tuple[Stage, ...] = ()
    """Steps of a sequential task, in order."""
    cycle: Cycle | None = None
    """Cycle of a periodic task; with a count, the cycles that come before the stages."""
    count: int | None = None
    """Exact number of cycles (without a cycle: of events of the first stage) for a success. None:
    nothing is counted."""
    judged_by_person: bool = False
    """Whether a person says when it was done, as in a scene of one's own; it has no stages then."""

    def __post_init__(self) -> None:
        if self.judged_by_person:
            if self.stages or self.cycle is not None:
                raise ValueError(f"task {self.id!r}: what a person judges has no stages, no cycle")
            return
        counted_cycle = self.cycle is not None and self.count is not None
        if not self.stages and (self.cycle is None or self.count is not None):
            raise ValueError(f"task {self.id!r}: expected stages, or a cycle without a count")
        if self.stages and self.cycle is not None and not counted_cycle:
            raise ValueError(f"task {self.id!r}: a cycle before stages needs a count")

    @property
    def kind(self) -> Literal["sequential", "periodic"]:
        """Whether the task comes to an end, or is a rhythm without one."""
        return "sequential" if self.stages or self.judged_by_person else "periodic"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Names of the achievements in order: counted cycles, then stages; none if periodic."""
        counted = range(1, self.count + 1) if self.cycle is not None and self.count else ()
        cycle = "" if self.cycle is None else self.cycle.name
        return (*(f"{cycle} {k}" for k in counted), *(stage.name for stage in self.stages))


TASKS: Registry[Task] = Registry("task")
"""Id -> task, in the order of the instruction's one-hot code: built-in ones, then those of plugins,
by id."""


def register_task(task: Task) -> Task:
    """Make a task known by its id, and its environment known to Gymnasium.

    Returns:
        The task, so that a module can write `TASK = register_task(Task(...))`.

    Raises:
        UsageError: Another task has that id, or another environment that name.
    """
    if task.env_id in gymnasium.registry:
        raise UsageError(f"task {task.id!r}: environment {task.env_id!r} is registered already")
    TASKS.add(task.id, task)
    gymnasium.register(
        task.env_id,
        entry_point="vand_envs.env:MobileManipulationEnv",
        vector_entry_point="vand_envs.env:MobileManipulationVectorEnv",
        kwargs={"task_id": task.id},
    )
    return task


def task_ids() -> tuple[str, ...]:
    """Ids of all tasks, in the order of the instruction's one-hot code."""
    return tuple(TASKS)


def get_task(task_id: str) -> Task:
    """The task of that id.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    return TASKS[task_id]
