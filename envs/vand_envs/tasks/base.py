"""What a task is: an instruction, and how to tell that it was carried out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vand_envs.simulation import Simulation
from vand_envs.typing import BoolArray, FloatArray, Observation


@dataclass(frozen=True)
class Stage:
    """One step of a sequential task."""

    name: str
    """What was achieved, as a table's heading: "cube lifted"."""
    holds: Callable[[Simulation], BoolArray]
    """Whether it is achieved at present, (n,)."""


@dataclass(frozen=True)
class Cycle:
    """The rhythm of a periodic task, seen in a plane in which the motion winds around a centre.

    Both functions are pure functions of observations with any leading shape, so that
    demonstrations and rollouts are measured by the same code.
    """

    signal_names: tuple[str, str]
    """What the axes of the plane are."""
    unit: str
    """Unit of both axes."""
    phase_plane: Callable[[Observation], FloatArray]
    """Observations of (...) moments -> the two signals, relative to the centre, (..., 2)."""
    valid: Callable[[Observation], BoolArray]
    """Observations -> whether the motion counts at that moment (contact, say), (...)."""
    radius: tuple[float, float]
    """Smallest and largest distance from the centre at which winding counts, in `unit`."""
    direction: Literal[1, -1]
    """1 where the motion winds counter-clockwise."""
    min_cycles: int
    """Cycles after which one episode counts as a success."""


@dataclass(frozen=True)
class Task:
    """One instructed behaviour. Exactly one of `stages` and `cycle` is given."""

    id: str
    """Names the task on the command line and in data sets: "stow-cube"."""
    env_id: str
    """Name of its Gymnasium environment."""
    instruction: str
    """What the robot is told."""
    horizon_s: float
    """Time within which it must be done [s]; of periodic tasks, the length of an episode."""
    stages: tuple[Stage, ...] = ()
    """Steps of a sequential task, in order."""
    cycle: Cycle | None = None
    """Rhythm of a periodic task."""

    def __post_init__(self) -> None:
        if bool(self.stages) == (self.cycle is not None):
            raise ValueError(f"task {self.id!r}: expected either stages or a cycle")

    @property
    def kind(self) -> Literal["sequential", "periodic"]:
        """Whether the task is a sequence of stages or a rhythm."""
        return "sequential" if self.stages else "periodic"
