"""When frames are drawn, and the poses between two states."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np

from vand_envs.typing import FloatArray

FRAMES_PER_S = 30.0
"""Pictures are shown at least so often, a whole number in each control step."""

GIVE_WAY_S = 0.25
"""A loop that is later than this forgets what it missed: it would rush to make up for it [s]."""

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass
class FrameClock:
    """Deadlines at fixed times after the start: being late once delays nothing after it.

    Args:
        period_s: Time between deadlines [s].
    """

    period_s: float
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    late_s: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))
    """By how much each deadline was missed [s]."""

    def __post_init__(self) -> None:
        self._start, self._ticks = self.clock(), 0

    def wait(self) -> bool:
        """Wait for the next deadline; whether it was kept, to within a period."""
        self._ticks += 1
        deadline = self._start + self._ticks * self.period_s
        if (ahead := deadline - self.clock()) > 0:
            self.sleep(ahead)
        late = self.clock() - deadline
        self.late_s.append(late)
        if late > GIVE_WAY_S:
            self._start, self._ticks = self.clock(), 0
        return late < self.period_s


class PoseInterpolator:
    """Poses between two states, for pictures alone: nothing of it gets back into the simulation.

    Joints move at constant velocity, balls and free joints by the shortest rotation.

    Args:
        model: The `mujoco.MjModel`.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._velocity = np.zeros(model.nv)
        self._later = np.zeros(model.nq)

    def at(self, before: FloatArray, after: FloatArray, part: float) -> Any:
        """The pose a part of the way, in [0, 1]; the same `mujoco.MjData` each time.

        Args:
            before: An integration state, (S,), or joint positions, (nq,).
            after: The same, later.
            part: How far on the way.

        Returns:
            The pose: bodies, geoms, sites, tendons, cameras and lights; no contacts.
        """
        model, data = self._model, self._data
        if len(before) == model.nq:
            data.qpos[:], self._later[:] = before, after
        else:
            mujoco.mj_setState(model, data, before, _STATE)
            mujoco.mj_extractState(model, after, _STATE, self._later, mujoco.mjtState.mjSTATE_QPOS)
        mujoco.mj_differentiatePos(model, self._velocity, 1.0, data.qpos, self._later)
        mujoco.mj_integratePos(model, data.qpos, self._velocity, part)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        mujoco.mj_flex(model, data)
        mujoco.mj_tendon(model, data)
        return data
