"""Records episodes so that a finished one is never lost, and packs them into the data set."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vand_demos.episode import Episode, is_image
from vand_demos.storage.compatibility import (
    Recordings,
    require_compatible,
    require_env_args,
    require_fits,
    signature,
)
from vand_demos.storage.guard import readable, require_readable
from vand_demos.storage.layout import (
    part_files,
    part_uid,
    parts_folder,
    require_folder,
    require_new,
)
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.writer import StoredEpisode, append, create, encode_episode
from vand_demos.system.files import (
    disk_errors,
    exclusive,
    file_path,
    replacing,
    sync,
    write_bytes,
)
from vand_envs.errors import UsageError, VandError

DAMAGED_SUFFIX = ".damaged"
"""Ends the names of part files that cannot be read; they are kept for a person to look at."""


@dataclass(frozen=True)
class RepairReport:
    """Result of packing the parts of a data set."""

    path: Path
    """The data set."""
    episodes: int
    """Episodes in the data set now."""
    recovered: int
    """Episodes that were packed."""
    already_packed: int
    """Part files whose episode was in the data set already; they were removed."""
    damaged: tuple[Path, ...]
    """Part files that cannot be read, under the names that they have now."""


class Recorder:
    """Adds episodes to a data set, each safe on the disk when `save` returns.

    Every episode goes to its own part file; closing packs the parts into the data set. After a
    crash, `repair` or a recorder with `resume=True` finds them. A context manager: the parts are
    packed at the end of the block, whether it ends well or not.

    Args:
        path: The data set.
        env_args: The environment that is recorded: see `DemoDataset.env_args`.
        resume: Whether to continue a data set that exists. Without it, one must not exist.
        states: Whether to store the simulation's states.
        overwrite: Whether to remove a data set that exists and begin a new one.

    Raises:
        UsageError: The data set exists and neither `resume` nor `overwrite` is set, or both are.
        VandError: Another process is writing it, or it is of another robot, action mode, control
            step or set of instructions.
    """

    def __init__(
        self,
        path: str | Path,
        env_args: Mapping[str, Any],
        *,
        resume: bool = False,
        states: bool = True,
        overwrite: bool = False,
    ) -> None:
        if resume and overwrite:
            raise UsageError("add to a data set or replace it by force, not both")
        self.path = file_path(path)
        self.env_args = dict(env_args)
        self._states = states
        self._place = f"one that {self.path} holds already"
        self._folder = parts_folder(self.path)
        require_env_args("the environment", env_args)
        require_folder(self.path)
        with ExitStack() as stack:
            stack.enter_context(exclusive(self._folder, self.path))
            if not resume:
                require_new(self.path, overwrite=overwrite, resumable=True)
                with disk_errors("remove", self.path):
                    self.path.unlink(missing_ok=True)
            self._packed, self._signature = self._survey()
            packed = _packed_uids(self.path)
            waiting = set(map(part_uid, part_files(self.path))) - packed
            self._parts = len(waiting)
            self._recordings = Recordings()
            for uid in packed | waiting:
                self._recordings.add(uid, self._place)
            self._saved: list[tuple[Path, int]] = []  # part and steps, in their order
            self._lock: ExitStack | None = stack.pop_all()

    def __len__(self) -> int:
        """Episodes in the data set, packed or not."""
        return self._packed + self._parts

    def save(self, episode: Episode) -> int:
        """Put an episode on the disk.

        Returns:
            The number of episodes in the data set now.

        Raises:
            VandError: It does not fit the data set or is in it already, or the disk is full;
                nothing is changed then, and the recorder can go on.
        """
        if self._lock is None:
            raise VandError(f"{self.path}: the recorder is closed")
        require_fits(episode, self.env_args, self._signature)
        self._recordings.require_new(episode.uid, episode.label)
        if not (episode.next_observations or all(map(is_image, episode.observations.values()))):
            raise VandError(f"{episode.label}: next_obs: expected what obs holds, got nothing")
        image = encode_episode(episode, self.env_args, states=self._states)
        number = max((_part_number(part) for part in part_files(self.path)), default=-1) + 1
        part = self._folder / f"{number:06d}-{episode.uid}.hdf5"
        write_bytes(part, image)
        self._signature = self._signature or signature(episode)
        self._saved.append((part, len(episode)))
        self._recordings.add(episode.uid, self._place)
        self._parts += 1
        return len(self)

    @property
    def saved(self) -> int:
        """Episodes that this recorder saved and has not taken back."""
        return len(self._saved)

    @property
    def steps(self) -> int:
        """Steps in the episodes that this recorder saved."""
        return sum(steps for _, steps in self._saved)

    def undo(self) -> int:
        """Take back the last episode that this recorder saved; it is off the disk on return.

        Returns:
            The number of episodes in the data set now.

        Raises:
            VandError: There is none, or the disk fails.
        """
        if self._lock is None:
            raise VandError(f"{self.path}: the recorder is closed")
        if not self._saved:
            raise VandError("there is nothing to undo: no episode was saved in this session")
        with disk_errors("remove the last episode of", self.path):
            self._saved[-1][0].unlink()
            sync(self._folder)
        self._recordings.discard(part_uid(self._saved.pop()[0]))
        self._parts -= 1
        if not len(self):
            self._signature = {}
        return len(self)

    def close(self) -> RepairReport:
        """Pack the parts into the data set and let go of it. Closing twice does nothing more.

        Raises:
            VandError: The disk is full, or a part file is damaged; every part that is not in the
                data set stays, and `repair` tries again.
        """
        if self._lock is None:
            return RepairReport(self.path, len(self), 0, 0, ())
        lock, self._lock = self._lock, None
        with lock:
            report = pack(self.path)
            self._packed, self._parts = report.episodes, 0
        if report.damaged:
            raise VandError(f"{report.damaged[0]} cannot be read; the other episodes are packed")
        return report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except VandError as failure:
            if error is None:
                raise
            error.add_note(str(failure))  # what went wrong first is what the user must see

    def _survey(self) -> tuple[int, dict[str, str]]:
        """Number of packed episodes, and the signature of any episode that is there."""
        shape: dict[str, str] = {}
        packed = 0
        for number, path in enumerate((self.path, *part_files(self.path))):
            if not path.exists():
                continue
            with DemoDataset.open(path) as dataset:
                require_compatible(self.env_args, dataset.env_args, str(path))
                packed += len(dataset) if number == 0 else 0
                if not shape and dataset.names:
                    shape = signature(dataset.episode(dataset.names[0]))
        return packed, shape


def repair(path: str | Path) -> RepairReport:
    """Pack what a recording that crashed has left into the data set.

    Raises:
        UsageError: There is neither a data set nor a part of one.
        VandError: Another process is writing it, the data set itself is damaged, or the disk is
            full; the parts stay.
    """
    path = file_path(path)
    if not path.exists() and not part_files(path):
        raise UsageError(f"there is no data set {path}, and no recorded episodes of one")
    with exclusive(parts_folder(path), path):
        if path.exists():
            require_readable(path)
        return pack(path, guarded=True)


def pack(path: Path, *, guarded: bool = False) -> RepairReport:
    """Move the episodes of the part files into the data set; the caller holds its lock.

    The data set is replaced before the parts are removed, so a crash between leaves parts whose
    episodes are packed: they are told by their identity, and only removed.

    Args:
        path: The data set.
        guarded: Whether the part files may be damaged so that HDF5 would crash or hang on them.
    """
    packed = _packed_uids(path)
    parts = part_files(path)
    done = [part for part in parts if part_uid(part) in packed]
    pending = [part for part in parts if part_uid(part) not in packed]
    whole = set(readable(pending) if guarded else pending)
    damaged = tuple(
        _set_aside(part) for part in pending if part not in whole or not _is_sound(part)
    )
    left = [part for part in pending if part.exists()]
    once = {part_uid(part): part for part in reversed(left)}  # the first of copies
    sound = [part for part in left if once[part_uid(part)] == part]
    done += [part for part in left if part not in sound]
    if sound:
        with replacing(path, parts_folder(path)) as temporary:
            _start(temporary, path, sound[0])
            append(temporary, map(StoredEpisode.of_part, sound))
    for part in (*done, *sound):
        part.unlink(missing_ok=True)
    return RepairReport(path, len(packed) + len(sound), len(sound), len(done), damaged)


def _start(temporary: Path, path: Path, part: Path) -> None:
    """Begin the new file as a copy of the data set, or empty where there is none yet."""
    if path.exists():
        with disk_errors("write", path):
            shutil.copyfile(path, temporary)
    else:
        with DemoDataset.open(part) as dataset:
            create(temporary, dataset.env_args)


def _packed_uids(path: Path) -> set[str]:
    """Identities of the episodes in the data set; none where it does not exist yet."""
    if not path.exists():
        return set()
    with DemoDataset.open(path) as dataset:
        return set(dataset.uids.values())


def _part_number(part: Path) -> int:
    number = part.stem.partition("-")[0]
    return int(number) if number.isdecimal() else -1


def _is_sound(part: Path) -> bool:
    """Whether the one episode of a part file can be read and keeps the rules."""
    try:
        with DemoDataset.open(part) as dataset:
            (name,) = dataset.names
            return dataset.episode(name).uid == part_uid(part)
    except (VandError, ValueError):
        return False


def _set_aside(part: Path) -> Path:
    """Rename a part file that cannot be read, so that nothing takes it for an episode."""
    return part.rename(part.with_name(part.name + DAMAGED_SUFFIX))
