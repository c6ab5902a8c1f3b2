"""The page in a real browser, as a person uses it; and whom its server does not talk to."""

import http.server
import json
import re
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import COARSE, browser, serving, until
from tests.helpers.pages import PILOT, line, number
from tests.helpers.teleop import TASK
from vand_demos import DemoDataset, check_file
from vand_demos.recording import record
from vand_demos.teleop import DeviceOptions, Status, open_device
from vand_demos.ui.frames import PoseInterpolator
from vand_envs import TaskBatch
from vand_envs.world import make_world
from vand_robot.config.library import find_config
from vand_robot.workflows.train import run_training

SIZE = (1000, 760)
HAND_VIEW = (np.array([-0.75, 0.55, 0.65]), np.array([0.05, 0.0, -0.05]))
"""Camera and target of the view of the hand, relative to it: ahead, left, up [m]."""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser"), SIZE, COARSE) as go:
        yield go


def session(out, *options):
    """A recording session of the command; gives the process and the page's address."""
    arguments = ["record", TASK, "--device", "web", "--out", str(out), "--keep-failures", *options]
    return serving(*arguments)


def visit(chromium, address):
    page = chromium(address)
    until(lambda: page.text("#next").startswith("Press Start"), 60)
    return page


def phase(page):
    return page.run("document.body.dataset.phase")


def drive_on(page, hold, release):
    """Has the robot move for half a second."""
    if phase(page) != "driving":
        page.press("Enter", "Enter")
        until(lambda: phase(page) == "driving")
    began = float(page.text("#time"))
    hold()
    until(lambda: float(page.text("#time")) >= began + 0.5)
    release()


def hold_button(page, selector):
    place = []  # found once the robot drives: the page may lay itself out anew then

    def hold():
        place[:] = page.middle(selector)
        page.mouse("Moved", *place)
        page.mouse("Pressed", *place)

    drive_on(page, hold, lambda: page.mouse("Released", *place))


def hold_key(page, code):
    drive_on(
        page, lambda: page.key(code, code, down=True), lambda: page.key(code, code, down=False)
    )


def on_screen(point):
    """Where a point relative to the hand, ahead, left, up [m], is in the view of it [pixel]."""
    eye, target = HAND_VIEW
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(ahead, [0, 0, 1])
    right /= np.linalg.norm(right)
    offset = np.asarray(point) - eye
    return offset @ right / (offset @ ahead), offset @ np.cross(right, ahead) / (offset @ ahead)


@pytest.mark.slow
def test_an_episode_recorded_in_the_browser_trains(chromium, tmp_path):
    out = tmp_path / "set.hdf5"
    with session(out, "--episodes", "2") as (process, address):
        page = visit(chromium, address)
        assert page.text("#instruction")
        assert page.text("#wanted") == "2"
        hold_button(page, "[data-hold=turn_left]")
        hold_key(page, "ArrowUp")
        page.click("#gripper")
        until(lambda: page.text("#gripper").startswith("Open"))
        drag_gizmo(page)

        picture = tmp_path / "page.png"
        page.screenshot(picture)
        page.click("#save")
        until(lambda: page.text("#saved") == "1")
        assert page.text("#message").startswith("Saved")

        hold_key(page, "KeyW")  # a second one, which is taken back
        page.press("Digit1", "1")
        until(lambda: page.text("#saved") == "2")
        assert page.text("#next").startswith("All 2 are recorded")
        page.press("Digit4", "4")
        until(lambda: page.text("#saved") == "1")
        page.click("#quit")
        until(lambda: "session is over" in page.text("#veil"))
        page.close()
        said, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        assert re.search(r"1 episodes of \S+ recorded in 2 attempts", said)

    assert np.asarray(Image.open(picture).convert("L")).std() > 20
    assert check_file(out) == []
    with DemoDataset.open(out) as dataset:
        (episode,) = dataset
    assert episode.device == "web"
    base, hand = episode.action_parts["base_twist"], episode.action_parts["ee_twist"]
    assert base[0, 2] > 0.3  # it turned left
    assert hand[:, 0].max() > 0.3  # the key moved the hand ahead
    assert np.any(hand[:, 1] > 0.02)  # and the gizmo to the left
    assert set(np.unique(episode.action_parts["gripper"])) == {-1.0, 1.0}
    record(TASK, out, episodes=2, session=1, resume=True)  # whose successes set the standard
    tiny = ["updates=2", "batch_size=3", "policy.hidden_size=8", "policy.encoder.sizes=[8]"]
    tiny += ["validation_interval=2", "rollouts.interval=0", "threads=1", "only_successful=false"]
    result = run_training(
        find_config("quickstart"), [f"data=[{out}]", *tiny, "valid_fraction=0"], tmp_path / "run"
    )
    assert result.updates == 2


