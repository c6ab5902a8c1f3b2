"""A display without a screen, and real key presses on it."""

import os
import shutil
import subprocess

import pytest


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
