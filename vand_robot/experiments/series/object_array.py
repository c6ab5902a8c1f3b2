"""Numpy files of Python objects, read as data.

Such a file (`.npy` of type `object`) is a pickle, and unpickling runs whatever the file says. Here
it is only read: Python's `pickletools` cuts it into words, and those that build lists, mappings,
texts, numbers and arrays of numbers are followed. The names of functions in it are compared with
the four that numpy writes for its arrays; they are never looked up. Any other word is refused.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

_RECONSTRUCT = frozenset(
    f"numpy.{core}.multiarray _reconstruct" for core in ("core", "_core")
)  # numpy 1 and 2
_ARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"

_NUMBERS = frozenset(f"{kind}{size}" for kind in "iuf" for size in (2, 4, 8)) | {"i1", "u1", "b1"}
"""Types of arrays whose content is taken."""

_MARK = object()
"""Stands on the stack where a list or a tuple begins."""

_MISTAKES = (
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    SyntaxError,
    RecursionError,
    MemoryError,
)
"""Errors that malformed bytes lead to, in numpy's header, in `pickletools`, and here."""

_MOST_WORDS = 1_000_000
"""Words of a file; each may put a value on the stack."""


@dataclass(frozen=True)
class _Name:
    """The name of a function of numpy."""

    text: str


@dataclass
class _Dtype:
    """A type of numbers, and its order of bytes."""

    code: str
    order: str = "|"


@dataclass
class _Array:
    """An array; its content comes after it."""

    value: Any = None


def read_objects(content: bytes, source: str) -> Any:
    """The value in the bytes of a numpy file of one object.

    Args:
        content: The file.
        source: Its name, for messages.

    Returns:
        Lists, tuples, dictionaries, texts, numbers, and arrays of numbers.

    Raises:
        VandError: It is no such file, is too large, or holds something else.
    """
    require_room(source, len(content))
    file = BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if shape != () or kind != np.dtype(object):
            raise ValueError(f"an array of shape {shape} and type {kind}")
        return _finished(_Reader().run(file))
    except _MISTAKES as error:
        raise VandError(f"{source}: expected a numpy file of one object: {error}") from None


class _Reader:
    """Follows the words of a pickle that build plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self, file: BytesIO) -> Any:
        """The value that the words build."""
        for count, (word, argument, _) in enumerate(pickletools.genops(file)):
            if count > _MOST_WORDS:
                raise ValueError(f"more than {_MOST_WORDS} words")
            if word.name == "STOP":
                return self.stack.pop()
            self._follow(word.name, argument)
        raise ValueError("it ends too early")

    def _follow(self, word: str, argument: Any) -> None:
        """Follow a word: put a value on the stack, remember one, or put some together."""
        if word in _VALUES:
            self.stack.append(argument)
        elif word in _CONSTANTS:
            self.stack.append(_CONSTANTS[word]())
        elif word in ("BINPUT", "LONG_BINPUT"):
            self.memory[argument] = self.stack[-1]
        elif word == "MEMOIZE":
            self.memory[len(self.memory)] = self.stack[-1]
        elif word in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memory[argument])
        elif word not in ("PROTO", "FRAME"):
            self._build(word, argument)

    def _build(self, word: str, argument: Any) -> None:
        """Follow a word that puts things on the stack together."""
        if word in _TUPLES:
            items = [self.stack.pop() for _ in range(_TUPLES[word])]
            self.stack.append(tuple(reversed(items)))
        elif word == "TUPLE":
            self.stack.append(tuple(self._to_mark()))
        elif word in ("APPEND", "APPENDS"):
            items = [self.stack.pop()] if word == "APPEND" else self._to_mark()
            _expect(self.stack[-1], list).extend(items)
        elif word in ("SETITEM", "SETITEMS"):
            items = (
                self._to_mark() if word == "SETITEMS" else [self.stack.pop(-2), self.stack.pop()]
            )
            pairs = zip(items[::2], items[1::2], strict=True)
            _expect(self.stack[-1], dict).update({_expect(k, str): v for k, v in pairs})
        elif word == "GLOBAL":
            self.stack.append(_Name(argument))
        elif word == "STACK_GLOBAL":
            name, module = (_expect(self.stack.pop(), str) for _ in range(2))
            self.stack.append(_Name(f"{module} {name}"))
        elif word == "REDUCE":
            arguments = _expect(self.stack.pop(), tuple)
            self.stack.append(_made(_expect(self.stack.pop(), _Name).text, arguments))
        elif word == "BUILD":
            _fill(self.stack[-2], _expect(self.stack.pop(), tuple))
        else:
            raise ValueError(f"it holds more than plain data ({word})")

    def _to_mark(self) -> list[Any]:
        """Take what lies above the last mark, and the mark."""
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


_VALUES = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
    )
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _made(name: str, arguments: tuple[Any, ...]) -> Any:
    """What numpy's own functions make of their arguments; other functions are refused."""
    if name == _ENCODE:
        text, code = arguments
        if code != "latin1":
            raise ValueError(f"bytes in {code!r}")
        return _expect(text, str).encode("latin1")
    if name == _DTYPE:
        return _Dtype(_expect(arguments[0], str))
    if name in _RECONSTRUCT and arguments[0] == _Name(_ARRAY):
        return _Array()
    raise ValueError(f"it calls {name!r}, which is not done")


def _fill(thing: Any, state: tuple[Any, ...]) -> None:
    """Give a type its order of bytes, an array its content."""
    if isinstance(thing, _Dtype):
        thing.order = _expect(state[1], str)
        return
    _, shape, kind, by_columns, content = state
    if _expect(kind, _Dtype).code.startswith("O"):
        _expect(thing, _Array).value = content
    else:
        _expect(thing, _Array).value = _numbers(kind, shape, content, "F" if by_columns else "C")


def _numbers(kind: _Dtype, shape: Any, content: Any, order: Literal["F", "C"]) -> npt.NDArray[Any]:
    if kind.code not in _NUMBERS or kind.order not in "<>|=":
        raise ValueError(f"an array of type {kind.order}{kind.code}")
    for size in _expect(shape, tuple):
        if _expect(size, int) < 0:
            raise ValueError(f"an array of shape {shape}")
    values = np.frombuffer(_expect(content, bytes), np.dtype(f"{kind.order}{kind.code}"))
    if prod(shape) != len(values):
        raise ValueError(f"{len(values)} numbers for an array of shape {shape}")
    return values.reshape(shape, order=order)


def _finished(value: Any) -> Any:
    """The value with arrays of objects as their one object, others as arrays; not deeper."""
    if isinstance(value, _Array):
        value = value.value
        if isinstance(value, list) and len(value) == 1:  # the file's own array, of no dimension
            value = value[0]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [item.value if isinstance(item, _Array) else item for item in value]
    return value.value if isinstance(value, _Array) else value
