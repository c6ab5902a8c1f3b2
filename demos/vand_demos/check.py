"""Checks a data set against every rule of the format, over every array."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from vand_demos.dataset import (
    child,
    demo_faults,
    demo_names,
    open_file,
    read_attribute,
    read_demo,
    read_env_args,
    read_mask,
    require_file,
    require_fits,
    require_format,
    signature,
    steps_of,
)
from vand_demos.episode import Episode, EpisodeError
from vand_demos.files import disk_errors
from vand_envs.errors import UsageError, VandError

_MAX_FAULTS = 1000
"""The check stops after this many: a file so broken is not read to the end."""


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
    path = Path(path).expanduser()
    require_file(path)
    # The same interpreter and packages, and an argument of our own making: nothing untrusted.
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        faults, place = [], "the head of the file"
        try:
            for kind, text in _messages(process, patience_s):
                if kind == "fault":
                    faults.append(text)
                else:
                    place = text
        except queue.Empty:
            process.kill()
            return [*faults, f"{place}: HDF5 did not come back within {patience_s:g} s"]
        errors = process.stderr.read() if process.stderr else ""
    if process.returncode < 0:
        return [*faults, f"{place}: HDF5 crashed while reading it (signal {-process.returncode})"]
    if process.returncode > 0:
        raise VandError(f"cannot check {path}: {(errors.splitlines() or ['no reason given'])[-1]}")
    return faults


_CHILD = "import sys; from vand_demos.check import report; report(sys.argv[1])"


def report(path: str) -> None:
    """Checks a data set in this process and prints messages: JSON, one a line."""
    for message in iterate_check(Path(path)):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def _messages(process: "subprocess.Popen[str]", patience_s: float) -> Iterator[tuple[str, str]]:
    """What the other process says; raises queue.Empty where it says nothing for too long."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=listen, daemon=True).start()
    while (line := lines.get(timeout=patience_s)) is not None:
        kind, text = json.loads(line)
        yield kind, text


def iterate_check(path: Path) -> Iterator[tuple[str, str]]:
    """Checks a data set in this process, as far as HDF5 lets it.

    Nothing is read before its declared shape and size have proved sensible; one episode at a time
    is held in memory.

    Yields:
        `("fault", line)` for each fault, `("at", name)` before each episode is read.

    Raises:
        UsageError: There is no such file.
    """
    count = 0
    try:
        with open_file(path) as file, disk_errors("read", path):
            for kind, text in _file_messages(path, file):
                yield kind, " ".join(text.split())
                count += kind == "fault"
                if count == _MAX_FAULTS:
                    yield "fault", f"the check stopped after {_MAX_FAULTS} faults"
                    return
    except UsageError:
        raise
    except VandError as error:
        yield "fault", " ".join(str(error).split())


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
