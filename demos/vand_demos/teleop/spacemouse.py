"""Teleoperation with a 3Dconnexion SpaceMouse, beside the native window."""

import contextlib
import io
import time
from typing import Any

from vand_demos.teleop.device import START_SPEED
from vand_demos.teleop.devices import DeviceOptions
from vand_demos.teleop.mapped import Inputs, MappedDevice
from vand_demos.teleop.mapping import InputMapping, load_mapping
from vand_demos.teleop.window import Window
from vand_envs.errors import VandError

AXES = ("x", "y", "z", "roll", "pitch", "yaw")
"""Ahead, left, up, and turns about them."""

BUTTONS = tuple(f"button_{i}" for i in range(16))
"""As far as the model has them."""

MAPPING = InputMapping(
    motions={
        "hand_ahead": "x * !button_1",
        "hand_left": "y * !button_1",
        "hand_up": "z",
        "hand_roll": "roll",
        "hand_pitch": "pitch",
        "hand_turn_left": "yaw * !button_1",
        "base_ahead": "x * button_1",
        "base_left": "y * button_1",
        "base_turn_left": "yaw * button_1",
    },
    actions={"gripper": "button_0"},
)
"""The cap moves the hand, and with the right button held the base. Unless a file says otherwise,
all else is done with the window's keys."""

REPORTS = 64
"""Reports are read up to this many in a control step, so that the latest one counts."""

RETRY_S = 2.0
"""Time between attempts to find a device that was unplugged [s]."""


def connect(options: DeviceOptions) -> MappedDevice:
    """Open the first SpaceMouse, and the window.

    Raises:
        VandError: pyspacemouse or the HID library is not installed, there is no device or no
            display, or the mapping is wrong.
    """
    mapping = load_mapping(options.mapping, MAPPING, (*AXES, *BUTTONS))
    mouse = SpaceMouse()
    return MappedDevice(
        Window(options.world.model), mapping, mouse.inputs, mouse.release, START_SPEED
    )


class SpaceMouse:
    """The first SpaceMouse there is, again when it was unplugged and is back.

    Raises:
        VandError: pyspacemouse is not installed, or there is no device.
    """

    def __init__(self) -> None:
        try:
            import pyspacemouse  # noqa: PLC0415  (an optional extra)
        except ImportError as error:
            raise VandError(
                "a SpaceMouse needs pyspacemouse: pip install 'vand-robot[spacemouse]'"
            ) from error
        except (OSError, AttributeError) as error:
            raise VandError(
                "pyspacemouse needs the HID library: apt-get install libhidapi-hidraw0"
            ) from error
        self._library = pyspacemouse
        self._mouse: Any = None
        self._tried_s = time.monotonic()
        try:
            self._mouse = self._open()
        except Exception as error:  # the library raises anything, bare Exception included
            reason = " ".join(str(error).split())
            raise VandError(f"no SpaceMouse can be used: {reason}") from error

    def inputs(self) -> Inputs | None:
        """Where cap and buttons are; None while there is no device."""
        try:
            if self._mouse is None:
                if time.monotonic() - self._tried_s < RETRY_S:
                    return None
                self._tried_s = time.monotonic()
                self._mouse = self._open()
            state = self._latest()
        except Exception:  # noqa: BLE001  (as above; unplugged, and looked for again)
            self.release()
            return None
        axes = {name: float(getattr(state, name)) for name in AXES}
        pressed = zip(BUTTONS, state.buttons, strict=False)
        return {**axes, **{name: float(value) for name, value in pressed}}

    def release(self) -> None:
        """Let go of it."""
        if self._mouse is not None:
            with contextlib.suppress(Exception):
                self._mouse.close()
        self._mouse = None

    def _open(self) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
            return self._library.open(axis_convention=self._library.AxisConvention.ROS)

    def _latest(self) -> Any:
        state = self._mouse.read()
        for _ in range(REPORTS):
            seen = state.t
            state = self._mouse.read()
            if state.t == seen:
                break
        return state
