"""The real-time loop: control at its rate, the picture at 30 frames a second."""

import sys
from collections import deque

from vand_demos.system.interrupt import Interrupt
from vand_demos.teleop.device import TeleopDevice
from vand_demos.teleop.session import TeleopSession
from vand_demos.ui.frames import FRAMES_PER_S, FrameClock, PoseInterpolator

THREAD_SWITCH_S = 0.001
"""How long another thread may keep the interpreter from the loop [s]; Python's own 5 ms would be
the loop's jitter."""


def run(
    session: TeleopSession, device: TeleopDevice, timing: FrameClock | None = None
) -> FrameClock:
    """Drive until the operator quits.

    Each control step takes one command and one step of the simulation, however late it is; only
    pictures are left out. They move from the state before the step to the one after it.

    Args:
        session: The session.
        device: Who drives it.
        timing: When frames are due; real time by default.

    Returns:
        The timing, with what was measured.

    Raises:
        KeyboardInterrupt: After Ctrl-C, at the end of a control step: what is being saved is saved.
    """
    dt = session.batch.control_dt_s
    frames = max(1, round(FRAMES_PER_S * dt))
    timing = timing or FrameClock(dt / frames)
    pose = PoseInterpolator(session.batch.model)
    begun: deque[float] = deque(maxlen=round(3.0 / dt) + 1)  # of the last three seconds
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(THREAD_SWITCH_S)
    with Interrupt(limited=True) as interrupt:
        try:
            while not session.finished:
                interrupt.obey()
                begun.append(timing.clock())
                session.follow(device.read())
                held = (len(begun) - 1) / (begun[-1] - begun[0]) if len(begun) > 1 else 1 / dt
                status = session.status(1 / dt, held)
                on_time = True
                for frame in range(1, frames + 1):
                    if on_time or frame == frames:
                        device.show(status, pose.at(session.before, session.after, frame / frames))
                    on_time = timing.wait()
        finally:
            sys.setswitchinterval(switch_s)
    return timing
