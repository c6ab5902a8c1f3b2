"""JSON from outside: read as data, and its objects with their types checked.

This is the one reader for the JSON of every file. It is not done by pydantic: strict, it refuses a
list where a tuple is declared, its errors are several lines without the file's name, and each
record would be described twice, as a model and as the dataclass that the program works with.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from vand_demos.system.files import read_regular
from vand_envs.errors import VandError

_T = TypeVar("_T")

MAX_DEPTH = 50
"""Lists and mappings inside each other; deeper text is refused."""

_TYPE_NAMES: Mapping[type, str] = {
    str: "a text",
    int: "an integer",
    bool: "true or false",
    list: "a list",
}


def clean_text(text: str) -> str:
    """The text without lone surrogates, which no file and no terminal can take."""
    return text.encode("utf-8", "replace").decode()


def parse_json(text: str | bytes, source: str) -> Any:
    """The content of a JSON text; lone surrogates in its texts become question marks.

    Args:
        text: The text; bytes are UTF-8.
        source: The file, for the message.

    Raises:
        VandError: It is no JSON, or is nested too deep.
    """
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        return _cleaned(json.loads(plain), 0)
    except (ValueError, RecursionError) as error:
        raise VandError(f"{source}: expected JSON: {error}") from None


def _cleaned(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return value if value.isascii() else clean_text(value)
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): _cleaned(item, depth + 1) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class JsonRecord:
    """A JSON object. What is missing in it or of another type is one line that names file and key.

    Every method that reads a key raises a VandError where it is missing or of another type.
    """

    source: str
    """The file."""
    values: Mapping[str, object]
    """Key -> value."""
    path: str = ""
    """Where the object stands in the file: `tasks.wipe`; empty for the whole."""

    @classmethod
    def of(cls, source: str, content: object, path: str = "") -> Self:
        """Take a value of a file for an object.

        Raises:
            VandError: It is none.
        """
        if not isinstance(content, Mapping):
            raise VandError(_expected(source, path, "a mapping", content))
        return cls(source, content, path)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The object in a JSON file.

        Raises:
            VandError: It is no regular file, cannot be read, or holds something else.
        """
        return cls.of(str(file), parse_json(read_regular(file), str(file)))

    def text(self, key: str) -> str:
        """A text."""
        return self._typed(key, str)

    def optional_text(self, key: str) -> str | None:
        """A text, or null."""
        return None if self._value(key) is None else self.text(key)

    def flag(self, key: str) -> bool:
        """True or false."""
        return self._typed(key, bool)

    def integer(self, key: str, low: int | None = None, high: int | None = None) -> int:
        """An integer, within bounds where they are given."""
        value = self._typed(key, int)
        if (low is not None and value < low) or (high is not None and value > high):
            raise self.mistake(key, f"an integer{_bounds(low, high)}")
        return value

    def optional_integer(self, key: str) -> int | None:
        """An integer, or null."""
        return None if self._value(key) is None else self.integer(key)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number, within bounds where they are given."""
        value = self._number(key, self._value(key))
        if not low <= value <= high:
            raise self.mistake(key, f"a number{_bounds(low, high)}")
        return value

    def optional_number(self, key: str) -> float | None:
        """A finite number, or null."""
        return None if self._value(key) is None else self.number(key)

    def pair(self, key: str) -> tuple[float, float]:
        """Two finite numbers."""
        values = self.number_list(key)
        if len(values) != 2:
            raise self.mistake(key, "two numbers")
        return values[0], values[1]

    def numbers(self, key: str) -> dict[str, float]:
        """An object of finite numbers."""
        outer = self.record(key)
        return {name: outer.number(name) for name in outer.values}

    def number_list(
        self, key: str, low: float = -math.inf, high: float = math.inf
    ) -> tuple[float, ...]:
        """A list of finite numbers, within bounds where they are given."""
        inner = self._items(key)
        return tuple(inner.number(name, low, high) for name in inner.values)

    def rows(self, key: str, width: int) -> list[tuple[float, ...]]:
        """A list of lists of so many finite numbers each."""
        inner = self._items(key)
        rows = [inner.number_list(name) for name in inner.values]
        for name, row in zip(inner.values, rows, strict=True):
            if len(row) != width:
                raise inner.mistake(name, f"{width} numbers")
        return rows

    def list_of_rows(self, key: str, width: int) -> list[list[tuple[float, ...]]]:
        """A list of lists of lists of so many finite numbers each."""
        inner = self._items(key)
        return [inner.rows(name, width) for name in inner.values]

    def text_list(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        inner = self._items(key)
        return tuple(inner.text(name) for name in inner.values)

    def integer_list(self, key: str, low: int | None = None) -> tuple[int, ...]:
        """A list of integers, not below a bound where it is given."""
        inner = self._items(key)
        return tuple(inner.integer(name, low) for name in inner.values)

    def record(self, key: str) -> "JsonRecord":
        """An object."""
        return JsonRecord.of(self.source, self._value(key), self._at(key))

    def records(self, key: str) -> dict[str, "JsonRecord"]:
        """An object of objects."""
        outer = self.record(key)
        return {name: outer.record(name) for name in outer.values}

    def record_list(self, key: str) -> list["JsonRecord"]:
        """A list of objects."""
        inner = self._items(key)
        return [inner.record(name) for name in inner.values]

    def texts(self, key: str) -> dict[str, str]:
        """An object of texts."""
        outer = self.record(key)
        return {name: outer.text(name) for name in outer.values}

    def counts(self, key: str) -> dict[str, int]:
        """An object of integers."""
        outer = self.record(key)
        return {name: outer.integer(name) for name in outer.values}

    def _items(self, key: str) -> "JsonRecord":
        """The items of a list as an object: `key[0]`, `key[1]`, ..."""
        items = {f"{key}[{i}]": item for i, item in enumerate(self._typed(key, list))}
        return JsonRecord(self.source, items, self.path)

    def mistake(self, key: str, expected: str) -> VandError:
        """The error for the value of a key that is not what was expected."""
        return VandError(_expected(self.source, self._at(key), expected, self._value(key)))

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise VandError(f"{self.source}: {self._at(key)} is missing")
        return self.values[key]

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _typed(self, key: str, kind: type[_T]) -> _T:
        value = self._value(key)
        if kind is list and isinstance(value, tuple):  # of an object that was made in Python
            value = list(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.mistake(key, _TYPE_NAMES[kind])
        return value

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise VandError(_expected(self.source, self._at(key), "a number", value))
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.inf
        if not math.isfinite(number):
            raise VandError(_expected(self.source, self._at(key), "a finite number", value))
        return number


def _bounds(low: float | None, high: float | None) -> str:
    """Bounds in words, for messages."""
    below, above = low in (None, -math.inf), high in (None, math.inf)
    if below or above:
        return "" if below and above else f" <= {high:g}" if below else f" >= {low:g}"
    return f" from {low:g} to {high:g}"


def _expected(source: str, path: str, expected: str, value: object) -> str:
    where = f"{source}: {path}" if path else source
    return f"{where}: expected {expected}, got {value!r:.60}"
