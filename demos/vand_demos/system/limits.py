"""The most memory that one thing from a file may take, counted from what declares its size."""

import os
import re
from pathlib import Path

from vand_envs.errors import UsageError, VandError

VARIABLE = "VAND_MAX_BYTES"
"""Environment variable that raises or lowers the limit [bytes]."""

DEFAULT_BYTES = 1 << 30
"""The limit where the variable is not set [bytes]."""


def limit_bytes() -> int:
    """The most that one model, array, table or picture may take in memory at once [bytes].

    Raises:
        UsageError: `VAND_MAX_BYTES` is no positive integer.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return DEFAULT_BYTES
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text)):
        raise UsageError(f"{VARIABLE}: expected a positive number of bytes, got {text!r:.60}")
    return int(text)


def available_bytes() -> int | None:
    """Memory that programs may still take on this machine [bytes]; None where it does not tell."""
    try:
        text = Path("/proc/meminfo").read_text("ascii")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s*(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def require_room(what: str, size_bytes: int) -> None:
    """Checks a declared size before memory is asked for.

    Args:
        what: What declares it, for the message.
        size_bytes: What it would take in memory [bytes].

    Raises:
        VandError: It is above the limit.
    """
    limit = limit_bytes()
    if size_bytes > limit:
        raise VandError(
            f"{what}: expected at most {_words(limit)} in memory, got {_words(size_bytes)};"
            f" {VARIABLE} sets the limit"
        )


def _words(size_bytes: int) -> str:
    """A size for a message: `1.07 GB`."""
    for power, unit in ((18, "EB"), (15, "PB"), (12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if size_bytes >= 10**power:
            amount = size_bytes // 10 ** (power - 2) / 100 if size_bytes < 10**30 else 1e12
            return f"{amount:g} {unit}"
    return f"{size_bytes} bytes"
