"""Gamepads, through SDL's own virtual joystick; SpaceMouse; and the mapping that both share."""

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from vand_demos.teleop import DeviceOptions, open_device
from vand_demos.teleop import spacemouse as spacemouse_module
from vand_demos.teleop.gamepad import AXES, BUTTONS, MAPPING, Gamepad
from vand_demos.teleop.mapped import MappedDevice
from vand_demos.teleop.mapping import load_mapping
from vand_demos.teleop.spacemouse import MAPPING as CAP_MAPPING
from vand_demos.teleop.spacemouse import SpaceMouse
from vand_envs.errors import VandError
from vand_envs.world import make_world

GAME_CONTROLLER = 1
"""SDL_JOYSTICK_TYPE_GAMECONTROLLER."""


class VirtualPad:
    """A gamepad that exists in SDL alone: its axes and buttons are in SDL's standard order."""

    def __init__(self, sdl):
        self._sdl = sdl
        self.plug_in()

    def plug_in(self):
        index = self._sdl.SDL_JoystickAttachVirtual(GAME_CONTROLLER, len(AXES), len(BUTTONS), 0)
        assert index >= 0, self._sdl.SDL_GetError()
        self.joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(index))
        self._index = index
        for trigger in ("trigger_left", "trigger_right"):
            self.move(trigger, -1.0)  # at rest

    def unplug(self):
        self._sdl.SDL_JoystickDetachVirtual(self._index)

    def move(self, axis, value):
        self._sdl.SDL_JoystickSetVirtualAxis(self.joystick, AXES.index(axis), round(value * 32767))

    def press(self, button, *, down=True):
        self._sdl.SDL_JoystickSetVirtualButton(self.joystick, BUTTONS.index(button), int(down))


@pytest.fixture
def pad(monkeypatch):
    """The device's end of a virtual gamepad, and the person's."""
    pygame = pytest.importorskip("pygame", reason="pygame-ce is not installed")
    folder = Path(pygame.__file__).parent.parent / "pygame_ce.libs"
    library = next(folder.glob("libSDL2-2*.so*"), None)
    if library is None:
        pytest.skip("pygame-ce has no SDL of its own here")
    sdl = ctypes.CDLL(str(library))
    sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
    sdl.SDL_GetError.restype = ctypes.c_char_p
    gamepad = Gamepad()
    virtual = VirtualPad(sdl)
    yield gamepad, virtual
    virtual.unplug()
    gamepad.release()


class NoKeys:
    is_open = True

    def pressed(self):
        return []

    def close(self):
        pass


def drive_with(gamepad, mapping=MAPPING):
    return MappedDevice(NoKeys(), mapping, gamepad.inputs, gamepad.release, speed=1.0)


def test_sticks_and_triggers_move_base_and_hand(pad):
    gamepad, virtual = pad
    device = drive_with(gamepad)
    assert not device.read().moves
    virtual.move("left_y", -1.0)
    virtual.move("right_x", 0.5)
    virtual.move("trigger_right", 1.0)
    virtual.press("left_shoulder")
    command = device.read()
    assert command.present
    assert command.base_twist == pytest.approx((1.0, 0.0, 1.0), abs=0.01)
    assert command.ee_linear == pytest.approx((0.0, -0.5, 1.0), abs=0.01)
    for axis in ("left_y", "right_x"):
        virtual.move(axis, 0.05)  # within the dead zone
    virtual.move("trigger_right", -1.0)
    virtual.press("left_shoulder", down=False)
    assert not device.read().moves


def test_a_button_asks_once_however_long_it_is_held(pad):
    gamepad, virtual = pad
    device = drive_with(gamepad)
    device.read()
    virtual.press("start")
    virtual.press("a")
    command = device.read()
    assert command.events == ("start",)
    assert command.gripper == -1.0
    command = device.read()
    assert command.events == ()
    assert command.gripper == -1.0
    virtual.press("a", down=False)
    device.read()
    virtual.press("a")
    assert device.read().gripper == 1.0


def test_a_gamepad_that_is_unplugged_is_gone_until_it_is_back(pad):
    gamepad, virtual = pad
    device = drive_with(gamepad)
    virtual.move("left_y", -1.0)
    assert device.read().moves
    virtual.unplug()
    command = device.read()
    assert not command.present
    assert not command.moves
    virtual.plug_in()
    assert device.read().present


def test_no_gamepad_is_one_clear_line():
    pytest.importorskip("pygame", reason="pygame-ce is not installed")
    with pytest.raises(VandError, match="no gamepad was found"):
        open_device("gamepad", DeviceOptions(make_world()))


@pytest.mark.parametrize(
    ("name", "module"), [("gamepad", "pygame"), ("spacemouse", "pyspacemouse")]
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VandError, match=rf"pip install 'vand-robot\[{name}\]'"):
        open_device(name, DeviceOptions(make_world()))


@pytest.mark.skipif(
    importlib.util.find_spec("pyspacemouse") is None, reason="pyspacemouse is not installed"
)
def test_no_spacemouse_is_one_clear_line():
    with pytest.raises(VandError, match="no SpaceMouse can be used: ") as raised:
        open_device("spacemouse", DeviceOptions(make_world()))
    assert "\n" not in str(raised.value)


