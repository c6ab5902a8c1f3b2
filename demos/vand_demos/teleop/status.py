"""State of a teleoperation session, in the words that every device shows."""

from dataclasses import dataclass
from typing import Literal

Vector3 = tuple[float, float, float]

_DONE = "Done. Press Save if it is a good example, Discard if not."
_BY_PERSON = "Is it done? Save if it is, Failed keeps it as a failure, Discard drops it."

Phase = Literal["ready", "driving", "paused", "showing"]
"""`ready`: the robot stands at the start of an episode. `driving`: it obeys, and is recorded.
`paused`: it stands still in the middle of an episode, which waits to be gone on with or judged.
`showing`: the expert does the task once, and nothing is recorded."""


@dataclass(frozen=True)
class Status:
    """State that an operator sees; all but the counters is about the present episode."""

    instruction: str
    """Instruction, in words."""
    phase: Phase
    message: str
    """Result of the last event, or its error."""
    time_s: float
    """Time driven [s]."""
    stage_names: tuple[str, ...]
    """Stages in their order; none for periodic tasks."""
    stages_done: int
    cycle_name: str | None
    """Word for a cycle; None where the task has no cycle."""
    cycles: float
    """Cycles wound."""
    cycles_needed: int
    """Cycles after which an episode is good; 0 where the task has no cycle."""
    success: bool
    """Whether the task was done, so that the episode can be saved."""
    saved: int
    """Episodes saved in this session."""
    wanted: int
    """Episodes that this session is to record."""
    total: int
    """Episodes in the data set."""
    hint: str = ""
    """Next step in words, see `vand_demos.teleop.guide`; empty where nobody wrote it down."""
    target: Vector3 | None = None
    """Where the next step is done, in the world [m]."""
    contact: bool | None = None
    """Of a periodic motion, whether it counts at present; None elsewhere."""
    judged_by_person: bool = False
    """Whether the operator says at the end of an episode if the task was done: no stages tell."""
    quitting: bool = False
    """Whether to quit once more drops the episode that is not saved."""
    rate_hz: float = 0.0
    """Control rate that was asked for [Hz]."""
    measured_hz: float = 0.0
    """Control rate that is held [Hz]."""

    @property
    def keeps_up(self) -> bool:
        """Whether the control rate is held, but for a moment's hitch."""
        return self.measured_hz >= 0.9 * self.rate_hz

    @property
    def wound(self) -> str:
        """Cycles completed, of those needed; negative the wrong way round, never minus 0."""
        return f"{self.cycles:z.1f} of {self.cycles_needed}"

    @property
    def next_step(self) -> str:
        """Next thing to do, as a sentence."""
        if self.phase == "showing":
            return f"Watch. {self.hint or self.goal}."
        if self.phase == "ready":
            if self.saved >= self.wanted:
                return f"All {self.wanted} are recorded. Finish (quit), or start another one."
            return "Press Start. Recording begins with your first motion."
        if self.judged_by_person or self.success:
            return _BY_PERSON if self.judged_by_person else _DONE
        if self.phase == "paused":
            return "The robot stands still. Go on, discard it, or take the same start again."
        return f"Now: {self.hint or self.goal}."

    @property
    def goal(self) -> str:
        """Next stage or cycle."""
        if self.stages_done < len(self.stage_names):
            return self.stage_names[self.stages_done]
        if self.cycle_name is None or self.stage_names:
            return self.instruction
        return f"{self.cycle_name} {int(max(self.cycles, 0.0)) + 1} of {self.cycles_needed}"
