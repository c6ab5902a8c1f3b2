"""The viewer's page in a real browser, as a person uses it; and whom its server does not answer."""

import re
import signal
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.browser import COARSE, browser, serving
from tests.helpers.browser import until as until_often
from vand_demos.ui.web_scene import hand_view
from vand_envs import get_task
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest
from vand_robot.viewer.scene import SceneView
from vand_robot.viewer.web import WebViewer, stage_marks


def until(condition):
    return until_often(condition, every_s=0.1)  # the page is drawn by the same processors


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser"), (900, 900), COARSE) as go:
        yield go


def viewer(*arguments):
    """A viewer of the command; gives the process and the page's address."""
    return serving("replay", "--viewer", "web", *arguments)


class Controls:
    """The page's controls, found by what is written on them."""

    def __init__(self, page):
        self.page = page
        until(lambda: self.find("Play"))

    def find(self, text, where="button", nth=0):
        """Middle of an element with that text [pixel], or None."""
        return self.page.run(
            f"(() => {{ const found = [...document.querySelectorAll({where!r})].filter("
            f"e => e.textContent.trim() === {text!r})[{nth}]; if (!found) return null;"
            " found.scrollIntoView({block: 'nearest'}); const r = found.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )

    def click(self, text, where="button", nth=0):
        at = until(lambda: self.find(text, where, nth))
        for kind in ("Moved", "Pressed", "Released"):
            self.page.mouse(kind, *at)

    def click_at(self, x, y):
        for kind in ("Moved", "Pressed", "Released"):
            self.page.mouse(kind, x, y)

    def choose(self, shown, option):
        """Takes an option of the first list that shows a text."""
        self.click_at(
            *self.page.run(
                f"(() => {{ const r = [...document.querySelectorAll('input')].find("
                f"e => e.value === {shown!r}).getBoundingClientRect();"
                " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
            )
        )
        self.click(option, "[role=option]")

    def seek(self, part):
        """Clicks on the time bar a part of the way along it."""
        left, right, y = self.page.run(
            "(() => { const r = document.querySelector('.mantine-Slider-track')"
            ".getBoundingClientRect(); return [r.left, r.right, r.y + r.height / 2]; })()"
        )
        self.click_at(left + part * (right - left), y)

    @property
    def text(self):
        return self.page.run("document.body.innerText")

    @property
    def time_s(self):
        return float(re.search(r"([\d.]+) of [\d.]+ s", self.text)[1])


def test_a_policy_is_watched_and_interfered_with(chromium, run, demos, tmp_path):
    with viewer(run, "--task", "wipe", "--beside", demos, "--seconds", 8) as (process, address):
        page = chromium(address)
        controls = Controls(page)
        until(lambda: "Wipe the board in circles" in controls.text)
        assert "On the right: demos.hdf5 demo_4" in controls.text
        assert controls.time_s == 0

        controls.click("Play")
        until(lambda: controls.time_s > 0.5)
        controls.click("Pause")
        until(lambda: controls.find("Play"))
        time_s = controls.time_s
        controls.click("Forward")
        until(lambda: controls.time_s > time_s)
        time_s = controls.time_s
        controls.click("Back")
        until(lambda: controls.time_s < time_s)
        page.press("KeyL", "l")
        until(lambda: controls.time_s == time_s)
        controls.seek(0.5)
        until(lambda: 3.0 < controls.time_s < 5.0)

        picture = tmp_path / "page.png"
        page.screenshot(picture)
        scene = np.asarray(Image.open(picture).convert("L"))[:, :500]
        assert scene.std() > 20
        assert "interfered with" not in controls.text
        controls.click("left")
        until(lambda: "interfered with" in controls.text)
        controls.click("Next episode")
        until(lambda: "held-out episode 1" in controls.text)
        assert controls.time_s == 0
        assert "interfered with" not in controls.text

        controls.choose("wipe", "stow-cube")  # the first such list is the instruction
        told = get_task("stow-cube").instruction
        until(lambda: told[1:] in controls.text)
        assert "interfered with" in controls.text
        assert re.search(r"stage 1 of \d", controls.text)
        controls.click("Play")
        until(lambda: controls.time_s > 0.3)
        page.close()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
        assert process.returncode == 130
        assert complaints == ""


def test_demonstrations_are_chosen_and_the_page_of_another_origin_is_refused(
    chromium, demos, tmp_path
):
    script = "<script>parent.document.title='run'<&#47;script>"
    named = tmp_path / f'a {{1}} *b* <iframe srcdoc="{script}"><img src=x>.hdf5'
    named.write_bytes(demos.read_bytes())
    with viewer(named) as (_, address):
        page = chromium(address)
        controls = Controls(page)
        until(lambda: "demo_0" in controls.text)
        assert f"{named.name} demo_0" in controls.text  # as it is, and nothing of it ran
        assert page.run("document.querySelectorAll('iframe, img[src=x]').length") == 0
        assert page.run("document.title") != "run"
        assert "Instruction" not in controls.text  # nobody listens
        controls.click("Next demonstration")
        until(lambda: "demo_1" in controls.text)
        controls.choose("stow-cube", "wipe")
        until(lambda: "demo_4" in controls.text)
        controls.seek(1.0)
        until(lambda: "circles (3 make a demonstration)" in controls.text)
        with pytest.raises(InvalidStatus, match="403"):
            connect(address.replace("http", "ws"), origin="http://evil.example").close()
        request = urllib.request.Request(address, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)


def test_stages_are_marked_on_the_time_bar_and_robots_are_labelled(demos):
    request = ReplayRequest(demos, viewer="web", task="stow-cube", beside="expert")
    player = open_player(request)
    marks = stage_marks(player.source)
    assert [label for _, label in marks] == ["1", "2", "3", "4"]
    times = [time for time, _ in marks]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] <= player.length_s
    scene = SceneView(player)
    scene.pose()
    (mine, left), (other, right) = scene.labels
    assert mine == player.source.title
    assert "expert" in other
    assert right[0] - left[0] > 3  # side by side
    alone = open_player(ReplayRequest(demos, viewer="web", task="stow-cube"))
    assert SceneView(alone).labels == []