class Cap:
    """Stands in for the library: its device has reports to give, and can be unplugged."""

    AxisConvention = SimpleNamespace(ROS="ros")

    def __init__(self):
        self.reports, self.plugged = [], True
        self.state = self.report(0.0)

    def report(self, t, buttons=(0, 0), **axes):
        rest = dict.fromkeys(spacemouse_module.AXES, 0.0)
        return SimpleNamespace(t=t, buttons=list(buttons), **{**rest, **axes})

    def open(self, axis_convention):
        if not self.plugged:
            raise Exception("no device")
        return self

    def read(self):
        if not self.plugged:
            raise Exception("unplugged")
        if self.reports:
            self.state = self.reports.pop(0)
        return self.state

    def close(self):
        pass


@pytest.fixture
def cap(monkeypatch):
    cap = Cap()
    monkeypatch.setitem(sys.modules, "pyspacemouse", cap)
    return cap


def test_the_cap_moves_the_hand_and_with_a_button_held_the_base(cap):
    device = drive_with(SpaceMouse(), CAP_MAPPING)
    cap.reports = [cap.report(t / 100, x=t / 10) for t in range(1, 9)]
    command = device.read()
    assert command.ee_linear == pytest.approx((0.8, 0.0, 0.0))  # the latest of eight reports
    cap.reports = [cap.report(1.0, buttons=(1, 1), x=0.8, yaw=-0.5, z=0.3)]
    command = device.read()
    assert command.base_twist == pytest.approx((0.8, 0.0, -0.5))
    assert command.ee_linear == pytest.approx((0.0, 0.0, 0.3))
    assert command.gripper == -1.0


def test_a_cap_that_is_unplugged_is_gone_until_it_is_back(cap, monkeypatch):
    device = drive_with(SpaceMouse(), CAP_MAPPING)
    assert device.read().present
    cap.plugged = False
    assert not device.read().present
    cap.plugged = True
    assert not device.read().present  # it is not looked for at every step
    monkeypatch.setattr(spacemouse_module, "RETRY_S", 0.0)
    assert device.read().present


def test_a_file_changes_the_mapping(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("motions:\n  base_ahead: left_y\nactions:\n  save: back\ndead_zone: 0.3\n")
    mapping = load_mapping(path, MAPPING, (*AXES, *BUTTONS))
    assert mapping.twist({"left_y": 0.5})[0] == 0.5
    path.write_text("motions:\n  hand_up: ' dpad_up*x - dpad_down * !x + left_y'\n")
    product = load_mapping(path, MAPPING, (*AXES, *BUTTONS))
    assert product.twist({"dpad_up": 1.0, "dpad_down": 1.0, "left_y": 0.5})[5] == -0.5
    assert product.twist({"dpad_up": 1.0, "dpad_down": 1.0, "x": 1.0})[5] == 1.0
    assert mapping.twist({"left_y": 0.2})[0] == 0.0
    assert mapping.twist({"right_y": 0.5})[3] == -0.5
    assert mapping.actions["save"] == "back"
    assert mapping.actions["discard"] == MAPPING.actions["discard"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("motion: {}", "unknown key in .* 'motion' .did you mean 'motions'"),
        ("motions: {base_ahead: 2 * left_y}", "base_ahead: expected inputs like .*2 . left_y"),
        ("motions: {base_ahead: left_y right_y}", "expected inputs like .*left_y right_y"),
        ("actions: {save: -back}", "save: expected one input like 'x', got '-back'"),
        ("actions: {save: back * x}", "save: expected one input"),
        ("motions: {base_ahed: left_y}", "'base_ahed' .did you mean 'base_ahead'"),
        ("motions: {base_ahead: lefty}", "unknown input .* 'lefty' .did you mean 'left_y'"),
        ("motions: {base_ahead: left_y +}", "base_ahead: expected inputs like"),
        ("actions: {explode: a}", "'explode'"),
        ("actions: [a]", "actions: expected names and inputs"),
        ("dead_zone: wide", r"dead_zone: expected a number in \[0, 1\), got 'wide'"),
        ("- a", "expected motions, actions or dead_zone"),
        ("{", "is not YAML"),
        ("a: !!timestamp x", "is not YAML: a tag"),
        ("[" * 100_000, "is not YAML: nested deeper than 50"),
        ("dead_zone: " + "9" * 5000, "is not YAML: an integer of at most 20 digits"),
        ("&a [*a]", "is not YAML"),
        ("actions: {save: '${oc.env:HOME}'}", "save: expected one input"),
        ("motions: {base_ahead: '" + "x" * 5000 + " !'}", "base_ahead: expected inputs like"),
        ("dead_zone: true", "dead_zone: expected a number"),
    ],
)
def test_a_wrong_mapping_is_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(VandError, match=message) as raised:
        load_mapping(path, MAPPING, (*AXES, *BUTTONS))
    assert "\n" not in str(raised.value)
    assert "mine.yaml" in str(raised.value)


def test_a_mapping_that_is_a_device_or_no_text_is_refused(tmp_path):
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\ndead_zone: 0.2")
    for name, message in (
        ("zero", "expected a file, got a device"),
        ("latin", "is not YAML: .*utf-8"),
    ):
        with pytest.raises(VandError, match=message):
            load_mapping(tmp_path / f"{name}.yaml", MAPPING, AXES)


def test_a_missing_mapping_is_a_clear_error(tmp_path):
    with pytest.raises(VandError, match=r"cannot read .*none\.yaml"):
        load_mapping(tmp_path / "none.yaml", MAPPING, AXES)
