"""The viewer's page after ten thousand messages that no person sends, and a flood of requests."""

import random
import signal
import threading
import time

import pytest

from tests.helpers.browser import until
from tests.helpers.pages import CAMERA, line, number, packed, random_message
from vand_demos.ui.web_gate import fits
from vand_envs.errors import UsageError
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest
from vand_robot.viewer.web import WebViewer, serve


def update(control, value):
    return packed(
        {"type": "GuiUpdateMessage", "uuid": control._impl.uuid, "updates": {"value": value}}
    )


def test_ten_thousand_random_messages_leave_the_viewer_running(run, capfd):
    player = open_player(ReplayRequest(run, viewer="web", task="wipe", seconds=1.0))
    said = []
    viewer = WebViewer(player, announce=said.append)
    stop = threading.Event()
    loop = threading.Thread(target=viewer.run, args=(stop,))
    loop.start()
    try:
        address = until(lambda: said and said[0].split()[1])
        gui = viewer._server.gui
        controls = dict(gui._gui_input_handle_from_uuid)
        uuids = [*controls, *gui._command_handle_from_uuid, "nothing", ""]
        rng = random.Random(1)
        for _ in range(10):
            with line(address, number()) as page:
                page.send(packed(CAMERA))
                for _ in range(1000):
                    page.send(random_message(rng, uuids, ["/label/0", "/target", "ahead", "0.5 x"]))
                page.ping().wait(10)
        with line(address, number()) as page:
            page.send(packed(CAMERA))
            page.send(update(viewer._speed, "0.25 x"))
            until(lambda: player.speed == 0.25, 20)
        for control in controls.values():
            assert fits(control, control.value) or control.value is False, control
        assert viewer._time.label == "Time [s]"
        assert loop.is_alive()
    finally:
        stop.set()
        loop.join(20)
    assert capfd.readouterr() == ("", "")


def test_a_client_without_a_camera_changes_nothing(demos):
    viewer = WebViewer(open_player(ReplayRequest(demos, viewer="web")), announce=lambda _: None)
    viewer.open()
    try:
        address = viewer.address
        with line(address, number()) as page:
            page.send(update(viewer._task, "wipe"))
            page.ping().wait(10)
            page.send(packed(CAMERA))
            page.send(update(viewer._speed, "2 x"))
            until(lambda: viewer._speed.value == "2 x", 20)
            assert viewer._task.value == "stow-cube"
    finally:
        viewer.close()


def test_a_thousand_requests_do_not_delay_ctrl_c(run):
    player = open_player(ReplayRequest(run, viewer="web", task="wipe", seconds=60.0))
    viewer = WebViewer(player, announce=lambda _: None)
    asked, done = 1000, []

    def slowly():
        done.append(time.sleep(0.05))

    opened = viewer.open

    def start():
        opened()
        for _ in range(asked):
            viewer._ask(slowly)
        signal.raise_signal(signal.SIGINT)

    viewer.open = start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            viewer.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(done) <= 2


def test_a_long_way_in_an_episode_is_given_up_at_ctrl_c(run):
    player = open_player(ReplayRequest(run, viewer="web", task="wipe", seconds=3600.0))
    extended = []
    extend = player.source.extend

    def counted():
        extended.append(True)
        if len(extended) == 3:
            signal.raise_signal(signal.SIGINT)
        extend()

    player.source.extend = counted
    tick = player.tick
    player.tick = lambda elapsed_s: (player.seek(1e9), tick(elapsed_s))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            serve(player, announce=lambda _: None)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(extended) == 3


def test_a_time_that_is_no_number_is_refused(demos):
    player = open_player(ReplayRequest(demos, viewer="web"))
    for time_s in (float("nan"), float("inf")):
        with pytest.raises(UsageError, match="time: expected seconds"):
            player.seek(time_s)
