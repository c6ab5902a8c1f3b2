"""Messages of pages: nonsense is dropped, and nobody but the pilot moves the robot."""

import json
import math
import random

import numpy as np
import pytest

from tests.helpers.browser import until
from tests.helpers.pages import CAMERA, PILOT, line, number, packed, random_message, random_pilot
from tests.helpers.teleop import TASK, start_drive
from vand_demos import Recorder
from vand_demos.teleop import DeviceOptions, open_device
from vand_demos.ui.frames import PoseInterpolator
from vand_demos.ui.web_gate import fits
from vand_demos.ui.web_server import web_server
from vand_envs import TaskBatch
from vand_envs.world import make_world

GIZMO = "/gripper_gizmo"
TURN = [1.0, 0.0, 0.0, 0.0]


@pytest.fixture
def device():
    device = open_device("web", DeviceOptions(make_world(), announce=lambda text: None))
    yield device
    device.close()


def drag(phase, **place):
    return packed({"type": f"TransformControls{phase}Message", "name": GIZMO, **place})


def moves(device):
    return any(device.read().ee_linear)


def test_a_page_sets_a_control_to_what_it_can_have_and_to_nothing_else():
    with web_server() as server:
        gui = server.viser.gui
        slider = gui.add_slider("a", min=0.0, max=2.0, step=0.1, initial_value=1.0)
        number_, list_ = gui.add_number("b", 3, min=0, step=1), gui.add_dropdown("c", ("x", "y"))
        assert [
            fits(slider, v) for v in (0, 2.0, 2.1, math.nan, math.inf, "1", True, [], None)
        ] == [*(True, True, False, False, False, False, False, False, False)]
        assert [fits(number_, v) for v in (0, 7.0, 0.5, -1, 1e308, math.nan, "")] == [
            *(True, True, False, False, False, False, False)
        ]
        assert [fits(list_, v) for v in ("x", "z", "", 0, [])] == [True, False, False, False, False]
        assert fits(gui.add_button("d"), True)
        assert not fits(gui.add_button("e"), 1)
        assert not fits(gui.add_text("f", ""), "text")  # no page of ours has one


def test_a_watcher_drags_in_vain_and_the_pilots_drag_ends_with_its_page(device):
    ahead = np.add(device._ee_pos, [0.2, 0.0, 0.0]).tolist()
    mine, theirs = number(), number()
    with line(device.address, mine, "pilot") as pilot, line(device.address, theirs) as watcher:
        said = json.dumps({**PILOT, "sent_ms": 1.0})
        pilot.send(said)
        until(lambda: device.read().present)
        for message in (drag("DragStart"), drag("Update", wxyz=TURN, position=ahead)):
            watcher.send(packed(CAMERA))
            watcher.send(message)
        with line(device.address, mine) as page:
            page.send(packed(CAMERA))
            for bad in ([math.nan] * 3, [], [math.inf, 0.0, 0.0], [1e300] * 3):
                page.send(drag("DragStart"))
                page.send(drag("Update", wxyz=TURN, position=bad))
                page.send(drag("Update", wxyz=bad, position=ahead))
            page.send(drag("DragEnd"))
            page.ping().wait(10)
            pilot.send(said)
            assert not moves(device)
            page.send(drag("DragStart"))
            page.send(drag("Update", wxyz=TURN, position=ahead))

            def follows():
                pilot.send(said)
                return moves(device)

            until(follows)
            assert device.read().ee_linear[0] > 0.5
            assert not device.read().ee_linear[1]
        until(lambda: not follows())  # the page's connection to viser has ended, its line has not
        assert device.read().present


def test_ten_thousand_random_messages_leave_the_session_as_it_was(device, tmp_path, capfd):
    rng = random.Random(0)
    batch = TaskBatch(TASK, 1)
    names = [GIZMO, "/target", "/", "/nothing"]
    with Recorder(tmp_path / "set.hdf5", batch.env_args) as recorder:
        drive = start_drive(recorder)
        pose = PoseInterpolator(drive.batch.model)
        page = number()
        for _ in range(10):
            with line(device.address, page, "pilot") as pilot, line(device.address, page) as viser:
                viser.send(packed(CAMERA))
                for _ in range(10):
                    for _ in range(50):
                        viser.send(random_message(rng, ["x", ""], names))
                        pilot.send(random_pilot(rng))
                    drive.follow(device.read())
                    device.show(drive.status(), pose.at(drive.before, drive.after, 1.0))
                pilot.ping().wait(10)
        assert np.isfinite(drive.batch.state).all()
        with line(device.address, page, "pilot") as pilot:
            pilot.send(json.dumps({**PILOT, "held": ["ahead"]}))
            until(lambda: device.read().base_twist == (1.0, 0.0, 0.0))
    assert capfd.readouterr() == ("", "")
