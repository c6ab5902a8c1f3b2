"""The native viewer with real key presses, and without a display."""

import os
import signal
import subprocess
import sys

import glfw

from tests.helpers.browser import until
from tests.helpers.display import display, press, telling  # noqa: F401  (a fixture)
from vand_demos.teleop.window import EVENT_KEYS
from vand_robot.viewer.native import QUIT_KEY, key_actions
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest

VIEWER = """
import json, signal, sys
from pathlib import Path
from vand_robot.viewer import native
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest

def sync(self, sync=native.NativeViewer.sync):
    sync(self)
    player = self.player
    live = player.live
    print(json.dumps([player.paused, player.step, player.speed, player.source.number,
                      player.frame.task, live.touched if live else False]), flush=True)

native.NativeViewer.sync = sync
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background is deaf to it
try:
    native.show(open_player(ReplayRequest(Path(sys.argv[1]), viewer="native", task="wipe")))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_policy_is_watched_and_interfered_with_by_keys(display, run):  # noqa: F811
    with telling(display, VIEWER, run) as (process, told):
        assert told() == [True, 0, 1.0, 0, "wipe", False]
        press(display, "Return")
        until(lambda: told()[1] >= 3)
        press(display, "Return")
        until(lambda: told()[0])
        step = told()[1]
        press(display, "Up")
        until(lambda: told()[1] == step + 1)
        press(display, "Down")
        until(lambda: told()[1] == step)
        press(display, "9", "Insert")
        until(lambda: told()[1] == step + 50 and told()[2] == 2.0)
        assert not told()[5]
        press(display, "7")
        until(lambda: told()[5])
        press(display, "6")
        until(lambda: told()[4] == "stow-cube")
        press(display, "F8")
        until(lambda: told()[1] == 0 and told()[3] == 1 and not told()[5])
        press(display, "F12")
        assert process.wait(timeout=60) == 0


def test_ctrl_c_closes_the_window(display, run):  # noqa: F811
    with telling(display, VIEWER, run) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_every_key_has_one_action_and_quit_is_the_same_everywhere(run, demos):
    requests = [ReplayRequest(source, viewer="native") for source in (run, demos)]
    live, recorded = (key_actions(open_player(request)) for request in requests)
    assert len({name for name, _, _ in live.values()}) == len(live)
    assert set(recorded) == set(live) - {glfw.KEY_6, glfw.KEY_7}
    for laptop, other in ((glfw.KEY_EQUAL, glfw.KEY_INSERT), (glfw.KEY_MINUS, glfw.KEY_DELETE)):
        assert live[laptop][2] == live[other][2]
        assert live[other][0] in live[laptop][0]  # the help names both
    quits = {key for key, (event, _) in EVENT_KEYS.items() if event == "quit"}
    assert quits == {QUIT_KEY}  # as in the window for driving


def test_without_a_display_one_line_names_the_page(run):
    environment = {key: value for key, value in os.environ.items() if "DISPLAY" not in key}
    ended = subprocess.run(
        [sys.executable, "-m", "vand_robot", "replay", str(run), "--viewer", "native"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "DISPLAY" in line
    assert "use --viewer web" in line
