"""The real-time loop: control at its rate, the picture at 30 frames a second."""

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np

from vand_demos.system.interrupt import Interrupt
from vand_demos.teleop.device import TeleopDevice
from vand_demos.teleop.drive import Drive
from vand_envs.typing import FloatArray

FRAMES_PER_S = 30.0
"""Pictures are shown at least so often, a whole number in each control step."""

GIVE_WAY_S = 0.25
"""A loop that is later than this forgets what it missed: it would rush to make up for it [s]."""

THREAD_SWITCH_S = 0.001
"""How long another thread may keep the interpreter from the loop [s]; Python's own 5 ms would be
the loop's jitter."""

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass
class Timing:
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


def run(drive: Drive, device: TeleopDevice, timing: Timing | None = None) -> Timing:
    """Drive until the operator quits.

    Each control step takes one command and one step of the simulation, however late it is; only
    pictures are left out. They move from the state before the step to the one after it.

    Args:
        drive: The session.
        device: Who drives it.
        timing: When frames are due; real time by default.

    Returns:
        The timing, with what was measured.

    Raises:
        KeyboardInterrupt: After Ctrl-C, at the end of a control step: what is being saved is saved.
    """
    dt = drive.batch.control_dt_s
    frames = max(1, round(FRAMES_PER_S * dt))
    timing = timing or Timing(dt / frames)
    pose = InBetween(drive.batch.model)
    begun: deque[float] = deque(maxlen=round(3.0 / dt) + 1)  # of the last three seconds
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(THREAD_SWITCH_S)
    with Interrupt() as interrupt:
        try:
            while not drive.finished:
                interrupt.obey()
                begun.append(timing.clock())
                drive.follow(device.read())
                held = (len(begun) - 1) / (begun[-1] - begun[0]) if len(begun) > 1 else 1 / dt
                status = drive.status(1 / dt, held)
                on_time = True
                for frame in range(1, frames + 1):
                    if on_time or frame == frames:
                        device.show(status, pose.at(drive.before, drive.after, frame / frames))
                    on_time = timing.wait()
        finally:
            sys.setswitchinterval(switch_s)
    return timing


class InBetween:
    """Poses between two states, for pictures alone: nothing of it gets back into the simulation.

    Joints move at constant velocity, balls and free joints by the shortest rotation.
    """

    def __init__(self, model: Any) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._velocity = np.zeros(model.nv)
        self._later = np.zeros(model.nq)

    def at(self, before: FloatArray, after: FloatArray, part: float) -> Any:
        """The pose a part of the way, in [0, 1]; the same `mujoco.MjData` each time.

        Args:
            before: mjSTATE_INTEGRATION, (S,).
            after: The same, later.
            part: How far on the way.
        """
        model, data = self._model, self._data
        mujoco.mj_extractState(model, after, _STATE, self._later, mujoco.mjtState.mjSTATE_QPOS)
        mujoco.mj_setState(model, data, before, _STATE)
        mujoco.mj_differentiatePos(model, self._velocity, 1.0, data.qpos, self._later)
        mujoco.mj_integratePos(model, data.qpos, self._velocity, part)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        return data
