"""Pictures of the page to record with, for demos/README.md: `python -m tests.pictures FOLDER`.

The page is that of a real session, in a headless Chromium; the scripted expert stands in for the
person, so that every picture is of a good episode.
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

TASK = "wipe"
SIZE = (1000, 787)
RATE_HZ = 10.0
COLORS = 256


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
        path = self._folder / f"teleop-{name}.png"
        self.page.screenshot(path)
        Image.open(path).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(
            path, optimize=True
        )


def main(folder):
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
