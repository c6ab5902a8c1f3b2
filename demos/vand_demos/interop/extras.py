"""Side-car data that other formats have no place for, and the folder of an export."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.native import NATIVE, bounds_fault, to_unit
from vand_demos.storage.layout import BOUNDS, IMAGE_AXES
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import library_errors, replacing_folder
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_demos.system.limits import require_room
from vand_envs.errors import UsageError, VandError

VERSION = 1
"""Version of the side-car layout."""

MOST_NUMBERS = 10_000_000
"""Bound of the size of a state or of a part of an action."""

_ARRAYS: tuple[str, ...] = ("observations", "next_observations", "actions", "action_parts")
_ARRAYS += ("rewards", "dones", "states", "disturbed", "step_tasks")

Rows = NDArray[Any]


@dataclass(frozen=True)
class Extras:
    """Side-car data of a data set as a whole."""

    version: int
    """`VERSION` of the software that wrote it."""
    env_args: Mapping[str, Any]
    """The environment: see `DemoDataset.env_args`."""
    masks: Mapping[str, Sequence[str]]
    """Split -> names of episodes; the files call splits masks, as HDF5 does."""
    observations: Mapping[str, Sequence[int]]
    """Key -> shape of one step, in the order in which the other format holds them."""
    images: Sequence[str]
    """Those of the keys that are images."""
    action_parts: Mapping[str, int]
    """Part -> size."""
    states: int
    """Size of a state; 0 where none is stored."""

    @classmethod
    def of(cls, dataset: DemoDataset) -> "Extras":
        """Those of a data set that has episodes."""
        first = dataset.episode(dataset.names[0], states=False, next_observations=False)
        states = {dataset.arrays(name).get("states", (0,)) for name in dataset.names}
        return cls(
            version=VERSION,
            env_args=dataset.env_args,
            masks={split: dataset.split(split) for split in dataset.splits},
            observations={key: rows.shape[1:] for key, rows in sorted(first.observations.items())},
            images=sorted(k for k, rows in first.observations.items() if rows.dtype == np.uint8),
            action_parts={part: rows.shape[1] for part, rows in first.action_parts.items()},
            states=max(size for (size,) in states),
        )

    @property
    def vectors(self) -> dict[str, tuple[int, ...]]:
        """Key -> shape of one step, of the observations that are no images."""
        return {k: tuple(shape) for k, shape in self.observations.items() if k not in self.images}

    @property
    def vector_size(self) -> int:
        """Size of one step of all vectors side by side."""
        return sum(math.prod(shape) for shape in self.vectors.values())

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes, place: Path) -> "Extras":
        """From text.

        Raises:
            VandError: It is something else, of a newer version, or a value is of another type.
        """
        record = JsonRecord.of(str(place), parse_json(text, str(place)))
        record.integer("version", VERSION, VERSION)
        env_args, masks = record.record("env_args"), record.record("masks")
        shapes = record.record("observations")
        observations = {key: shapes.integer_list(key, 1) for key in shapes.values}
        images = record.text_list("images")
        for key in images:
            if len(observations.get(key, ())) != IMAGE_AXES:
                raise shapes.mistake(key, "height, width and channels of an image")
        for key, shape in observations.items():
            require_room(f"{place}: observations.{key}", math.prod(shape))
        return cls(
            version=VERSION,
            env_args=env_args.values,
            masks={split: masks.text_list(split) for split in masks.values},
            observations=observations,
            images=images,
            action_parts={
                part: record.record("action_parts").integer(part, 1, MOST_NUMBERS)
                for part in record.record("action_parts").values
            },
            states=record.integer("states", 0, MOST_NUMBERS),
        )


def describe_episode(episode: Episode) -> str:
    """All of an episode but its arrays, as JSON; and of which keys it knows what was seen last."""
    names = (item.name for item in fields(Episode) if item.name not in _ARRAYS)
    plain = {name: _plain(getattr(episode, name)) for name in names}
    seen_last = sorted(episode.next_observations)
    return json.dumps({**plain, _SEEN_LAST: seen_last, _REWARDS: episode.rewards is not None})


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return dict(value) if isinstance(value, Mapping) else value


def build_episode(
    source: str,
    description: object,
    observations: Mapping[str, Rows],
    last: Mapping[str, Rows],
    **arrays: Any,
) -> Episode:
    """An episode from `describe_episode` and its arrays.

    Args:
        source: Where the description is from, for error messages.
        description: As `describe_episode` made it.
        observations: Key -> (N, ...).
        last: Key -> (1, ...): what was seen after the last action. Keys of which the episode never
            knew that are passed over.
        arrays: The other arrays, as an `Episode` takes them.

    Raises:
        VandError: The description is damaged, or the episode breaks a rule.
    """
    what = f"{source}: description"
    if not isinstance(description, str):
        raise VandError(f"{what}: expected a text, got {description!r:.60}")
    record = JsonRecord.of(what, parse_json(description, what))
    seen_last = record.text_list(_SEEN_LAST)
    plain = {k: v for k, v in record.values.items() if k not in (_SEEN_LAST, _REWARDS)}
    names = {item.name for item in fields(Episode) if item.name not in _ARRAYS}
    plain = {**_LATER, **plain}
    for name in sorted(plain.keys() ^ names):
        state = "is missing" if name in names else "is unexpected"
        raise VandError(f"{what}: {name} {state}")
    record.text("name")
    after = {}
    for key in seen_last:
        known = key in observations and key in last
        if not known or observations[key].shape[1:] != last[key].shape[1:]:
            raise VandError(f"observation {key!r} after the last action: there is none before it")
        after[key] = np.concatenate([observations[key][1:], last[key]])
    values: dict[str, Any] = {**plain, **arrays}
    if record.values.get(_REWARDS) is False:
        values["rewards"] = None
    for name in BOUNDS:
        if values[name] is not None:
            values[name] = np.array(record.number_list(name))
    if values["action_mode"] == NATIVE:
        fault = bounds_fault(*(values[name] for name in BOUNDS))
        if fault is not None:
            raise VandError(f"{what}: {fault}")
        values["actions"] = to_unit(values["actions"], *(values[name] for name in BOUNDS))
    return Episode(**values, observations=observations, next_observations=after)


_SEEN_LAST, _REWARDS = "seen_last", "rewards_known"
_LATER: Mapping[str, Any] = {"source": {}, **dict.fromkeys(BOUNDS)}
"""Fields that descriptions by earlier versions lack."""


@contextmanager
def new_folder(out: Path, *libraries: str) -> Iterator[Path]:
    """Make a folder that appears whole or not at all.

    Args:
        out: The folder.
        libraries: Packages that write to it.

    Yields:
        A folder beside it to write to. When the block ends well, it is renamed to `out`; when it
        raises, it is removed.

    Raises:
        UsageError: There is such a file or folder already, or no folder to put it into.
        VandError: The disk is full or fails.
    """
    if out.exists():
        raise UsageError(f"{out} exists already; choose another folder, or remove it")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent} to write {out.name} to")
    with library_errors("write", out, *libraries), replacing_folder(out) as folder:
        yield folder
