"""Checks a data set against every rule of the format, over every array."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from vand_demos.episode import Episode, EpisodeError
from vand_demos.storage.compatibility import require_fits, signature
from vand_demos.storage.decode import (
    child,
    demo_faults,
    demo_names,
    hdf5_errors,
    open_file,
    read_attribute,
    read_demo,
    read_env_args,
    read_mask,
    require_format,
    steps_of,
)
from vand_demos.storage.guard import PATIENCE_S, require_readable
from vand_demos.storage.layout import require_file
from vand_demos.system.files import file_path
from vand_demos.system.isolation import LostProcessError, run_apart
from vand_envs.errors import UsageError, VandError

_MAX_FAULTS = 1000
"""The check stops after this many: a file so broken is not read to the end."""

_MAX_LINE = 400
"""Longer faults are cut [characters]."""


def check_file(path: str | Path, *, patience_s: float = 60.0) -> list[str]:
    """Every fault of a data set, one line each; none for a sound one.

    The file is read in a process of its own: HDF5 itself may crash, or never return, on a file
    whose bytes are damaged, and neither may happen to the caller.

    Args:
        path: The file.
        patience_s: How long one episode may take before the file counts as unreadable [s].

    Raises:
        UsageError: There is no such file.
        VandError: The check itself cannot run.
    """
    path = file_path(path)
    require_file(path)
    faults, place = [], "the head of the file"
    with suppress(VandError):  # what HDF5 refuses to read, the check describes better
        try:
            require_readable(path, min(patience_s, PATIENCE_S))
        except LostProcessError as error:
            return [str(error)]
    try:
        for kind, text in run_apart(
            "vand_demos.storage.check:iterate_check", [str(path)], patience_s=patience_s
        ):
            if kind == "fault":
                faults.append(text)
            else:
                place = text
    except LostProcessError as error:
        faults.append(f"{place}: HDF5 {error}")
    return faults


def iterate_check(path: str | Path) -> Iterator[tuple[str, str]]:
    """Checks a data set in this process, as far as HDF5 lets it.

    Nothing is read before its declared shape and size have proved sensible; one episode at a time
    is held in memory.

    Yields:
        `("fault", line)` for each fault, `("at", name)` before each episode is read.

    Raises:
        UsageError: There is no such file.
    """
    path, count = Path(path), 0
    try:
        with open_file(path) as file, hdf5_errors("read", path):
            for kind, text in _file_messages(path, file):
                yield kind, _one_line(text)
                count += kind == "fault"
                if count == _MAX_FAULTS:
                    yield "fault", f"the check stopped after {_MAX_FAULTS} faults"
                    return
    except UsageError:
        raise
    except VandError as error:
        yield "fault", _one_line(str(error))


def _one_line(text: str) -> str:
    """The text on one line of readable length, whatever a damaged file says."""
    line = " ".join(text.split())
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 3]}..."


def iterate_descriptions(path: str) -> Iterator[str]:
    """Reads all that describes the arrays of a data set, and every text, as far as HDF5 lets it.

    Yields:
        The name of each episode, once its description has been read.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or HDF5 refuses to read it.
    """
    with open_file(Path(path)) as file, hdf5_errors("read", Path(path)):
        _touch("", file)
        data = child(file, "data", h5py.Group) if "data" in file else file
        _touch("", data)
        for name in demo_names(file) if "data" in file else ():
            demo = child(file, f"data/{name}", h5py.Group)
            _touch("", demo)
            demo.visititems(_touch)
            yield name


def iterate_files(*paths: str) -> Iterator[str]:
    """Reads the descriptions of several files, see `iterate_descriptions`.

    Yields:
        Each file, once its description has been read.

    Raises:
        VandError: The next file is not there, or HDF5 refuses to read it.
    """
    for path in paths:
        for _ in iterate_descriptions(path):
            pass
        yield path


def _touch(_: str, item: Any) -> None:
    """Reads what describes a group or an array; the index of an array's chunks is a part of it."""
    for key in item.attrs:
        read_attribute(item, key)
    if isinstance(item, h5py.Dataset):
        item.id.get_storage_size()


def _file_messages(path: Path, file: Any) -> Iterator[tuple[str, str]]:
    """Faults of the whole file and the places where it is read."""
    for fault in _file_faults(path, file):
        yield ("at", fault.name) if isinstance(fault, _Place) else ("fault", fault)


@dataclass(frozen=True)
class _Place:
    """Stands between the faults where an episode begins to be read."""

    name: str


def _file_faults(path: Path, file: Any) -> Iterator[str | _Place]:
    """Faults of the whole file; raises VandError where it cannot go on."""
    yield from _header_faults(file)
    env_args: Mapping[str, Any] | None = None
    try:
        env_args = read_env_args(path, file)
    except VandError as error:
        yield str(error).removeprefix(f"{path}: ")
    names = demo_names(file)
    yield from (f"data/{name}: expected demo_<int>" for name in file["data"] if name not in names)
    if not names:
        yield "data: expected at least one episode, got none"
    first: dict[str, str] = {}
    uids: Counter[str] = Counter()
    steps = 0
    for name in names:
        yield _Place(name)
        demo = child(file, f"data/{name}", h5py.Group)
        steps += steps_of(demo)
        yield from (f"{name}: {fault}" for fault in demo_faults(demo))
        try:
            episode = Episode(name=name, **read_demo(demo))
        except EpisodeError as error:
            yield from (f"{name}: {fault}" for fault in error.faults)
            continue
        uids[episode.uid] += 1
        if uids[episode.uid] == 2:
            yield f"{name}: uid: {episode.uid} belongs to another episode too"
        yield from _fit_faults(episode, env_args, first)
        first = first or signature(episode)
    total = read_attribute(file["data"], "total")
    if total != steps:
        yield f"data: total: expected the {steps} steps of all episodes, got {total!r}"
    yield from _mask_faults(file, names)


def _header_faults(file: Any) -> Iterator[str]:
    """Faults of what stands at the top of the file."""
    try:
        require_format(Path(file.filename), file)
    except VandError as error:
        yield str(error)
    if not isinstance(read_attribute(file, "created"), str):
        yield "created: expected ISO 8601 in UTC"
    yield from (f"/{name}: unknown; known: data, mask" for name in file if name not in _TOP)


_TOP = ("data", "mask")


def _fit_faults(
    episode: Episode, env_args: Mapping[str, Any] | None, first: Mapping[str, str]
) -> Iterator[str]:
    """Where an episode differs from its environment or from the first episode."""
    try:
        if env_args is not None:
            require_fits(episode, env_args, first)
    except VandError as error:
        yield str(error)


def _mask_faults(file: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Faults of the masks."""
    masks: dict[str, set[str]] = {}
    if "mask" not in file:
        return
    for key in child(file, "mask", h5py.Group):
        try:
            listed = read_mask(file, key)
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
