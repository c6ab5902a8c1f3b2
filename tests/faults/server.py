"""A process that has everything imported, and forks for each command that is run in it."""

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

PRELOADED = [
    *("vand_robot.cli.app", "vand_robot.workflows.evaluate", "vand_robot.workflows.train"),
    *("vand_robot.workflows.compare", "vand_demos.interop.lerobot", "vand_demos.interop.minari"),
    *("torch.utils.tensorboard", "torch._dynamo", "scipy.stats", "vand_robot.viewer"),
]
"""What most commands import, some of it only once they need it."""

PROCESSOR_S = 60
"""A command that takes more processor time than this is killed, and counts as a hang [s]."""


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int | None
    """Exit code; negative: killed by that signal; None: it did not come back."""
    out: str
    err: str
    memory_bytes: int
    """Most that the process, or one that it started, held at a time."""
    processor_s: float
    """Processor time of it and of what it started [s]."""
    wall_s: float
    """Time that passed [s]."""


class ForkServer:
    """Runs commands, each in a process of its own that is forked from a warm one.

    Args:
        warm: Commands that are run once in the server itself, so that whatever they import, build
            or look at once in a process is there for all others. They must succeed.
        processor_s: Most processor time that an answer may take [s].

    Raises:
        RuntimeError: A command of `warm` failed.
    """

    def __init__(self, warm: Sequence[Sequence[str]] = (), processor_s: int = PROCESSOR_S) -> None:
        code = "from tests.faults.server import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            reply = self._ask({"warm": [list(words) for words in warm], "processor_s": processor_s})
            if any(reply["codes"]):
                raise RuntimeError(f"exit codes of {warm}: {reply}")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the server."""
        self._process.kill()
        self._process.communicate()

    def answer(self, arguments: Sequence[str], folder: Path, patience_s: float) -> Answer:
        """Runs a command.

        Args:
            arguments: Words after the program's name.
            folder: Where its output is kept, in the files `out` and `err`.
            patience_s: How long it may take, on a clock on the wall [s].
        """
        out, err = (folder / name for name in ("out", "err"))
        request = {"arguments": list(arguments), "files": [str(out), str(err)]}
        reply = self._ask({**request, "patience_s": patience_s})
        texts = (file.read_text("utf-8", "backslashreplace") for file in (out, err))
        return Answer(reply["code"], *texts, **{name: reply[name] for name in _MEASURED})

    def _ask(self, request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


_MEASURED = ("memory_bytes", "processor_s", "wall_s")


def serve() -> None:
    """The other end of a `ForkServer`: answers one request a line, until its parent is gone."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for name in PRELOADED:
        import_module(name)

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    first = json.loads(sys.stdin.readline())
    reply({"codes": [_call(words) for words in first["warm"]]})
    while line := sys.stdin.readline():
        reply(_run(json.loads(line), first["processor_s"]))


def _run(request: Any, processor_s: int) -> dict[str, Any]:
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        _become(request, processor_s)
    handle = os.pidfd_open(pid)
    came_back = bool(select.select([handle], [], [], request["patience_s"])[0])
    os.close(handle)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what it started goes with it
    _, status, usage = os.wait4(pid, 0)
    code: int | None = os.waitstatus_to_exitcode(status)
    if not came_back or code == -signal.SIGXCPU:
        code = None
    return {
        "code": code,
        "memory_bytes": usage.ru_maxrss * 1024,
        "processor_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.monotonic() - began,
    }


def _become(request: Any, processor_s: int) -> None:
    """Runs a command in a process that was forked for it, and ends it."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 5))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream, path in zip((1, 2), request["files"], strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT), stream)
    code = _call(request["arguments"])
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


CALL = "call"
"""First word of what is no command but a function."""


def call(function: str, *arguments: str) -> tuple[str, ...]:
    """Words by which a server calls a function, `"package.module:name"`, in place of a command.

    What it returns, or raises `SystemExit` with, is the exit code; None is 0.
    """
    return (CALL, function, *arguments)


def command(arguments: Sequence[str]) -> int:
    """The exit code of a command that runs in this process."""
    from vand_robot.cli.main import main  # noqa: PLC0415  (here, where it is preloaded)

    try:
        main(list(arguments))
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _call(arguments: list[str]) -> int:
    """The exit code of a command or a function that runs in this process."""
    try:
        if arguments[0] != CALL:
            return command(arguments)
        module, _, name = arguments[1].partition(":")
        return getattr(import_module(module), name)(*arguments[2:]) or 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:  # noqa: BLE001  (whatever it is, the test shall see it)
        traceback.print_exc()
    return 1
