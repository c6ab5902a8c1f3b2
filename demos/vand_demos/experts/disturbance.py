"""Disturbance while demonstrating: bursts of noise on what is executed, never on the label.

So that demonstrations show how to recover: the noise pushes the robot off the expert's path, the
clean action of the expert, who sees where it got to, is recorded (Laskey et al. 2017, DART).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vand_demos.experts.motion import View
from vand_envs.errors import UsageError
from vand_envs.tasks.stir import in_soup

WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 0.5, 0.5, 0.5])
"""How strongly the parts of an action are disturbed: base x, y, yaw; hand x, y, z; its rotation.
Little along the vertical: a hand that is lifted off the board at every knock cannot wipe."""


PRESSING_M = 0.003
"""How far the commanded hand is below the real one when it presses on something [m]."""


@dataclass(frozen=True)
class Disturbance:
    """Bursts of correlated noise on base and end-effector twist; the gripper is spared."""

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
    """Factor on the noise while the hand presses on something or is in the pot: a rhythm that is
    knocked out of step at every burst would not be the one to learn."""
    correlation_s: float = 1.5
    """Correlation time of the noise [s]."""

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
    """

    def __init__(self, disturbance: Disturbance, seed: int, dt: float) -> None:
        self._it = disturbance
        self._rng = np.random.default_rng([seed, 2])
        self._dt = dt
        self._left = 0
        self._noise = np.zeros(9)
        if self._rng.random() < disturbance.at_start:
            self._begin_burst()

    def apply(self, action: npt.NDArray[np.float64], view: View) -> npt.NDArray[np.float64]:
        """The action (10,) that is executed in place of the clean one, where that is seen."""
        it, rng, dt = self._it, self._rng, self._dt
        if self._left == 0 and rng.random() < it.rate_hz * dt:
            self._begin_burst()
        if self._left == 0:
            return action
        self._left -= 1
        keep = np.exp(-dt / it.correlation_s)
        self._noise = keep * self._noise + np.sqrt(
            1 - keep**2
        ) * it.scale * WEIGHTS * rng.standard_normal(9)
        in_contact = -view["ee_lag"][2] > PRESSING_M or in_soup(view)
        noise = self._noise * (it.in_contact if in_contact else 1.0)
        return np.asarray(np.clip(action + np.append(noise, 0.0), -1.0, 1.0))

    def _begin_burst(self) -> None:
        it, rng = self._it, self._rng
        self._left = max(1, round(rng.uniform(*it.duration_s) / self._dt))
        self._noise = it.scale * WEIGHTS * rng.standard_normal(9)