def drag_gizmo(page):
    """Drags the gizmo's arrow that points left."""
    page.click("[data-view=hand]")
    page.run("new Promise((done) => setTimeout(() => requestAnimationFrame(done), 500))")
    width, height = page.run("[document.querySelector('#root').clientWidth, innerHeight]")
    scale = height / 2 / np.tan(np.radians(45.0) / 2)

    def pixel(left):
        x, y = on_screen([0.0, left, 0.0])
        return width / 2 + scale * x, height / 2 - scale * y

    def grab():
        page.mouse("Moved", *pixel(0.13))
        page.mouse("Pressed", *pixel(0.13))
        for left in np.linspace(0.14, 0.25, 8):
            page.mouse("Moved", *pixel(left))

    drive_on(page, grab, lambda: page.mouse("Released", *pixel(0.25)))


def test_a_closed_tab_stops_the_robot_and_ctrl_c_keeps_what_was_saved(chromium, fails, tmp_path):
    out = tmp_path / "set.hdf5"
    with session(out) as (process, address):
        page = visit(chromium, address)
        hold_key(page, "KeyW")
        page.press("Digit1", "1")
        until(lambda: page.text("#saved") == "1")
        hold_button(page, "[data-hold=ahead]")
        page.close()
        page = chromium(address)
        until(lambda: "controls are gone" in page.text("#message"))
        assert page.text("#start").startswith("Go on")
        time_s = float(page.text("#time"))
        assert time_s > 0.4
        page.key("KeyW", "w", down=True)
        page.click("[data-view=above]")
        page.key("KeyW", "w", down=False)
        assert float(page.text("#time")) == time_s
        hold_key(page, "KeyW")
        assert float(page.text("#time")) > time_s

        second = chromium(address)  # it may watch, not drive
        until(lambda: "Another page is driving" in second.text("#veil"))
        second.close()

        code, said = fails("record", TASK, "--out", out, "--resume")
        assert code == 1
        assert said == f"error: {out} is being written by another process; wait for it"
        process.send_signal(signal.SIGINT)
        said, complaints = process.communicate(timeout=90)
        assert process.returncode == 130
        assert re.search(r"1 episodes of .*; 1 episodes in all \(interrupted\)", said), complaints
        (line,) = complaints.splitlines()
        assert line.startswith("to go on: vand-robot record stow-cube --device web")
        page.close()
    assert check_file(out) == []


def test_the_page_counts_circles(chromium):
    device = open_device("web", DeviceOptions(make_world(), announce=lambda text: None))
    batch = TaskBatch("wipe", 1)
    batch.reset([0])
    pose = PoseInterpolator(batch.model).at(batch.state[0], batch.state[0], 0.0)
    status = Status(
        instruction=batch.task.instruction,
        phase="driving",
        message="",
        time_s=1.0,
        stage_names=(),
        stages_done=0,
        cycle_name="circle",
        cycles=0.0,
        cycles_needed=3,
        success=False,
        saved=0,
        wanted=1,
        total=0,
    )
    try:
        page = chromium(device.address)
        for cycles, shown in ((-0.02, "0.0"), (1.26, "1.3"), (-1.0, "-1.0")):
            wound = replace(status, cycles=cycles)

            def says(wound=wound, shown=shown):
                device.show(wound, pose)
                return page.text("#cycles") == f"circles: {shown} of 3"

            until(says)
        page.close()
    finally:
        device.close()


