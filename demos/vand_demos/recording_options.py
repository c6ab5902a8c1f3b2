"""Options of recording sessions, and the report of one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vand_demos.experts.disturbance import Disturbance
from vand_demos.teleop import TELEOP_DEVICES, TeleopDevice
from vand_envs.controller import ActionMode
from vand_envs.errors import UsageError, unknown_name
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.scenes import Scene
from vand_envs.seeds import MAX_SESSION, SEEDS_PER_SESSION
from vand_envs.world import World

DEFAULT_DISTURBANCE = Disturbance()
"""On unless it is turned off: demonstrations should show recoveries."""

Progress = Callable[[int, int], None]
"""Called after each episode that is kept, with the episodes added and wanted."""


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """Options of a session, whoever demonstrates.

    Raises:
        UsageError: At construction, where a number is out of range.
    """

    session: int = 0
    """Number of the session, from 0; each has its own starts, and equal sessions equal ones."""
    keep_failures: bool = False
    """Whether failed episodes are kept, marked as such."""
    action_mode: ActionMode = "ee_twist"
    """Content of `actions`."""
    control_dt_s: float = 0.1
    """Duration of a control step [s]."""
    states: bool = True
    """Whether to store the simulation's states, which make exact replay possible."""
    robot: RobotSpec = DEFAULT_ROBOT
    """The robot that is driven."""
    scene: Scene | None = None
    """A scene of one's own, without a task: a person drives, and says what succeeded."""
    cameras: Mapping[str, Sequence[int]] | None = None
    """Images to store, `"head_rgb"` or `"wrist_rgb"` -> (height, width) [pixel]. They are drawn
    once an episode is over: the expert does not look at them."""

    def __post_init__(self) -> None:
        if not 0 <= self.session <= MAX_SESSION:
            raise UsageError(f"session: expected 0 to {MAX_SESSION}, got {self.session}")

    @property
    def seeds(self) -> range:
        """Seeds of the starts that belong to the session."""
        return range(
            self.session * SEEDS_PER_SESSION,
            (self.session + 1) * SEEDS_PER_SESSION,
        )


@dataclass(frozen=True, kw_only=True)
class ExpertOptions:
    """Options of a session of the expert."""

    disturbance: Disturbance | None = DEFAULT_DISTURBANCE
    """Noise on what is executed, never on the label; None for none."""
    num_threads: int = 0
    """Threads of the simulations; 0 means one per processor."""
    switch_to: str | None = None
    """The task to which the instruction changes on the way, which then is the one that is judged;
    None: it does not change."""


Connect = Callable[[World], TeleopDevice]
"""Opens the controls with which a person drives a robot in that world."""


@dataclass(frozen=True, kw_only=True)
class TeleopOptions:
    """Options of a session of a person, which lasts until they quit.

    Raises:
        UsageError: At construction: an unknown device, or a number out of range.
    """

    device: str
    """One of `TELEOP_DEVICES`."""
    connect: Connect
    """Opens the device: `open_device` with its options."""
    speed_limit: float = 1.0
    """Share of full speed that the commands do not exceed, in (0, 1]."""

    def __post_init__(self) -> None:
        if self.device not in TELEOP_DEVICES:
            raise unknown_name("device", self.device, TELEOP_DEVICES)
        if not 0 < self.speed_limit <= 1:
            raise UsageError(f"speed: expected more than 0, at most 1, got {self.speed_limit:g}")


@dataclass(frozen=True)
class SessionReport:
    """Result of a session."""

    path: Path
    """The data set."""
    recorded: int
    """Episodes added."""
    attempts: int
    """Episodes demonstrated, failures included; 0 where nothing was missing."""
    total: int
    """Episodes in the data set now."""
    steps: int
    """Control steps added."""
    interrupted: bool = False
    """Whether Ctrl-C ended it."""
