"""Objects of a JSON file, read with their types checked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from vand_envs.errors import VandError

_T = TypeVar("_T")

_TYPE_NAMES: Mapping[type, str] = {
    str: "a text",
    int: "an integer",
    bool: "true or false",
    list: "a list",
}


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

    def text(self, key: str) -> str:
        """A text."""
        return self._typed(key, str)

    def flag(self, key: str) -> bool:
        """True or false."""
        return self._typed(key, bool)

    def integer(self, key: str) -> int:
        """An integer."""
        return self._typed(key, int)

    def optional_integer(self, key: str) -> int | None:
        """An integer, or null."""
        return None if self._value(key) is None else self.integer(key)

    def number(self, key: str) -> float:
        """A finite number."""
        return self._number(key, self._value(key))

    def optional_number(self, key: str) -> float | None:
        """A finite number, or null."""
        return None if self._value(key) is None else self.number(key)

    def pair(self, key: str) -> tuple[float, float]:
        """Two finite numbers."""
        values = self._typed(key, list)
        if len(values) != 2:
            raise VandError(_expected(self.source, self._at(key), "two numbers", values))
        low, high = (self._number(f"{key}[{i}]", value) for i, value in enumerate(values))
        return low, high

    def record(self, key: str) -> "JsonRecord":
        """An object."""
        return JsonRecord.of(self.source, self._value(key), self._at(key))

    def records(self, key: str) -> dict[str, "JsonRecord"]:
        """An object of objects."""
        outer = self.record(key)
        return {name: outer.record(name) for name in outer.values}

    def record_list(self, key: str) -> list["JsonRecord"]:
        """A list of objects."""
        values = self._typed(key, list)
        return [
            JsonRecord.of(self.source, value, f"{self._at(key)}[{i}]")
            for i, value in enumerate(values)
        ]

    def texts(self, key: str) -> dict[str, str]:
        """An object of texts."""
        outer = self.record(key)
        return {name: outer.text(name) for name in outer.values}

    def counts(self, key: str) -> dict[str, int]:
        """An object of integers."""
        outer = self.record(key)
        return {name: outer.integer(name) for name in outer.values}

    def _value(self, key: str) -> object:
        if key not in self.values:
            raise VandError(f"{self.source}: {self._at(key)} is missing")
        return self.values[key]

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def _typed(self, key: str, kind: type[_T]) -> _T:
        value = self._value(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise VandError(_expected(self.source, self._at(key), _TYPE_NAMES[kind], value))
        return value

    def _number(self, key: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise VandError(_expected(self.source, self._at(key), "a number", value))
        if not math.isfinite(value):
            raise VandError(_expected(self.source, self._at(key), "a finite number", value))
        return float(value)


def _expected(source: str, path: str, expected: str, value: object) -> str:
    where = f"{source}: {path}" if path else source
    return f"{where}: expected {expected}, got {value!r:.60}"
