"""Processes of `run_apart`, forked from a warm one instead of started anew.

A data set is looked at in a process of its own, and most of what such a process does is to import.
The suite opens hundreds of data sets, so one process imports once, and forks for each of them.
What runs there is the same code; `test_isolation` starts every process anew, as users do.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from vand_demos.system.isolation import serve

PRELOADED = ("vand_demos.storage.check", "vand_demos.embedded", "vand_demos.interop.minari")
"""Modules with functions that `run_apart` is asked for."""

_STREAMS = 3


class Forked:
    """What `run_apart` needs of a `subprocess.Popen`, of a process that a warm one forks."""

    def __init__(self, warm: "WarmProcess", command: list[str], env: dict[str, str]) -> None:
        (their_in, mine), (out, theirs), (error, their_error) = (os.pipe() for _ in range(_STREAMS))
        request = {"start": command[3:], "env": env, "cwd": str(Path.cwd())}
        ends = [their_in, theirs, their_error]
        self.pid = warm.ask(request, ends)
        for end in ends:
            os.close(end)
        self.stdin, self.stdout = os.fdopen(mine, "wb"), os.fdopen(out)
        self.stderr = os.fdopen(error)
        self.returncode: int | None = None
        self._warm, self._lock = warm, threading.Lock()

    def kill(self) -> None:
        """End the process."""
        with self._lock:
            if self.returncode is None:
                os.kill(self.pid, 9)

    def wait(self) -> int:
        """The exit code, once the process has ended."""
        with self._lock:
            if self.returncode is None:
                self.returncode = int(self._warm.ask({"wait": self.pid}))
            return self.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            stream.close()
        self.wait()


class WarmProcess:
    """A process that has imported what `run_apart` is asked for, and forks.

    It starts with the first request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> socket.socket:
        line, theirs = socket.socketpair()
        code = f"from {__name__} import fork_all; fork_all({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return line

    def ask(self, request: dict[str, Any], files: list[int] | None = None) -> int:
        """The answer to a request, which comes with open files."""
        with self._lock:
            line = self._line = self._line or self._start()
            content = json.dumps(request).encode()
            socket.send_fds(line, [len(content).to_bytes(4, "big")], files or [])
            line.sendall(content)
            return int.from_bytes(_receive(line, 8), "big", signed=True)

    def stand_in(self) -> SimpleNamespace:
        """What takes the place of `subprocess` where processes are to be forked."""

        def popen(command: list[str], *, env: dict[str, str], **_: object) -> Forked:
            return Forked(self, command, env)

        return SimpleNamespace(PIPE=subprocess.PIPE, Popen=popen)

    def close(self) -> None:
        """End the process."""
        if self._line is not None and self._process is not None:
            self._line.close()
            self._process.wait()


def fork_all(number: int) -> None:
    """Answer requests that come through a socket, until its other end is closed."""
    for name in PRELOADED:
        import_module(name)
    line = socket.socket(fileno=number)
    while True:
        head, files, _, _ = socket.recv_fds(line, 4, _STREAMS)
        if not head:
            return
        request = json.loads(_receive(line, int.from_bytes(head, "big")))
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        elif not (answer := os.fork()):
            line.close()
            _become(request, files)
        for file in files:
            os.close(file)
        line.sendall(answer.to_bytes(8, "big", signed=True))


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Run what is asked for in a process that was forked for it, and end it."""
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[:] = request["env"]["PYTHONPATH"].split(os.pathsep)
    code = 0
    try:
        serve(*request["start"])
    except BaseException:  # noqa: BLE001  (an interpreter would print it, too)
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _receive(line: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = line.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return content