@pytest.mark.slow  # it waits for the expert in real time
def test_the_page_says_what_is_next_folds_its_buttons_and_shows_how(chromium, tmp_path):
    with session(tmp_path / "set.hdf5", "--episodes", "1") as (process, address):
        page = visit(chromium, address)
        assert page.text("#show").startswith("Show me how")
        page.click("#show")
        until(lambda: page.text("#next") == "Watch. Drive to the cube on the table.")
        until(lambda: "cube" in page.text("#next") and "Drive" not in page.text("#next"))
        assert page.run("document.querySelector('#save').disabled")
        page.press("Digit5", "5")
        until(lambda: phase(page) == "ready")
        shown = "getComputedStyle(document.querySelector('.pad')).display"
        assert page.run(shown) == "grid"
        page.press("KeyH", "h")
        assert page.run(shown) == "none"
        page.click("#fold")
        hold_button(page, "[data-hold=turn_left]")
        assert page.text("#next") == "Now: Drive to the cube on the table."
        page.click("#quit")
        until(lambda: page.text("#quit") == "Drop it and finish")
        page.click("#quit")
        until(lambda: "session is over" in page.text("#veil"))
        page.close()
        said, _ = process.communicate(timeout=90)
        assert "0 episodes" in said


def test_a_page_of_another_origin_cannot_drive(chromium):
    """A real page on another port tries every way in."""
    device = open_device("web", DeviceOptions(make_world(), announce=lambda text: None))
    script = """<script>
      const outcome = [];
      for (const path of ["", "/pilot"])
        for (const protocols of [[], ["viser-v1.1.1"]]) {
          const socket = new WebSocket("ADDRESS" + path, protocols);
          socket.onopen = () => outcome.push("open");
          socket.onerror = () => outcome.push("refused");
        }
    </script>""".replace("ADDRESS", device.address.replace("http", "ws") + number())

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(script.encode())

        def log_message(self, *arguments):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        page = chromium(f"http://127.0.0.1:{other.server_port}/")
        until(lambda: page.run("outcome.length") == 4)
        assert page.run("outcome.join()") == "refused,refused,refused,refused"
        page.close()
    finally:
        other.shutdown()
        other.server_close()
        device.close()


def test_nonsense_on_the_line_is_ignored():
    device = open_device("web", DeviceOptions(make_world(), announce=lambda text: None))
    good = {**PILOT, "held": ["ahead", "nothing"], "event": "start", "slow": True}
    try:
        assert not device.read().present
        with line(device.address, number(), "pilot") as pilot:
            assert json.loads(pilot.recv()) == {"speed": 0.6}
            for bad in (b"\xff", "{", "[]", "3", "[" * 10_000, json.dumps({**good, "speed": 7})):
                pilot.send(bad)
            for change in (
                {"sent_ms": float("nan")},
                {"speed": "1"},
                {"slow": 1},
                {"visible": None},
            ):
                pilot.send(json.dumps({**good, **change}))
            for change in ({"held": 3}, {"held": [[]]}, {"event": "explode"}, {"event": []}):
                pilot.send(json.dumps({**good, **change}))
            pilot.send(json.dumps(good))
            command = until(lambda: (c := device.read()).present and c)
            assert command.events == ("start",)
            assert command.base_twist == (1.0, 0.0, 0.0)
            assert command.speed == pytest.approx(0.15)
        until(lambda: not device.read().present)
    finally:
        device.close()
