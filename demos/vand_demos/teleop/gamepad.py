"""Teleoperation with a gamepad, through SDL's standard layout, beside the native window."""

import os
from typing import Any

from vand_demos.teleop.device import START_SPEED
from vand_demos.teleop.devices import DeviceOptions
from vand_demos.teleop.mapped import Inputs, MappedDevice
from vand_demos.teleop.mapping import InputMapping, load_mapping
from vand_demos.teleop.window import Window
from vand_envs.errors import VandError

AXES = ("left_x", "left_y", "right_x", "right_y", "trigger_left", "trigger_right")
"""Axes in SDL's order; y grows downwards, triggers from 0."""

BUTTONS = (
    "a",
    "b",
    "x",
    "y",
    "back",
    "guide",
    "start",
    "left_stick",
    "right_stick",
    "left_shoulder",
    "right_shoulder",
    "dpad_up",
    "dpad_down",
    "dpad_left",
    "dpad_right",
)
"""Buttons in SDL's order."""

MAPPING = InputMapping(
    motions={
        "base_ahead": "-left_y",
        "base_left": "-left_x",
        "base_turn_left": "left_shoulder - right_shoulder",
        "hand_ahead": "-right_y",
        "hand_left": "-right_x",
        "hand_up": "trigger_right - trigger_left",
        "hand_pitch": "dpad_up - dpad_down",
        "hand_turn_left": "dpad_left - dpad_right",
    },
    actions={
        "gripper": "a",
        "start": "start",
        "save": "y",
        "discard": "b",
        "fail": "right_stick",
        "reset": "x",
        "undo": "back",
        "slow": "left_stick",
        "quit": "guide",
    },
)
"""Mapping unless a file changes it."""

_FULL = 32767.0


def connect(options: DeviceOptions) -> MappedDevice:
    """Open the first gamepad, and the window.

    Raises:
        VandError: pygame-ce is not installed, there is no gamepad or no display, or the mapping is
            wrong.
    """
    mapping = load_mapping(options.mapping, MAPPING, (*AXES, *BUTTONS))
    gamepad = Gamepad()
    if gamepad.inputs() is None:
        gamepad.release()
        raise VandError("no gamepad was found: plug one in, or wake it up")
    return MappedDevice(
        Window(options.world.model), mapping, gamepad.inputs, gamepad.release, START_SPEED
    )


class Gamepad:
    """The first gamepad there is; another one takes its place when it was unplugged.

    Raises:
        VandError: pygame-ce is not installed.
    """

    def __init__(self) -> None:
        # SDL is to watch the gamepad alone: the window is not its own.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame  # noqa: PLC0415  (an optional extra)
            from pygame._sdl2 import controller  # noqa: PLC0415
        except ImportError as error:
            raise VandError("gamepads need pygame-ce: pip install 'vand-robot[gamepad]'") from error
        self._pygame, self._sdl = pygame, controller
        pygame.display.init()
        controller.init()
        self._pad: Any = None

    def inputs(self) -> Inputs | None:
        """Where its axes and buttons are; None while there is no gamepad."""
        self._pygame.event.pump()
        if self._pad is None or not self._pad.attached():
            self._pad = self._find()
        if self._pad is None:
            return None
        axes = {name: self._pad.get_axis(i) / _FULL for i, name in enumerate(AXES)}
        return {**axes, **{name: float(self._pad.get_button(i)) for i, name in enumerate(BUTTONS)}}

    def release(self) -> None:
        """Let go of SDL."""
        self._pad = None
        self._sdl.quit()
        self._pygame.display.quit()

    def _find(self) -> Any:
        for index in range(self._sdl.get_count()):
            if self._sdl.is_controller(index):
                return self._sdl.Controller(index)
        return None
