"""Damage of any file, and of JSON."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# ------------------------------------------------------------------ damage of any file


def _cut(rng: np.random.Generator, content: bytearray) -> str:
    size = int(rng.integers(0, max(1, len(content))))
    del content[size:]
    return f"cut to {size} bytes"


def _flip(rng: np.random.Generator, content: bytearray) -> str:
    places = rng.integers(0, max(1, len(content)), int(rng.integers(1, 30)))
    for place in places if content else ():
        content[place] ^= 1 << int(rng.integers(8))
    return f"{len(places)} bits flipped"


def _fill(rng: np.random.Generator, content: bytearray) -> str:
    start, size = int(rng.integers(0, max(1, len(content)))), int(rng.choice([16, 256, 4096]))
    filler = int(rng.choice([0, 0xFF, 0x22, 0x5B]))
    part = len(content[start : start + size])
    content[start : start + part] = bytes([filler]) * part
    return f"{part} bytes of {filler} at {start}"


def _noise(rng: np.random.Generator, content: bytearray) -> str:
    content[:] = rng.bytes(int(rng.integers(0, 5000)))
    return "noise"


def damage_bytes(rng: np.random.Generator, file: Path) -> str:
    content = bytearray(file.read_bytes())
    done = [_cut, _flip, _fill, _noise][int(rng.integers(4))](rng, content)
    file.write_bytes(content)
    return f"{file.name}: {done}"


def _pipe(file: Path) -> None:
    os.mkfifo(file)


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _socket(file: Path) -> None:
    here = Path.cwd()
    os.chdir(file.parent)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(file.name)
    os.chdir(here)


_SPECIAL: tuple[Callable[[Path], Any], ...] = (
    _pipe,
    _device,
    _socket,
    lambda file: file.mkdir(),
    lambda file: file.symlink_to(file.name),
    lambda file: file.symlink_to("absent"),
    lambda file: file.write_bytes(b""),
    lambda file: None,
)


def replace_file(rng: np.random.Generator, file: Path) -> str:
    which = int(rng.integers(len(_SPECIAL)))
    file.unlink()
    _SPECIAL[which](file)
    return f"{file.name}: special file {which}"


# ------------------------------------------------------------------ damage of JSON

VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    10**18,
    10**400,
    2.5,
    float("nan"),
    float("inf"),
    1e308,
    -1e308,
    "",
    "x",
    "\ud800",
    "$^$",
    "<iframe srcdoc=x>",
    "x" * 200_000,
    [],
    [1],
    [[]],
    ["\udfff"],
    {},
    {"x": 3},
    {"name": "$^$"},
    "a/../../b",
    "\x00",
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values inside a JSON value; of long lists the first two."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:2]
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


def damage_json(rng: np.random.Generator, file: Path, under: str = "") -> str:
    """Puts another value in place of one, removes one, adds one, or renames one."""
    content = json.loads(file.read_text())
    places = [place for place in _places(content) if not under or place[0] == under]
    place = places[int(rng.integers(len(places)))]
    # shallow places are few and matter as much as the many deep ones
    place = place[: int(rng.integers(1, len(place) + 1))]
    owner = content
    for key in place[:-1]:
        owner = owner[key]
    how = int(rng.integers(10))
    value = VALUES[int(rng.integers(len(VALUES)))]
    if how < 7:
        owner[place[-1]] = value
    elif how == 7:
        del owner[place[-1]]
    elif how == 8 and isinstance(owner, dict):
        owner[str(value)[:50]] = owner.pop(place[-1])
    elif isinstance(owner, dict):
        owner["more"] = value
    else:
        owner.append(value)
    file.write_text(json.dumps(content))
    return f"{file.name}: {'.'.join(map(str, place))}: {how} {value!r:.40}"


TEXTS: tuple[str, ...] = (
    "[" * 100_000,
    '{"a":' * 100_000,
    "[]",
    "3",
    "null",
    '"x"',
    "{}",
    '{"a": 1, "a": 2}',
    "[1e999]",
    "9" * 5000,
    '"\\ud800"',
    "{'a': 1}",
    "\ufeff{}",
)


def foreign_text(rng: np.random.Generator, file: Path) -> str:
    text = TEXTS[int(rng.integers(len(TEXTS)))]
    file.write_text(text, "utf-8")
    return f"{file.name}: {text[:20]!r}"


def damage_text_inside(rng: np.random.Generator, file: Path) -> str:
    """Damages the JSON text that is a value of a JSON file."""
    content = json.loads(file.read_text())
    inner = file.with_name("inner.json")
    inner.write_text(content["vand_robot"])
    what = damage_json(rng, inner)
    content["vand_robot"] = inner.read_text()
    inner.unlink()
    file.write_text(json.dumps(content))
    return what
