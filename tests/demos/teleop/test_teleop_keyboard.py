"""The native window with real key presses."""

import os
import subprocess
import sys

import glfw
import mujoco
import numpy as np
import pytest

from tests.helpers.browser import until
from tests.helpers.display import display, press, telling  # noqa: F401  (a fixture)
from tests.helpers.teleop import TASK
from vand_demos import DemoDataset, check_file
from vand_demos.teleop import keyboard
from vand_demos.teleop.window import EVENT_KEYS

SESSION = f"""
import json, sys
from vand_demos.recording import record
from vand_demos.teleop import DeviceOptions, open_device

class Telling:
    def __init__(self, device):
        self.device, self.read, self.close = device, device.read, device.close
    def show(self, status, pose):
        self.device.show(status, pose)
        print(json.dumps([status.phase, status.time_s, status.saved]), flush=True)

record({TASK!r}, sys.argv[1], episodes=1, device="keyboard", keep_failures=True,
       connect=lambda world: Telling(open_device("keyboard", DeviceOptions(world))))
"""


def test_an_episode_is_recorded_with_real_key_presses(display, tmp_path):  # noqa: F811
    out = tmp_path / "set.hdf5"
    with telling(display, SESSION, out) as (process, told):
        press(display, "Return")
        until(lambda: told()[0] == "driving")
        press(display, "Up", "Up")
        until(lambda: told()[1] >= 0.5)
        press(display, "period", "8", "Left")  # the hand, the gripper
        began = told()[1]
        until(lambda: told()[1] >= began + 0.5)
        press(display, "Insert")
        until(lambda: told()[2] == 1)
        press(display, "F12")
        assert process.wait(timeout=60) == 0
    assert check_file(out) == []
    with DemoDataset.open(out) as dataset:
        (episode,) = dataset
    assert episode.device == "keyboard"
    base, hand = episode.action_parts["base_twist"], episode.action_parts["ee_twist"]
    assert base[:, 0].max() == pytest.approx(2 * keyboard.INCREMENT * 0.6)
    assert hand[:, 1].max() == pytest.approx(keyboard.INCREMENT * 0.6)
    assert episode.action_parts["gripper"][-1] == -1.0


def test_no_display_is_one_clear_line(tmp_path):
    environment = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    arguments = ["record", TASK, "--device", "keyboard", "--out", str(tmp_path / "set.hdf5")]
    result = subprocess.run(
        [sys.executable, "-m", "vand_robot", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()
    assert last.startswith("error: the native window needs a display")
    assert last.endswith("without one, use --device web")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_key_is_one_of_the_viewers_own():
    shortcuts = {row[2] for row in (*mujoco.mjVISSTRING, *mujoco.mjRNDSTRING)}
    geom_groups = set("012345")
    others = {glfw.KEY_SPACE, glfw.KEY_BACKSPACE, glfw.KEY_TAB, glfw.KEY_ESCAPE}
    others |= {glfw.KEY_PAGE_UP, *(glfw.KEY_F1 + i for i in range(7))}
    others |= {ord(key) for key in (*geom_groups, *"[]", *filter(None, shortcuts))}
    # - and = choose a speed that a window uses only where it runs the simulation itself
    ours = [
        *keyboard.MOTION_KEYS,
        *EVENT_KEYS,
        keyboard.SWITCH_KEY,
        keyboard.GRIPPER_KEY,
        keyboard.STOP_KEY,
        keyboard.SLOW_KEY,
    ]
    assert len(set(ours)) == len(ours)
    assert not set(ours) & others


class FakeWindow:
    """What was pressed, without a display."""

    def __init__(self):
        self.keys, self.is_open = [], True

    def pressed(self):
        keys, self.keys = self.keys, []
        return keys


@pytest.fixture
def window():
    return FakeWindow()


@pytest.fixture
def device(window):
    return keyboard.KeyboardDevice(window, speed=0.6)


def test_presses_add_up_and_the_opposite_one_stops(window, device):
    window.keys = [glfw.KEY_UP] * 9
    assert device.read().base_twist == (1.0, 0.0, 0.0)
    assert device.read().base_twist == (1.0, 0.0, 0.0)  # latched
    window.keys = [glfw.KEY_DOWN]
    assert not device.read().moves
    window.keys = [glfw.KEY_DOWN, glfw.KEY_HOME]
    assert device.read().base_twist == (-0.25, 0.0, 0.25)
    window.keys = [keyboard.STOP_KEY]
    assert not device.read().moves


def test_laptops_have_a_key_for_everything(window, device):
    for laptop, other in ((glfw.KEY_MINUS, glfw.KEY_HOME), (glfw.KEY_EQUAL, glfw.KEY_END)):
        turns = []
        for key in (laptop, other):
            window.keys = [keyboard.STOP_KEY, key]
            turns.append(device.read().base_twist[2])
        assert turns[0] == turns[1] != 0.0
    window.keys = [glfw.KEY_F11]
    assert device.read().events == ("save",)


def test_velocities_end_when_nobody_presses_any_more(window, device, monkeypatch):
    window.keys = [glfw.KEY_UP]
    assert device.read().moves
    now = keyboard.time.monotonic()
    monkeypatch.setattr(keyboard.time, "monotonic", lambda: now + keyboard.LATCH_S + 0.1)
    assert not device.read().moves


def test_switching_to_the_hand_stops_the_base(window, device):
    window.keys = [glfw.KEY_UP, keyboard.SWITCH_KEY, glfw.KEY_6, glfw.KEY_END]
    command = device.read()
    assert command.base_twist == (0.0, 0.0, 0.0)
    assert command.ee_linear == (0.0, 0.0, -0.25)
    assert command.ee_angular == (0.0, 0.0, -0.25)


def test_slow_mode_and_gripper_are_switches(window, device):
    window.keys = [keyboard.SLOW_KEY, keyboard.GRIPPER_KEY, glfw.KEY_UP]
    command = device.read()
    np.testing.assert_allclose(command.action()[[0, -1]], [0.25 * 0.6 * 0.3, -1.0], rtol=1e-6)
    window.keys = [keyboard.SLOW_KEY, keyboard.GRIPPER_KEY]
    command = device.read()
    np.testing.assert_allclose(command.action()[[0, -1]], [0.25 * 0.6, 1.0], rtol=1e-6)


def test_a_closed_window_quits(window, device):
    window.is_open = False
    command = device.read()
    assert not command.present
    assert command.events == ("quit", "quit")  # nobody can be asked whether to save
