"""What a command answers to an input, and whether that is good."""

import atexit
import functools
from pathlib import Path

from tests.faults.server import Answer, ForkServer

BYTES_LIMIT = 2 << 30
"""Most memory that a command may hold on a damaged input [bytes]."""

PATIENCE_S = 120.0
"""How long an answer may take, on a clock on the wall [s]."""


def answer(arguments: list[str], folder: Path, patience_s: float = PATIENCE_S) -> Answer:
    """Runs the command in a process of its own, forked from one that all tests share."""
    return _server().answer(arguments, folder, patience_s)


@functools.cache
def _server() -> ForkServer:
    server = ForkServer()
    atexit.register(server.close)
    return server


def fault_of(reply: Answer) -> str:
    """The fault of an answer: a word, and details after a colon; empty for a good one."""
    lines = [line for line in reply.err.splitlines() if line.startswith("error: ")]
    if reply.code is None:
        return "hang"
    if reply.code < 0:
        return f"crash: signal {-reply.code}"
    if "Traceback" in reply.out + reply.err:
        return "traceback"
    if reply.code not in (0, 1, 2):
        return f"exit code: {reply.code}"
    if reply.memory_bytes > BYTES_LIMIT:
        return f"memory: {reply.memory_bytes >> 20} MiB"
    if len(lines) != (reply.code != 0):
        return f"words: {len(lines)} lines"
    return ""
