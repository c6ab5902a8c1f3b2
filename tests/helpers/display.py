"""A display without a screen, and real key presses on it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from tests.helpers.browser import until


@pytest.fixture
def display():
    """A display of its own, without a window manager."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    reading, writing = os.pipe()
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as number:
        yield f":{number.readline().strip()}"
    process.kill()
    process.wait()


def press(display, *keys):
    """Presses keys, one after the other."""
    subprocess.run(
        ["xdotool", "key", *keys], env={**os.environ, "DISPLAY": display}, check=True, timeout=60
    )


@contextlib.contextmanager
def telling(display, program, argument):
    """Runs a program that opens a window and prints, line by line in JSON, how it stands.

    Gives the process, and how it stood last.
    """
    environment = {**os.environ, "DISPLAY": display}
    environment.pop("MUJOCO_GL", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(argument)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = []

    def listen():
        told.extend(json.loads(line) for line in process.stdout)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        until(lambda: told, 60)
        yield process, lambda: told[-1]
    finally:
        process.kill()
        process.wait()
        listener.join()
