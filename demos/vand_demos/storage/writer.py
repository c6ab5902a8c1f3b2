"""From episodes to HDF5.

HDF5 crashes the process when the disk refuses it a write, and a file that it has open for writing
is broken until it is closed. So a data set is never edited: a new file is built in disk space that
was reserved before, and takes the old one's place whole.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode, mismatch, utc_now
from vand_demos.storage.compatibility import require_env_args, require_fits, signature
from vand_demos.storage.decode import (
    child,
    demo_names,
    hdf5_errors,
    open_file,
    read_total,
    steps_of,
)
from vand_demos.storage.layout import (
    BATCH_BYTES,
    BOUNDS,
    CHUNK_BYTES,
    FORMAT,
    FORMAT_VERSION,
    LIBVER,
    NUMBERS,
    RESERVE_BYTES,
    TEXTS,
    demo_number,
    parts_folder,
    require_folder,
    require_new,
)
from vand_demos.system.files import disk_errors, exclusive, file_path, replacing, reserve
from vand_envs.errors import VandError


def encode_episode(
    episode: Episode,
    env_args: Mapping[str, Any],
    *,
    states: bool = True,
    next_observations: bool = True,
) -> bytes:
    """A whole data set with this one episode in it, as the bytes of an HDF5 file.

    Args:
        episode: The episode.
        env_args: The environment that it was recorded in.
        states: Whether to store the states.
        next_observations: Whether to store what was seen after each action.
    """
    with h5py.File("episode", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        _write_header(file, env_args)
        demo = _new_demo(file["data"], "demo_0")
        for path, array in episode.arrays():
            group = path.partition("/")[0]
            if (group != "states" or states) and (group != "next_obs" or next_observations):
                _write_array(demo, path, array)
        for name in (*TEXTS, *NUMBERS, *BOUNDS):
            if (value := getattr(episode, name)) is not None:
                demo.attrs[name] = value
        demo.attrs["versions"] = json.dumps(dict(episode.versions))
        if episode.source:
            demo.attrs["source"] = json.dumps(dict(episode.source))
        demo.attrs["num_samples"] = len(episode)
        file["data"].attrs["total"] = len(episode)
        file.flush()
        return cast("bytes", file.id.get_file_image())


def _write_header(file: Any, env_args: Mapping[str, Any]) -> None:
    """Write what an empty data set holds."""
    file.attrs["format"] = FORMAT
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["created"] = utc_now()
    data = file.create_group("data")
    data.attrs["total"] = 0
    data.attrs["env_args"] = json.dumps(env_args)


def _new_demo(data: Any, name: str) -> Any:
    """An empty group whose attributes lie in its header: a table of them takes some kB."""
    creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    creation.set_attr_phase_change(64, 0)
    return h5py.Group(h5py.h5g.create(data.id, name.encode(), gcpl=creation))


def _write_array(demo: Any, path: str, array: NDArray[Any]) -> None:
    """An array (N, ...) in chunks of whole steps, each compressed without loss."""
    row = array.nbytes // len(array)
    steps = min(len(array), max(1, CHUNK_BYTES // row))
    demo.create_dataset(
        path,
        data=array,
        chunks=(steps, *array.shape[1:]),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
        track_times=False,
    )


@dataclass(frozen=True)
class StoredEpisode:
    """An episode in some HDF5 file, to be copied into another."""

    size: int
    """Room that it may take [bytes]."""
    open: Callable[[], Any]
    """Opens the file."""
    name: str = "demo_0"
    """Name of the episode there."""
    new_name: str | None = None
    """Name that the copy gets; the next free one by default."""

    @classmethod
    def of_bytes(cls, image: bytes) -> "StoredEpisode":
        """The episode in the bytes of a file, as `encode_episode` makes them."""
        return cls(len(image), lambda: h5py.File(io.BytesIO(image), "r"))

    @classmethod
    def of_part(cls, path: Path) -> "StoredEpisode":
        """The one episode of a part file."""
        return cls(path.stat().st_size, lambda: open_file(path))


def create(path: Path, env_args: Mapping[str, Any]) -> None:
    """Make an empty data set at a new path, which nobody else reads yet."""
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=LIBVER) as file:
        _write_header(file, env_args)
        file.flush()
        image = file.id.get_file_image()
    with disk_errors("write", path):
        path.write_bytes(image)


def append(path: Path, sources: Iterable[StoredEpisode]) -> tuple[str, ...]:
    """Copy episodes to the end of a file under construction; compressed data stay as they are.

    Args:
        path: A file that nobody else reads yet.
        sources: The episodes; they get the next free names.

    Returns:
        Their names.

    Raises:
        VandError: A source is damaged, or the disk is full.
    """
    added: list[str] = []
    for batch in _batches(sources):
        with hdf5_errors("write", path):
            reserve(path, path.stat().st_size + sum(s.size for s in batch) + RESERVE_BYTES)
            with h5py.File(path, "r+", libver=LIBVER) as file:
                file.attrs["format_version"] = FORMAT_VERSION  # what is added may need it
                added += _append_batch(file, batch)
    return tuple(added)


def _append_batch(file: Any, batch: Sequence[StoredEpisode]) -> list[str]:
    """Copy episodes into an open file, and return their names."""
    taken = demo_names(file)
    first = demo_number(taken[-1]) + 1 if taken else 0
    names = [source.new_name or f"demo_{first + i}" for i, source in enumerate(batch)]
    for name, source in zip(names, batch, strict=True):
        with source.open() as other:
            other.copy(child(other, f"data/{source.name}", h5py.Group), file["data"], name)
    steps = sum(steps_of(file["data"][name]) for name in names)
    total = read_total(file)
    if type(total) is not int:
        raise VandError(f"data: total: {mismatch('a number of steps', total)}")
    file["data"].attrs["total"] = total + steps
    return names


def _batches(sources: Iterable[StoredEpisode]) -> Iterator[list[StoredEpisode]]:
    """Groups sources so that each group takes about `BATCH_BYTES`."""
    batch: list[StoredEpisode] = []
    for source in sources:
        batch.append(source)
        if sum(s.size for s in batch) > BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def write_splits(path: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Set splits of a file under construction, in place of those of the same name."""
    with hdf5_errors("write", path):
        reserve(path, path.stat().st_size + RESERVE_BYTES)
        with h5py.File(path, "r+", libver=LIBVER) as file:
            group = file.require_group("mask")
            for split, names in splits.items():
                if split in group:
                    del group[split]
                group.create_dataset(split, data=np.array(list(names), "S16"), track_times=False)