def test_the_view_of_the_hand_turns_with_the_base():
    hand = np.array([1.0, 2.0, 0.7])
    eye, target = hand_view("hand", hand, np.pi / 2)
    np.testing.assert_allclose(eye - hand, [-0.55, -0.75, 0.65])
    np.testing.assert_allclose(target - hand, [0.0, 0.05, -0.05], atol=1e-12)


def test_a_choice_is_not_reset_before_its_event_arrives(demos):
    page = WebViewer(open_player(ReplayRequest(demos, viewer="web")), announce=lambda _: None)

    def draw():
        page.refresh_soon()
        page.update()

    page.open()
    try:
        page._task.value = "wipe"  # as viser does when a person chooses it, before it tells
        draw()
        assert page._task.value == "wipe"
        page._ask(lambda: page.player.open("wipe", 99))  # there is no such demonstration
        page.obey()
        draw()
        assert page._task.value == "stow-cube"
        page._ask(lambda: page.player.open("wipe", 1))
        page.obey()
        draw()
        assert (page._task.value, page._number.value) == ("wipe", 1)
    finally:
        page.close()


def test_options_that_do_not_fit_the_viewer_are_refused(fails, demos, tmp_path):
    out = tmp_path / "a.html"
    for words, arguments in (
        ("--out: the web viewer writes no file", ("--viewer", "web", "--out", out)),
        ("--out: the html viewer needs a file", ()),
        ("use --viewer web", ("--out", out, "--beside", demos)),
        ("cannot listen on", ("--viewer", "web", "--host", "192.0.2.1")),
        ("--camera is not for the web viewer", ("--viewer", "web", "--camera", "overview")),
        ("--size is not for the html viewer", ("--out", out, "--size", "64x64")),
        ("--fps is not for the native viewer", ("--viewer", "native", "--fps", 5)),
        ("--port is not for the html viewer", ("--out", out, "--port", 0)),
        ("--host is not for the native viewer", ("--viewer", "native", "--host", "::1")),
        ("--force: the web viewer writes no file", ("--viewer", "web", "--force")),
        ("use --viewer video", ("--out", tmp_path / "a.gif")),
        ("--size: expected WIDTHxHEIGHT", ("--viewer", "video", "--out", out, "--size", "big")),
        ("name ends in one of", ("--viewer", "video", "--out", tmp_path / "a.avi")),
        ("did you mean '.webm'", ("--viewer", "video", "--out", tmp_path / "a.wbm")),
    ):
        code, line = fails("replay", demos, *arguments)
        assert code == 2
        assert words in line
    assert not out.exists()
