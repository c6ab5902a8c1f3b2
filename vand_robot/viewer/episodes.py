"""Episodes as a viewer plays them: frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from vand_envs import Task, get_task
from vand_envs.typing import Float32Array, FloatArray
from vand_envs.world import World


@dataclass(frozen=True, eq=False)
class Frame:
    """State of an episode after a number of control steps."""

    state: FloatArray
    """Integration state, (S,)."""
    task: str
    """Id of the instructed task."""
    stages_done: int
    """Stages completed in order since the instruction."""
    cycles: float
    """Cycles completed since the instruction; 0 where the task has none."""
    success: bool
    """Whether the task was done by then."""
    memory: Float32Array | None = None
    """State of the policy's recurrent core, (layers * S,); None without one."""
    told: Task | None = None
    """The task where it is not one of ours, as in a scene of one's own; None: that of the id."""

    @property
    def instructed(self) -> Task:
        """The instructed task."""
        return self.told or get_task(self.task)

    @property
    def instruction(self) -> str:
        """The instruction in words."""
        return self.instructed.instruction

    @property
    def progress_text(self) -> str:
        """Stage or number of cycles, in words."""
        task = self.instructed
        names = task.stage_names
        if names and self.stages_done >= len(names):
            return f"all {len(names)} stages done" + ("" if self.success else ", not as asked")
        if names:
            return f"stage {self.stages_done + 1} of {len(names)}: {names[self.stages_done]}"
        if task.cycle is None:
            return "done, says who drove" if self.success else "judged by a person"
        return f"{self.cycles:z.1f} {task.cycle.name}s"

    @property
    def standing(self) -> str:
        """The progress, and whether the task is done.

        A rhythm is never called a success here: an evaluation asks that it goes on to the end.
        Instead the text says how many cycles make a demonstration.
        """
        if not self.success:
            return self.progress_text
        cycle = self.instructed.cycle
        if cycle is None or self.instructed.stages:
            return f"{self.progress_text}, success"
        return f"{self.progress_text} ({cycle.min_cycles:g} make a demonstration)"


class EpisodeSource(Protocol):
    """Episodes that can be watched, one of which is open."""

    @property
    def world(self) -> World:
        """The world of the open episode."""
        ...

    @property
    def control_dt_s(self) -> float:
        """Time between frames [s]."""
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
        """Index of the open episode among those of the task."""
        ...

    @property
    def count(self) -> int | None:
        """Number of episodes of the task; None: no end."""
        ...

    @property
    def title(self) -> str:
        """Name of the run or data set and of the open episode."""
        ...

    @property
    def frames(self) -> Sequence[Frame]:
        """Frames of the open episode as far as they are known; at least the first."""
        ...

    @property
    def length(self) -> int:
        """Number of frames that the open episode will have."""
        ...

    def open(self, task: str, number: int) -> None:
        """Open another episode.

        Raises:
            UsageError: No such task or episode.
        """
        ...

    def extend(self) -> None:
        """Find out the next frame, unless all are known."""
        ...
