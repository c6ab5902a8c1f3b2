"""Errors that a user can act on: one line that names the thing, what was expected, what came."""

import difflib
import numbers
from collections.abc import Iterable


class VandError(Exception):
    """A failure while working on the user's data or machine: one line, exit code 1."""

    exit_code = 1


class UsageError(VandError):
    """Something the user wrote cannot be right (name, key, type): one line, exit code 2."""

    exit_code = 2


FOREIGN_ERRORS = (Exception, SystemExit)
"""What code of somebody else may raise; a module that ends the program is one that fails, too."""


def in_words(error: BaseException) -> str:
    """An error of somebody else's code on one line: its type and its text."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  (whatever its own method raises)
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" (did you mean 'wipe'?)"` for the nearest of the known names, `""` where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is none of the known ones.

    Args:
        kind: What is named, for the message: `"task"`, `"device"`, `"configuration key"`.
        name: The name that came.
        known: The names that exist.

    Returns:
        The error, to be raised by the caller.
    """
    names = list(known)
    listing = ", ".join(names) if names else "none"
    return UsageError(f"unknown {kind} {name!r}{did_you_mean(name, names)}; known: {listing}")


def require_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """A number that must be an integer of some type, numpy's included, as Python's.

    Args:
        name: What the number is, for the message.
        value: What came.
        low: The smallest that is allowed.
        high: The largest; None for any.

    Raises:
        UsageError: It is no integer, or out of range.
    """
    number = int(value) if isinstance(value, numbers.Integral) else low - 1
    if low <= number and (high is None or number <= high):
        return number
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    raise UsageError(f"{name}: expected an integer {allowed}, got {value!r}")
