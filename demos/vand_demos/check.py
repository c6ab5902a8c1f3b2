"""Checks a data set against every rule of the format, over every array."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py

from vand_demos import dataset as layout
from vand_demos.episode import Episode, EpisodeError
from vand_demos.files import disk_errors
from vand_envs.errors import UsageError, VandError

_MAX_FAULTS = 1000
"""The check stops after this many: a file so broken is not read to the end."""


def check_file(path: str | Path) -> list[str]:
    """Every fault of a data set, one line each; none for a sound one.

    Nothing is read before its declared shape and size have proved sensible; one episode at a time
    is held in memory.

    Raises:
        UsageError: There is no such file.
    """
    path = Path(path).expanduser()
    faults: list[str] = []
    try:
        with layout.open_file(path) as file, disk_errors("read", path):
            for fault in _file_faults(path, file):
                faults.append(" ".join(fault.split()))
                if len(faults) == _MAX_FAULTS:
                    return [*faults, f"and more: the check stopped after {_MAX_FAULTS} faults"]
    except UsageError:
        raise
    except VandError as error:
        faults.append(" ".join(str(error).split()))
    return faults


def _file_faults(path: Path, file: Any) -> Iterator[str]:
    """Faults of the whole file; raises VandError where it cannot go on."""
    yield from _header_faults(file)
    env_args: Mapping[str, Any] | None = None
    try:
        env_args = layout.read_env_args(path, file)
    except VandError as error:
        yield str(error).removeprefix(f"{path}: ")
    names = layout.demo_names(file)
    yield from (f"data/{name}: expected demo_<int>" for name in file["data"] if name not in names)
    if not names:
        yield "data: expected at least one episode, got none"
    first: dict[str, str] = {}
    uids: Counter[str] = Counter()
    steps = 0
    for name in names:
        demo = layout.child(file, f"data/{name}", h5py.Group)
        steps += layout.steps_of(demo)
        yield from (f"{name}: {fault}" for fault in layout.demo_faults(demo))
        try:
            episode = Episode(name=name, **layout.read_demo(demo))
        except EpisodeError as error:
            yield from (f"{name}: {fault}" for fault in error.faults)
            continue
        uids[episode.uid] += 1
        if uids[episode.uid] == 2:
            yield f"{name}: uid: {episode.uid} belongs to another episode too"
        yield from _fit_faults(episode, env_args, first)
        first = first or layout.signature(episode)
    total = layout.read_attribute(file["data"], "total")
    if total != steps:
        yield f"data: total: expected the {steps} steps of all episodes, got {total!r}"
    yield from _mask_faults(file, names)


def _header_faults(file: Any) -> Iterator[str]:
    """Faults of what stands at the top of the file."""
    try:
        layout.require_format(Path(file.filename), file)
    except VandError as error:
        yield str(error)
    if not isinstance(layout.read_attribute(file, "created"), str):
        yield "created: expected ISO 8601 in UTC"
    yield from (f"/{name}: unknown; known: data, mask" for name in file if name not in _TOP)


_TOP = ("data", "mask")


def _fit_faults(
    episode: Episode, env_args: Mapping[str, Any] | None, first: Mapping[str, str]
) -> Iterator[str]:
    """Where an episode differs from its environment or from the first episode."""
    try:
        if env_args is not None:
            layout.require_fits(episode, env_args, first)
    except VandError as error:
        yield str(error)


def _mask_faults(file: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Faults of the masks."""
    masks: dict[str, set[str]] = {}
    if "mask" not in file:
        return
    for key in layout.child(file, "mask", h5py.Group):
        try:
            listed = layout.read_mask(file, key)
        except VandError as error:
            yield str(error)
            continue
        masks[key] = set(listed)
        for name in sorted(masks[key] - set(names)):
            yield f"mask/{key}: {name!r} is no episode of this file"
        for name, count in Counter(listed).items():
            if count > 1:
                yield f"mask/{key}: {name!r} is listed {count} times"
    for name in sorted(masks.get("train", set()) & masks.get("valid", set())):
        yield f"mask: {name!r} is in both train and valid"
