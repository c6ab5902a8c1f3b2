"""Disturbance while demonstrating: bursts of noise on what is executed, never on the label.

So that demonstrations show how to recover: the noise pushes the robot off the expert's path, the
clean action of the expert, who sees where it got to, is recorded (Laskey et al. 2017, DART).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vand_demos.experts.motion import View
from vand_envs.errors import UsageError
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec

WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.5, 0.5, 0.5])
"""How strongly the parts of an action are disturbed: base x, y, yaw; hand x, y, z; its rotation.
Little along the vertical: a hand that is lifted off the board at every knock cannot wipe."""


@dataclass(frozen=True)
class Disturbance:
    """Bursts of correlated noise on base and end-effector twist; a gripper that closes too late."""

    scale: float = 0.3
    """Standard deviation of the noise within a burst, in units of the action."""
    rate_hz: float = 0.4
    """Bursts per second."""
    duration_s: tuple[float, float] = (0.4, 2.5)
    """Range of a burst's duration [s]: long ones hold the hand beside its goal until it stands
    still there, and only then does the label say what to do about an offset without a motion."""
    at_start: float = 0.5
    """Share of episodes that begin in a burst: so that where the robot is does not tell the task,
    and the instruction does."""
    in_contact: float = 0.3
    """Factor on the noise while the script says that the hand is in contact (`Script.in_contact`):
    a rhythm that is knocked out of step at every burst would not be the one to learn."""
    correlation_s: float = 1.5
    """Correlation time of the noise [s]."""
    late_grips: float = 0.0
    """Share of the times that the gripper is to close at which it stays open for a while: so that
    demonstrations show what to do where a grip missed. By themselves they do not: in 50 of
    drawer-stow the knob is missed now and then, the cube never."""
    late_s: tuple[float, float] = (0.8, 1.5)
    """Range of how long it stays open [s]: until the hand has left."""
    recovery_s: float = 1.5
    """Time after a burst in which a step still counts as disturbed [s]: three time constants of the
    slowest feedback of the experts, that of the base (`motion.BASE_GAIN`), after which 5 % of an
    offset are left."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise UsageError(
                f"scale of the disturbance (--disturb): expected 0 or more, got {self.scale:g}"
            )


class DisturbanceProcess:
    """The disturbance of one episode.

    Args:
        disturbance: Its magnitudes.
        seed: The episode's seed.
        dt: Duration of a step [s].
        in_contact: Whether the noise must be weak, by what is seen.
        robot: The robot, whose actions they are.
    """

    def __init__(
        self,
        disturbance: Disturbance,
        seed: int,
        dt: float,
        in_contact: Callable[[View], bool],
        robot: RobotSpec = DEFAULT_ROBOT,
    ) -> None:
        self._magnitudes = disturbance
        self._weights = WEIGHTS[[*robot.base_axes, *range(3, WEIGHTS.size)]]
        self._spared = robot.gripper_size
        self._in_contact = in_contact
        self._rng = np.random.default_rng([seed, 2])
        self._dt = dt
        self.disturbed = False
        """Whether the latest step is disturbed: in a burst, or recovering from one."""
        self._left = 0
        self._late = 0  # steps for which the gripper does not close yet
        self._open = False  # whether it was to be open
        self._recovering = 0
        self._noise = np.zeros_like(self._weights)
        if self._rng.random() < disturbance.at_start:
            self._begin_burst()

    def apply(self, action: npt.NDArray[np.float64], view: View) -> npt.NDArray[np.float64]:
        """The action (A,) that is executed in place of the clean one, where that is seen."""
        magnitudes, rng, dt = self._magnitudes, self._rng, self._dt
        if self._left == 0 and rng.random() < magnitudes.rate_hz * dt:
            self._begin_burst()
        if magnitudes.late_grips and self._spared:
            action = self._with_late_grip(action)
        if self._left == 0:
            self.disturbed = self._recovering > 0
            self._recovering = max(0, self._recovering - 1)
            return action
        self._left -= 1
        self.disturbed = True
        self._recovering = round(magnitudes.recovery_s / dt)
        keep = np.exp(-dt / magnitudes.correlation_s)
        self._noise = keep * self._noise + np.sqrt(
            1 - keep**2
        ) * magnitudes.scale * self._weights * rng.standard_normal(self._weights.size)
        noise = self._noise * (magnitudes.in_contact if self._in_contact(view) else 1.0)
        return np.asarray(np.clip(action + np.append(noise, np.zeros(self._spared)), -1.0, 1.0))

    def _with_late_grip(self, action: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The action (A,), with the gripper open where it fails to close."""
        magnitudes, dt = self._magnitudes, self._dt
        was_open, self._open = self._open, bool(action[-1] > 0)
        if was_open and not self._open and self._rng.random() < magnitudes.late_grips:
            self._late = max(1, round(self._rng.uniform(*magnitudes.late_s) / dt))
        self._late = 0 if self._open else max(0, self._late - 1)
        if self._late == 0:
            return action
        self._recovering = round(magnitudes.recovery_s / dt)
        return np.append(action[:-1], 1.0)

    def _begin_burst(self) -> None:
        magnitudes, rng = self._magnitudes, self._rng
        self._left = max(1, round(rng.uniform(*magnitudes.duration_s) / self._dt))
        self._noise = magnitudes.scale * self._weights * rng.standard_normal(self._weights.size)
