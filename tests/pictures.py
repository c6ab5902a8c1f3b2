"""Pictures of the pages for demos/README.md: `python -m tests.pictures FOLDER [RUN]`.

The page to record with is that of a real session, in a headless Chromium; the scripted expert
stands in for the person, so that every picture is of a good episode. Of a run, the viewer is shown
as well.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.helpers.browser import browser, until
from tests.helpers.teleop import command, start_drive
from vand_demos import Recorder
from vand_demos.experts import make_expert
from vand_demos.teleop import Command, DeviceOptions, open_device
from vand_demos.ui.frames import PoseInterpolator
from vand_envs import TaskBatch
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest
from vand_robot.viewer.web import WebViewer

TASK = "wipe"
SIZE = (1000, 787)
RATE_HZ = 10.0
COLORS = 256
WATCHED_S = 32.0


class Photographer:
    """A session, its page in a browser, and the expert that drives."""

    def __init__(self, folder, go, recorder, batch):
        self._folder = folder
        self.drive = start_drive(recorder, task=TASK, wanted=5, keep_failures=True)
        self.device = open_device("web", DeviceOptions(batch.world, announce=lambda text: None))
        self._pose = PoseInterpolator(self.drive.batch.model)
        self.page = go(self.device.address)
        self._expert = make_expert(TASK, 0, self.drive.batch.control_dt_s)
        until(self._is_shown, 90)

    def _show(self):
        self.device.read()  # which also takes what the page asks to look at
        status = self.drive.status(RATE_HZ, RATE_HZ)
        self.device.show(status, self._pose.at(self.drive.before, self.drive.after, 1.0))

    def _is_shown(self):
        self._show()
        return self.page.text("#instruction") and "connection" not in self.page.text("#veil")

    def act(self, until_true):
        """Drive as the expert does until something is true."""
        while not until_true():
            seen = {key: value[0] for key, value in self.drive.batch.observe().items()}
            self.drive.follow(command(self._expert.act(seen)))

    def take(self, name, view, settled_s=2.0):
        """Take a picture from a view."""
        self._show()
        self.page.click(f"[data-view={view}]")
        for _ in range(round(settled_s / 0.2)):
            self._show()
            self.page.run("new Promise((done) => setTimeout(done, 200))")
        photograph(self.page, self._folder / f"teleop-{name}.png")


def photograph(page, path):
    """Write a picture of a page, in few colors."""
    page.screenshot(path)
    picture = Image.open(path).convert("RGB")
    picture.quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def watch(folder, go, run):
    """Takes a picture of the viewer in the middle of an episode of a policy."""
    player = open_player(ReplayRequest(run, viewer="web", task=TASK, index=1))
    viewer = WebViewer(player, announce=lambda text: None)
    viewer.open()
    page = go(viewer.address)
    until(lambda: "Play" in page.run("(document.body || {}).innerText || ''"), 90)
    player.seek(WATCHED_S)
    for _ in range(15):
        viewer.refresh_soon()
        viewer.update()
        page.run("new Promise((done) => setTimeout(done, 200))")
    photograph(page, folder / "teleop-learnt.png")
    viewer.close()


def main(folder, run=None):
    """Takes the pictures of before, in the middle of and after an episode."""
    folder.mkdir(parents=True, exist_ok=True)
    batch = TaskBatch(TASK, 1)
    with (
        tempfile.TemporaryDirectory() as scratch,
        browser(scratch, SIZE) as go,
        Recorder(Path(scratch) / "set.hdf5", batch.env_args) as recorder,
    ):
        shown = Photographer(folder, go, recorder, batch)
        drive = shown.drive
        shown.take("start", "overview")
        drive.follow(Command(events=("start",)))
        shown.act(lambda: drive.status().cycles > 1.3)
        drive.follow(Command(present=False))
        shown.take("paused", "hand")
        drive.follow(Command(events=("start",)))
        shown.act(lambda: drive.status().success)
        drive.follow(Command(events=("start",)))
        shown.take("done", "above")
        shown.device.close()
        if run is not None:
            watch(folder, go, run)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
