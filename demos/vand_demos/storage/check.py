"""Checks a data set against every rule of the format, over every array."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from vand_demos.episode import Episode, EpisodeError, mismatch
from vand_demos.storage.compatibility import require_fits, reward_fault, signature
from vand_demos.storage.decode import (
    demo_faults,
    demo_group,
    demo_names,
    hdf5_errors,
    open_file,
    read_attribute,
    read_demo,
    read_env_args,
    read_split,
    read_total,
    require_format,
    split_names,
    steps_of,
    stored_arrays,
    stray_faults,
)
from vand_demos.storage.guard import PATIENCE_S, require_readable
from vand_demos.storage.layout import require_file
from vand_demos.storage.splits import TRAIN, VALID
from vand_demos.system.files import file_path
from vand_demos.system.isolation import LostProcessError, run_apart
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import DEFAULT_ROBOT

_MAX_FAULTS = 100
"""The check stops after this many: a file so broken is not read to the end."""

_MAX_LINE = 400
"""Longer faults are cut [characters]."""

_Message = tuple[Literal["fault", "at"], str]
"""A fault, or the name of the episode that is read next."""


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


def iterate_check(path: str | Path) -> Iterator[_Message]:
    """Check a data set in this process, as far as HDF5 lets it.

    Nothing is read before its declared shape and size have proved sensible; one episode at a time
    is held in memory. Of a file that is of another format, nothing but that is said.

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


def _file_messages(path: Path, file: Any) -> Iterator[_Message]:
    """Faults of the whole file, and where it is read; raises VandError where it cannot go on."""
    require_format(path, file)
    if not isinstance(read_attribute(file, "created"), str):
        yield "fault", "created: expected ISO 8601 in UTC"
    for fault in stray_faults(file):
        yield "fault", fault
    env_args: Mapping[str, Any] | None = None
    try:
        env_args = read_env_args(path, file)
    except VandError as error:
        yield "fault", str(error).removeprefix(f"{path}: ")
    names = demo_names(file)
    if not names:
        yield "fault", "data: expected at least one episode, got none"
    yield from _episode_messages(file, names, env_args)
    steps = sum(steps_of(demo_group(file, name)) for name in names)
    total = read_total(file)
    if total != steps:
        yield "fault", f"data: total: {mismatch(f'the {steps} steps of all episodes', total)}"
    for fault in _split_faults(file, names):
        yield "fault", fault


def _episode_messages(
    file: Any, names: tuple[str, ...], env_args: Mapping[str, Any] | None
) -> Iterator[_Message]:
    """Faults of the episodes, each by itself and beside the first one."""
    first: dict[str, str] = {}
    uids: Counter[str] = Counter()
    robot = DEFAULT_ROBOT.name if env_args is None else str(env_args["env_kwargs"]["robot"])
    for name in names:
        yield "at", name
        demo = demo_group(file, name)
        arrays = stored_arrays(demo)
        for fault in demo_faults(demo, arrays):
            yield "fault", f"{name}: {fault}"
        try:
            episode = Episode(name=name, robot=robot, **read_demo(demo, arrays))
        except EpisodeError as error:
            for fault in error.faults:
                yield "fault", f"{name}: {fault}"
            continue
        uids[episode.uid] += 1
        if uids[episode.uid] == 2:
            yield "fault", f"{name}: uid: {episode.uid} belongs to another episode too"
        if (lack := reward_fault(episode)) is not None:
            yield "fault", f"{name}: {lack}"
        try:
            if env_args is not None:
                require_fits(episode, env_args, first)
        except VandError as error:
            yield "fault", str(error)
        first = first or signature(episode)


def _split_faults(file: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Faults of the splits, which the file calls masks."""
    splits: dict[str, set[str]] = {}
    for split in split_names(file):
        try:
            listed = read_split(file, split)
        except VandError as error:
            yield str(error)
            continue
        splits[split] = set(listed)
        for name in sorted(splits[split] - set(names)):
            yield f"mask/{split}: {name!r} is no episode of this file"
        for name, count in Counter(listed).items():
            if count > 1:
                yield f"mask/{split}: {name!r} is listed {count} times"
    for name in sorted(splits.get(TRAIN, set()) & splits.get(VALID, set())):
        yield f"mask: {name!r} is in both train and valid"
