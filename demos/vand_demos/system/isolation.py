"""Runs a function in a process of its own, which a damaged or hostile file may crash or stop."""

import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vand_envs.errors import VandError

try:
    import resource
except ImportError:  # Windows has none, and no limit of memory with it
    resource = None  # type: ignore[assignment]

START_S = 120.0
"""How long another process may take to start, on a machine that is busy [s]."""


class LostProcessError(VandError):
    """The process did not end by itself, or not well; the message says how, after what it read."""


class UnstartedProcessError(VandError):
    """The child process failed to start; the file was not examined."""


def run_apart(
    function: str,
    arguments: Sequence[str],
    *,
    patience_s: float = 60.0,
    memory_bytes: int | None = None,
) -> Iterator[Any]:
    """Run a generator function in another process and pass on what it yields.

    Args:
        function: `"package.module:name"` of a generator function of texts; it yields what JSON can
            hold.
        arguments: What it is called with.
        patience_s: How long it may take from one item to the next, or to the first [s].
        memory_bytes: How much more memory than at its start the process may take; None: no limit.

    Yields:
        What the function yields, as it comes.

    Raises:
        LostProcessError: It was silent for too long, or died of a signal.
        UnstartedProcessError: It did not get as far as calling the function.
        VandError: It raised; the line is that of its error.
    """
    # The same interpreter and packages, and arguments of our own making: nothing untrusted.
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD, function, str(memory_bytes or 0), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,  # which ends with this process
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal is for this process to deal with
    ) as process:
        error, started = None, False
        try:
            for message in _messages(process, patience_s):
                started = True
                if "error" in message:
                    error = str(message["error"])
                elif "item" in message:
                    yield message["item"]
        except queue.Empty:
            if not started:
                raise UnstartedProcessError(
                    f"another process did not start within {START_S:g} s"
                ) from None
            raise LostProcessError(f"did not come back within {patience_s:g} s") from None
        else:
            last_words = process.stderr.read().splitlines()[-1:] if process.stderr else []
        finally:
            process.kill()  # the caller may have stopped listening
    if error is not None:
        raise VandError(error)
    if not started:
        reason = " ".join(last_words) or f"exit code {process.returncode}"
        raise UnstartedProcessError(f"another process could not start: {reason}")
    _require_good_end(process.returncode, last_words)


def _require_good_end(code: int, last_words: Sequence[str]) -> None:
    if code < 0:
        raise LostProcessError(f"crashed (signal {-code})")
    if code > 0:
        raise LostProcessError(f"failed ({' '.join(last_words) or code})")


_CHILD = "import sys; from vand_demos.system.isolation import serve; serve(*sys.argv[1:])"


def serve(function: str, memory_bytes: str, *arguments: str) -> None:
    """The other end of `run_apart`: prints one JSON message a line."""
    _end_with_parent()
    module, _, name = function.partition(":")
    generator = getattr(import_module(module), name)
    # Where memory cannot be limited, the time limit must do.
    if int(memory_bytes) and resource is not None and sys.platform == "linux":
        limit = _address_space() + int(memory_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    _send({"started": function})
    try:
        for item in generator(*arguments):
            _send({"item": item})
    except (VandError, MemoryError) as error:
        _send({"error": str(error) or "out of memory"})


_PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when its parent ends; see prctl(2)."""


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, in whatever way.

    The kernel does it on Linux, even while a library hangs; elsewhere a thread that waits for the
    end of standard input, which the parent alone holds open.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_await_end, daemon=True).start()


def _await_end() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)  # nobody is left to hear of it


def _send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _messages(process: "subprocess.Popen[str]", patience_s: float) -> Iterator[dict[str, Any]]:
    """Messages of the other process; raises queue.Empty where none comes for too long."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in process.stdout or ():
            lines.put(line)
        process.wait()
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    timeout_s = START_S
    while (line := lines.get(timeout=timeout_s)) is not None:
        yield json.loads(line)
        timeout_s = patience_s


def _address_space() -> int:
    """Address space that this process has taken up to now [bytes]."""
    pages = Path("/proc/self/statm").read_text("ascii").split()[0]
    return int(pages) * resource.getpagesize()
