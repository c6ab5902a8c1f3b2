"""Errors of the runtime: one line each, with an exit code, as everywhere in the project.

They are no `vand_envs.VandError`, for the runtime imports no simulation.
"""

import difflib
from collections.abc import Iterable


class PolicyError(Exception):
    """A policy, an observation, a robot or a connection that does not work: exit code 1."""

    exit_code = 1


class PolicyUsageError(PolicyError):
    """Something that was asked for cannot be right (a name, a rate): exit code 2."""

    exit_code = 2


FOREIGN_ERRORS = (Exception, SystemExit)
"""What code of somebody else may raise; a module that ends the program is one that fails, too."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> PolicyUsageError:
    """The error for a name that is none of the known ones, with the nearest of them.

    Args:
        kind: What is named, for the message: `"instruction"`, `"driver"`.
        name: What came.
        known: The names that exist.
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    listing = ", ".join(names) if names else "none"
    return PolicyUsageError(f"unknown {kind} {name!r:.60}{hint}; known: {listing}")


def gist(error: BaseException) -> str:
    """The gist of an error of a library, on one line."""
    try:
        text = " ".join(str(error).split()) or type(error).__name__
    except Exception:  # noqa: BLE001  (whatever the error's own method raises)
        text = type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def in_words(error: BaseException) -> str:
    """An error of somebody else's code on one line: its type and its gist."""
    return f"{type(error).__name__}: {gist(error)}"