@contextmanager
def rewriting(path: Path) -> Iterator[Path]:
    """Hold the lock of a data set and build a new file that takes its place at the end.

    Yields:
        The path to build the new file at.

    Raises:
        VandError: Another process writes the data set, or the disk is full; the old file stays.
    """
    require_folder(path)
    folder = parts_folder(path)
    with exclusive(folder, path), replacing(path, folder) as temporary:
        yield temporary


def write_dataset(
    path: str | Path,
    episodes: Iterable[Episode],
    env_args: Mapping[str, Any],
    splits: Mapping[str, Sequence[int]] | None = None,
    *,
    overwrite: bool = False,
    states: bool = True,
    next_observations: bool = True,
) -> tuple[str, ...]:
    """Write a data set that appears whole or not at all.

    Args:
        path: The file.
        episodes: The episodes; one at a time is held in memory. Named `demo_0`, `demo_1`, ...
        env_args: The environment that they were recorded in.
        splits: Split -> indices of episodes; `train` and `valid` may share none.
        overwrite: Whether to replace a file that exists.
        states: Whether to store the simulation's states.
        next_observations: Whether to store what was seen after each action. It doubles the
            observations' size; readers of single transitions need it, training on whole
            episodes does not.

    Returns:
        The names of the episodes.

    Raises:
        UsageError: The file exists and is not to be replaced, or there is no folder for it.
        VandError: There is no episode, one does not fit the environment or the others, a split
            names one that does not exist, or the disk is full; an old file stays as it was.
    """
    path = file_path(path)
    require_env_args("the environment", env_args)

    def sources() -> Iterator[StoredEpisode]:
        first: Mapping[str, str] = {}
        for episode in episodes:
            require_fits(episode, env_args, first)
            first = first or signature(episode)
            if next_observations and not episode.next_observations:
                raise VandError(f"{episode.label}: next_obs: expected what obs holds, got nothing")
            yield StoredEpisode.of_bytes(
                encode_episode(
                    episode, env_args, states=states, next_observations=next_observations
                )
            )

    with rewriting(path) as temporary:
        require_new(path, overwrite=overwrite)
        create(temporary, env_args)
        names = append(temporary, sources())
        if not names:
            raise VandError(f"{path}: there are no episodes to write")
        if splits:
            write_splits(temporary, _named(splits, names))
    return names


def _named(splits: Mapping[str, Sequence[int]], names: Sequence[str]) -> dict[str, list[str]]:
    """Splits of names, from splits of indices."""
    for split, indices in splits.items():
        for index in indices:
            if not 0 <= index < len(names):
                raise VandError(f"split {split!r}: there is no episode {index}, only {len(names)}")
    both = set(splits.get("train", ())) & set(splits.get("valid", ()))
    if both:
        raise VandError(f"splits 'train' and 'valid' share episode {min(both)}")
    return {split: [names[i] for i in indices] for split, indices in splits.items()}
