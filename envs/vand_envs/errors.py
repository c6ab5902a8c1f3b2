"""Errors that a user can act on: one line that names the thing, what was expected, what came."""

import difflib
from collections.abc import Iterable


class VandError(Exception):
    """A failure while working on the user's data or machine: one line, exit code 1."""

    exit_code = 1


class UsageError(VandError):
    """Something the user wrote cannot be right (name, key, type): one line, exit code 2."""

    exit_code = 2


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
