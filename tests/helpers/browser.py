"""A headless Chromium that is driven as a person would: over the DevTools protocol."""

import base64
import contextlib
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from websockets.sync.client import connect

COARSE = "--force-device-scale-factor=0.5"
"""Flag for a page that is drawn with a quarter of its pixels: without a graphics card, drawing is
most of the work."""


@contextlib.contextmanager
def browser(folder, size=(1100, 760), *flags):
    """Starts one, with its profile in a folder; gives a function that opens an address."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("chromium is not installed")
    profile = Path(folder) / "profile"
    process = subprocess.Popen(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            f"--window-size={size[0]},{size[1]}",
            *flags,
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pages = []
    try:
        note = profile / "DevToolsActivePort"
        until(note.exists, 30)
        port = until(lambda: note.read_text().splitlines()[0], 5)

        def go(address):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/json/new?{address}", method="PUT"
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                target = json.load(answer)
            page = Page(target["webSocketDebuggerUrl"])
            pages.append(page)
            return page

        yield go
    finally:
        for page in pages:
            page.drop()
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(*arguments):
    """Runs a command that serves a page; gives the process and the page's address."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell makes what it runs in the background deaf to Ctrl-C, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "vand_robot", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.stderr.readline()
        assert said.startswith("open http://127.0.0.1:"), said
        assert process.stderr.readline().startswith("from another machine: ssh -L")
        yield process, said.split()[1]
    finally:
        process.kill()
        process.communicate()


def until(condition, limit_s=60.0, every_s=0.02):
    """Wait until a condition is true; its value."""
    end = time.monotonic() + limit_s
    while not (result := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(every_s)
    return result


class Page:
    """One tab."""

    def __init__(self, address):
        self._socket = connect(address, max_size=None, compression=None)
        self._numbers = itertools.count(1)
        self.call("Page.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._socket.recv(timeout=60))
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]

    def run(self, script):
        """The value of an expression; promises are waited for."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector):
        return self.run(f"(document.querySelector({selector!r}) || {{}}).textContent || ''")

    def middle(self, selector):
        """Where an element is on the screen [pixel]."""
        return self.run(
            f"(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )

    def mouse(self, kind, x, y):
        self.call(
            "Input.dispatchMouseEvent",
            type=f"mouse{kind}",
            x=x,
            y=y,
            button="none" if kind == "Moved" else "left",
            buttons=0 if kind == "Released" else int(kind == "Pressed" or self._down),
            clickCount=1,
        )
        self._down = kind == "Pressed" or (kind == "Moved" and self._down)

    _down = False

    def click(self, selector):
        x, y = self.middle(selector)
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y)
        self.mouse("Released", x, y)

    @contextlib.contextmanager
    def hold(self, selector):
        x, y = self.middle(selector)
        self.mouse("Moved", x, y)
        self.mouse("Pressed", x, y)
        yield
        self.mouse("Released", x, y)

    def key(self, code, key, *, down):
        self.call("Input.dispatchKeyEvent", type="keyDown" if down else "keyUp", code=code, key=key)

    def press(self, code, key):
        self.key(code, key, down=True)
        self.key(code, key, down=False)

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def drop(self):
        with contextlib.suppress(Exception):
            self._socket.close()

    def close(self):
        """Closes the tab, as a person does."""
        with contextlib.suppress(Exception):
            self.call("Page.close")
        self.drop()
