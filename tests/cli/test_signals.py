"""Requests to stop: at any moment the command puts its work away, says where, and exits 130."""

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

from tests.helpers.browser import until
from tests.helpers.pages import PILOT, line, number
from tests.helpers.teleop import TASK
from vand_demos import DemoDataset, check_file, repair

WHILE_IMPORTING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
from vand_robot.cli.main import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), {signal})
            except BaseException:  # as libraries do
                pass

sys.meta_path.insert(0, Finder())
sys.argv = ["vand-robot", *{arguments!r}]
main()
"""


IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "vand_robot", *sys.argv[1:]])
"""


def run(*arguments, **options):
    """A process, and all that it says."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        text=True,
        capture_output=True,
        timeout=90,
        check=False,
        **options,
    )


@pytest.mark.parametrize(
    ("number", "module", "arguments"),
    [
        (signal.SIGINT, "typing_extensions", ["tasks"]),  # before there is a command
        (signal.SIGHUP, "mujoco", ["tasks"]),
        (signal.SIGTERM, "stopped_here", ["--plugin", "stopped_here", "tasks"]),
    ],
)
def test_a_library_that_is_imported_cannot_swallow_the_request(tmp_path, number, module, arguments):
    (tmp_path / "stopped_here.py").write_text("import time\ntime.sleep(0.2)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    script = WHILE_IMPORTING.format(module=module, signal=int(number), arguments=arguments)
    done = run("-c", script, env={**os.environ, "PYTHONPATH": path})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


STUCK = """
import os, signal, time
from vand_demos.teleop import Command, register_device

class Stuck:
    def __init__(self, options):
        drive = Command(base_twist=(0.5, 0.0, 0.0))
        self.commands = iter([Command(events=("start",)), drive, drive, Command(events=("save",))])

    def read(self):
        if (command := next(self.commands, None)) is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return command or Command()

    def show(self, status, pose):
        pass

    def close(self):
        time.sleep(600)

register_device("mine/stuck", Stuck)
"""


def test_what_cannot_be_put_away_in_time_is_named_and_can_be_repaired(tmp_path):
    (tmp_path / "stuck_device.py").write_text(STUCK)
    out = tmp_path / "my set.hdf5"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    words = ["--plugin", "stuck_device", "record", TASK, "--device", "mine/stuck", "--out", out]
    words = ["-m", "vand_robot", *words, "--keep-failures"]
    done = run(*words, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 130
    kept, last = done.stderr.splitlines()
    assert kept.startswith(f"1 recorded episodes wait in {out}.parts; ")
    assert kept.endswith(f"vand-robot demos repair '{out}'")
    assert last == "error: interrupted"
    assert repair(out).recovered == 1
    assert check_file(out) == []


@pytest.mark.parametrize("how", ["SIGTERM", "the terminal is closed"])
def test_a_session_in_the_browser_is_put_away(tmp_path, how):
    out = tmp_path / "set.hdf5"
    master, terminal = pty.openpty()
    words = ["record", TASK, "--device", "web", "--out", str(out), "--keep-failures"]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    while b"then open" not in said:
        said += os.read(master, 4096)
    address = re.search(rb"open (http\S+)", said)[1].decode()
    with line(address, number(), "pilot") as pilot:

        def say(event=None, held=()):
            pilot.send(json.dumps({**PILOT, "event": event, "held": held}))
            return json.loads(pilot.recv(timeout=30))

        say("start")
        until(lambda: say(held=["ahead"]).get("time_s", 0) > 0.2)
        say("save")
        until(lambda: say().get("saved") == 1)
        if how == "SIGTERM":
            process.terminate()
        else:
            os.close(master)
        assert process.wait(timeout=60) == 130
    if how == "SIGTERM":
        with os.fdopen(master, "rb", buffering=0) as terminal_of_the_person:
            assert b"(interrupted)" in terminal_of_the_person.read(4096)
    with DemoDataset.open(out) as dataset:
        assert len(dataset) == 1
    assert not out.with_name("set.hdf5.parts").exists()
