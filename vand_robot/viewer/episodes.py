"""What a viewer plays: episodes, moment by moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vand_envs import get_task
from vand_envs.typing import Float32Array, FloatArray
from vand_envs.world import World


@dataclass(frozen=True, eq=False)
class Frame:
    """What was true after so many control steps."""

    state: FloatArray
    """Integration state, (S,)."""
    task: str
    """What the robot was told."""
    stages_done: int
    """Stages completed in order since it was told."""
    cycles: float
    """Cycles wound since it was told; 0 where the task has none."""
    success: bool
    """Whether the task was done by then."""
    memory: Float32Array | None = None
    """State of the policy's recurrent core, (layers * S,); None where nobody has one."""

    @property
    def instruction(self) -> str:
        """What the robot was told, in words."""
        return get_task(self.task).instruction

    @property
    def phase(self) -> str:
        """How far the task has come."""
        task = get_task(self.task)
        names = task.stage_names
        if names and self.stages_done >= len(names):
            return f"all {len(names)} stages done" + ("" if self.success else ", not as asked")
        if names:
            return f"stage {self.stages_done + 1} of {len(names)}: {names[self.stages_done]}"
        assert task.cycle is not None  # noqa: S101  (a task has stages or a cycle)
        return f"{self.cycles:z.1f} {task.cycle.name}s"

    @property
    def standing(self) -> str:
        """The phase, and whether the task is done.

        Of a rhythm it says how many cycles make a demonstration: that it goes on, which an
        evaluation asks for, shows in the end alone.
        """
        if not self.success:
            return self.phase
        cycle = get_task(self.task).cycle
        if cycle is None or get_task(self.task).stages:
            return f"{self.phase}, success"
        return f"{self.phase} ({cycle.min_cycles:g} make a demonstration)"


class EpisodeSource(Protocol):
    """Episodes that can be looked at, one of which is open."""

    @property
    def world(self) -> World:
        """The world of the open episode."""
        ...

    @property
    def control_dt_s(self) -> float:
        """Time between moments [s]."""
        ...

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that can be chosen."""
        ...

    @property
    def task(self) -> str:
        """Task that was chosen."""
        ...

    @property
    def number(self) -> int:
        """Which episode of the task is open."""
        ...

    @property
    def count(self) -> int | None:
        """Number of episodes of the task; None: without end."""
        ...

    @property
    def title(self) -> str:
        """What is shown."""
        ...

    @property
    def moments(self) -> Sequence[Frame]:
        """The open episode as far as it is known; at least its first moment."""
        ...

    @property
    def length(self) -> int:
        """Number of moments that the open episode will have."""
        ...

    def open(self, task: str, number: int) -> None:
        """Open another episode.

        Raises:
            UsageError: No such task or episode.
        """
        ...

    def extend(self) -> None:
        """Find out the next moment, unless all are known."""
        ...
