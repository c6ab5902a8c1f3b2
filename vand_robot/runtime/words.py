"""`KEY=VALUE` words of a command line, as arguments of a constructor."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from vand_robot.runtime.errors import PolicyUsageError

MAX_DEPTH = 50
"""Lists and mappings inside each other; a deeper value is refused."""
MAX_DIGITS = 20
"""Digits of an integer; a longer one is refused."""


def keyword_arguments(option: str, words: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as keyword arguments; values are JSON, or else text.

    Args:
        option: What the words are given to, for the message: `"--env-arg"`.
        words: The words; of a key that comes twice, the last one holds.

    Raises:
        PolicyUsageError: A word is not of this form, or its value is nested deeper than
            `MAX_DEPTH`, has a number that is not finite or longer than `MAX_DIGITS`, or a text
            that is no UTF-8.
    """
    arguments: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise PolicyUsageError(f"{option}: expected KEY=VALUE, got {word!r:.60}")
        if fault := _fault(parsed := _value(value)):
            raise PolicyUsageError(f"{option}: {key}: expected {fault}, got {value!r:.60}")
        arguments[key] = parsed
    return arguments


class _TooDeep:
    """Stands for a value that the parser cannot read to its end."""


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        return _TooDeep()
    except ValueError:
        return text


def _integer(digits: str) -> float:
    """The integer; infinite where it is too long, so that it is refused as infinity is."""
    return int(digits) if len(digits.removeprefix("-")) <= MAX_DIGITS else math.inf


def _fault(value: Any) -> str:
    """What was expected in a value's place; empty for a sound one."""
    for part, depth in _parts(value):
        if isinstance(part, _TooDeep) or (isinstance(part, list | dict) and depth >= MAX_DEPTH):
            return f"at most {MAX_DEPTH} lists inside each other"
        if isinstance(part, float) and not math.isfinite(part):
            return f"finite numbers of at most {MAX_DIGITS} digits"
        if isinstance(part, str) and any("\ud800" <= c <= "\udfff" for c in part):
            return "text that is UTF-8"
    return ""


def _parts(value: Any) -> Iterator[tuple[Any, int]]:
    """The value and all that is inside it, keys too, each with its depth."""
    waiting = [(value, 0)]
    while waiting:
        part, depth = waiting.pop()
        yield part, depth
        if isinstance(part, dict):
            waiting += [(item, depth + 1) for item in (*part, *part.values())]
        elif isinstance(part, list):
            waiting += [(item, depth + 1) for item in part]
