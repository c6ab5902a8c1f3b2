"""Differences of two data sets: two recordings of the same seeds are equal, bit for bit."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.machine import likely_reason

MAY_DIFFER = ("uid", "recorded_at", "versions")
"""Attributes of an episode that differ between two recordings: its identifier, its time, and what
software and machine made it, which is named as the reason where something else differs."""

MOST_DIFFERENCES = 100
"""The comparison stops after so many."""


@dataclass(frozen=True)
class Difference:
    """A place where two data sets differ."""

    place: str
    """Where: `demo_3: obs/ee_pos`."""
    words: str
    """What differs, and by how much."""


@dataclass(frozen=True)
class DataSetDifferences:
    """What a comparison of two data sets found."""

    differences: tuple[Difference, ...]
    """In the order of the file; none where the files are equal."""
    episodes: int
    """Episodes that were compared."""
    reason: str
    """The likely reason, in words; empty where nothing differs."""


def compare_datasets(
    first: str | Path,
    second: str | Path,
    progress: Callable[[int, int], None] | None = None,
) -> DataSetDifferences:
    """Compare two data sets, episode by episode in their order, bit for bit.

    Identifiers of episodes and times are left out. Two episodes at a time are held in memory.

    Args:
        first: A data set.
        second: The data set that it is compared with.
        progress: Called with the episodes compared and all of them.

    Raises:
        UsageError: There is no such file.
        VandError: A file cannot be read.
    """
    found: list[Difference] = []
    versions: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    compared = 0
    with (
        DemoDataset.open(first, guarded=True) as one,
        DemoDataset.open(second, guarded=True) as other,
    ):
        found += _heads(one, other)
        for name, same in zip_longest(one.names, other.names):
            if name is None or same is None:
                left = len(one) if same is None else len(other)
                found.append(Difference(str(name or same), f"only one file has it, of {left}"))
                break
            compared += 1
            if progress is not None:
                progress(compared, len(one))
            mine, theirs = one.episode(name), other.episode(same)
            differences = list(_episodes(name if name == same else f"{name}, {same}", mine, theirs))
            if differences:
                _note(versions, mine.versions)
                _note(others, theirs.versions)
            found += differences
            if len(found) > MOST_DIFFERENCES:
                found = [*found[:MOST_DIFFERENCES], Difference("", "and more; not compared on")]
                break
    reason = likely_reason(_joined(versions), _joined(others)) if found and compared else ""
    return DataSetDifferences(tuple(found), compared, reason)


def _note(found: dict[str, set[str]], facts: Mapping[str, str]) -> None:
    for name, value in facts.items():
        found.setdefault(name, set()).add(value)


def _joined(found: Mapping[str, set[str]]) -> dict[str, str]:
    return {name: ", ".join(sorted(values)) for name, values in found.items()}


def _heads(one: DemoDataset, other: DemoDataset) -> Iterator[Difference]:
    """Differences outside the episodes."""
    if one.env_args != other.env_args:
        yield Difference("env_args", _values(dict(one.env_args), dict(other.env_args)))
    for split in dict.fromkeys((*one.splits, *other.splits)):
        mine = one.split(split) if split in one.splits else None
        theirs = other.split(split) if split in other.splits else None
        if mine != theirs:
            yield Difference(f"mask/{split}", _values(mine, theirs))


def _episodes(label: str, mine: Episode, theirs: Episode) -> Iterator[Difference]:
    """Differences of two episodes."""
    arrays = (dict(mine.arrays()), dict(theirs.arrays()))
    for path in dict.fromkeys((*arrays[0], *arrays[1])):
        a, b = arrays[0].get(path), arrays[1].get(path)
        if a is None or b is None:
            yield Difference(f"{label}: {path}", "only one file has it")
        elif (words := _arrays(a, b)) is not None:
            yield Difference(f"{label}: {path}", words)
    for name, value in vars(mine).items():
        plain = isinstance(value, str | int | float | bool)
        if plain and name not in (*MAY_DIFFER, "name") and value != getattr(theirs, name):
            yield Difference(f"{label}: {name}", _values(value, getattr(theirs, name)))


def _arrays(a: NDArray[Any], b: NDArray[Any]) -> str | None:
    """How two arrays differ; None: they do not."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
    if a.tobytes() == b.tobytes():
        return None
    if a.dtype == np.bool_:
        off = a != b
        most = ""
    else:
        gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
        off = (a != b) & ~(np.isnan(a) & np.isnan(b))
        most = f" by up to {float(np.max(gap[off], initial=0.0)):.3g}"
    if not off.any():
        return "differs in the sign of a zero"
    steps = off.reshape(len(off), -1).any(axis=1)
    first = int(np.flatnonzero(steps)[0])
    return f"{int(off.sum())} of {off.size} numbers differ{most}, from step {first} on"


def _values(a: object, b: object) -> str:
    def text(value: object) -> str:
        return json.dumps(value, default=str) if isinstance(value, dict) else repr(value)

    return f"{text(a):.200} and {text(b):.200}"
