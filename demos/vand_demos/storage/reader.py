"""A data set open for reading."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import OPTIONAL, Episode, EpisodeError, Unreadable, array_faults
from vand_demos.storage.decode import (
    child,
    demo_group,
    demo_names,
    find_array,
    hdf5_errors,
    open_file,
    read_attribute,
    read_columns,
    read_demo,
    read_env_args,
    read_split,
    require_format,
    sensible_steps,
    split_names,
    steps_of,
    stored_arrays,
)
from vand_demos.storage.guard import NOTED_CHARACTERS, require_readable
from vand_demos.storage.layout import (
    ATTRIBUTES,
    GROUPS,
    IMAGE_AXES,
    OBJECT_BYTES,
    part_files,
    part_uid,
    require_file,
)
from vand_demos.storage.writer import StoredEpisode
from vand_demos.system.files import file_path
from vand_envs.errors import VandError, unknown_name


@dataclass(frozen=True, eq=False)
class DemoDataset:
    """A data set open for reading; episodes are read when they are asked for.

    Made by `DemoDataset.open`; a context manager, closed at the end of the block.
    """

    path: Path
    """The file."""
    env_args: Mapping[str, Any]
    """`env_name`, `env_version`, `type`, `env_kwargs`: what rebuilds the environment."""
    names: tuple[str, ...]
    """Names of the episodes, `demo_<int>`, by number."""
    total: int
    """Number of steps of all episodes together."""
    file: Any
    """The open h5py.File."""
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    """(episode, attribute) -> value, of those that were read already."""

    @classmethod
    def open(cls, path: str | Path, *, guarded: bool = False) -> Self:
        """Open a data set.

        Args:
            path: The file.
            guarded: Whether another process makes sure first that HDF5 will neither crash nor hang
                on it: for files that come from elsewhere, or that a bad disk may have damaged.

        Raises:
            UsageError: There is no such file.
            VandError: It is no data set, is damaged, or is of a newer format.
        """
        path = file_path(path)
        require_file(path)
        notes = require_readable(path) if guarded else {}
        file = open_file(path)
        try:
            with hdf5_errors("read", path):
                require_format(path, file)
                names = demo_names(file)
                known = {
                    (name, key): value
                    for name in names
                    for key, value in notes.get(name, {}).items()
                }
                total = sum(
                    sensible_steps(known.get((name, "num_samples")))
                    or steps_of(demo_group(file, name))
                    for name in names
                )
                return cls(path, read_env_args(path, file), names, total, file, known)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        """Whether there is an episode of this name."""
        return name in self._name_set

    @cached_property
    def _name_set(self) -> frozenset[str]:
        return frozenset(self.names)

    def __iter__(self) -> Iterator[Episode]:
        """Every episode, one at a time."""
        return (self.episode(name) for name in self.names)

    def episode(
        self,
        name: str,
        keys: Sequence[str] | None = None,
        *,
        states: bool = True,
        next_observations: bool = True,
        images: bool = True,
    ) -> Episode:
        """Read one episode.

        Args:
            name: `demo_<int>`.
            keys: The observations to read; all by default.
            states: Whether to read the states, where the data set has them.
            next_observations: Whether to read what was seen after each action.
            images: Whether images are among the observations that are read by default. They take
                many times the memory of all else.

        Raises:
            UsageError: There is no such episode, or no such observation.
            VandError: It cannot be read, or breaks a rule.
        """
        if name not in self:
            raise unknown_name("episode", name, self.names)
        with hdf5_errors(f"read {name} of", self.path):
            demo = demo_group(self.file, name)
            for key in keys or ():
                if key not in demo["obs"]:
                    raise unknown_name("observation key", key, demo["obs"])
            if keys is None and not images:
                shapes = self.observation_shapes(name)
                keys = [key for key, shape in shapes.items() if len(shape) != IMAGE_AXES]
            arrays = stored_arrays(
                demo,
                lambda group, key: (
                    (group != "next_obs" or next_observations)
                    and (key != "states" or states)
                    and (keys is None or group not in ("obs", "next_obs") or key in keys)
                ),
            )
            values = read_demo(demo, arrays)
        try:
            kwargs = self.env_args["env_kwargs"]
            return Episode(
                name=name, robot=kwargs["robot"], scene=kwargs.get("scene", ""), **values
            )
        except EpisodeError as error:
            raise VandError(f"{self.path}: {error}") from error

    def columns(self, name: str, paths: Sequence[str]) -> list[NDArray[np.float32]]:
        """Arrays of an episode that are float32 numbers, (N, .) each, checked as `Episode` does.

        Faster than `episode` where little of it is needed: nothing else is read or checked.

        Args:
            name: `demo_<int>`.
            paths: `"actions"`, `"obs/ee_pos"`, ...

        Raises:
            VandError: The episode lacks one, or it breaks a rule.
        """
        read = self.read_arrays(name, paths)
        steps = len(read[0])
        for path, array in zip(paths, read, strict=True):
            faults = list(array_faults(path, array, steps, ()))
            if not faults and array.ndim != 2:
                faults = [f"{path}: expected 2 axes, got shape {array.shape}"]
            if faults:
                raise VandError(f"{self.path}: {EpisodeError(name, faults)}")
        return read

    def read_arrays(self, name: str, paths: Sequence[str]) -> list[NDArray[Any]]:
        """Several arrays of an episode as they are, without a check of their numbers.

        Raises:
            VandError: The episode lacks one, or it cannot be read.
        """
        with hdf5_errors(f"read {name} of", self.path):
            demo = demo_group(self.file, name)
            read = read_columns(demo, paths, self._steps(name) or steps_of(demo))
        for path, array in zip(paths, read, strict=True):
            if isinstance(array, Unreadable):
                raise VandError(f"{self.path}: {name}: {path}: {array.reason}")
        return [array for array in read if not isinstance(array, Unreadable)]

    def _steps(self, name: str) -> int:
        """The declared number of steps of an episode, as far as it is known already; else 0."""
        return sensible_steps(self._known.get((name, "num_samples")))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks that are demonstrated, sorted."""
        return tuple(sorted({str(self.attribute(name, "task")) for name in self.names}))

    def array(self, name: str, path: str) -> NDArray[Any]:
        """One array of an episode, such as `"actions"` or `"obs/ee_pos"`, without the others.

        Raises:
            VandError: The episode lacks it, or it cannot be read.
        """
        return self.read_arrays(name, [path])[0]

    def arrays(self, name: str) -> dict[str, tuple[int, ...]]:
        """Path of every array of an episode -> shape of one step."""
        found: dict[str, tuple[int, ...]] = {}

        def note(path: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape:
                found[path] = item.shape[1:]

        with hdf5_errors(f"read {name} of", self.path):
            demo_group(self.file, name).visititems(note)
        return found

    def step_shape(self, name: str, path: str) -> tuple[int, ...] | None:
        """Shape of one step of an array such as `"obs/head_rgb"`; None where there is none."""
        with hdf5_errors(f"read {name} of", self.path):
            array = find_array(demo_group(self.file, name), path)
            return None if array is None or not array.shape else array.shape[1:]

    def observation_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Observation key -> shape of one step: (d,), or (H, W, 3) for images."""
        arrays = self.arrays(name).items()
        return {path.removeprefix("obs/"): s for path, s in arrays if path.startswith("obs/")}

    def digest(self, name: str, path: str) -> str:
        """Hash of one array of an episode as it is stored, read piece by piece.

        Raises:
            VandError: The episode lacks it, or it cannot be read.
        """
        digest = sha256()
        with hdf5_errors(f"read {name} of", self.path):
            stored = child(self.file, f"data/{name}/{path}", h5py.Dataset).id
            for i in range(stored.get_num_chunks()):
                _, chunk = stored.read_direct_chunk(stored.get_chunk_info(i).chunk_offset)
                digest.update(chunk)
        return digest.hexdigest()

    def source(self, name: str, new_name: str | None = None) -> "StoredEpisode":
        """An episode, to be copied into another file."""
        with hdf5_errors(f"read {name} of", self.path):
            demo = demo_group(self.file, name)
            paths = self.arrays(name)
            size = sum(demo[path].id.get_storage_size() for path in paths)
            texts = sum(demo.attrs.get_id(key).get_storage_size() for key in demo.attrs)
        texts += len(self.attribute(name, "model_file") or "")
        room = size + texts + OBJECT_BYTES * (len(paths) + len(GROUPS) + 1)
        return StoredEpisode(room, lambda: open_file(self.path), name, new_name)

    def attribute(self, name: str, key: str) -> Any:
        """One attribute of an episode (`"task"`, `"success"`, ...) without its arrays.

        Returns:
            Its value; None where it is one of `OPTIONAL` and unknown, or the source of what was
            recorded here.

        Raises:
            VandError: The episode lacks it, or it is of a wrong kind.
        """
        if (name, key) in self._known:
            return self._known[name, key]
        value = self._attribute(name, key)
        if not isinstance(value, str) or len(value) <= NOTED_CHARACTERS:
            self._known[name, key] = value
        return value

    def _attribute(self, name: str, key: str) -> Any:
        """As `attribute`, of the file."""
        with hdf5_errors(f"read {name} of", self.path):
            demo = demo_group(self.file, name)
            foreign = "source" in demo.attrs
            if key not in demo.attrs and ((key in OPTIONAL and foreign) or key == "source"):
                return None
            value = read_attribute(demo, key)
        if isinstance(value, Unreadable):
            raise VandError(f"{self.path}: {name}: {key}: {value.reason}")
        if key in ATTRIBUTES and type(value) not in ATTRIBUTES[key]:
            kinds = " or ".join(kind.__name__ for kind in ATTRIBUTES[key])
            raise VandError(f"{self.path}: {name}: {key}: expected {kinds}, got {value!r:.60}")
        return value

    def told(self, name: str) -> tuple[str, ...]:
        """The tasks that the robot is told in an episode, in their order; the last is its task.

        Raises:
            VandError: As `step_tasks`.
        """
        tasks = self.step_tasks(name)
        if tasks is None:
            return (str(self.attribute(name, "task")),)
        known = self.env_args["env_kwargs"]["instructions"]
        begun = np.flatnonzero(np.diff(tasks, prepend=-1))  # first step of each
        return tuple(known[tasks[step]] for step in begun)

    def step_tasks(self, name: str) -> NDArray[np.int64] | None:
        """The task of each step (N,), see `Episode.step_tasks`; None where it never changes.

        Raises:
            VandError: It is none of the data set's instructions, or cannot be read.
        """
        if self.step_shape(name, "step_tasks") is None:
            return None
        tasks = self.array(name, "step_tasks")
        count = len(self.env_args["env_kwargs"]["instructions"])
        sound = tasks.dtype == np.int64 and tasks.ndim == 1 and len(tasks)
        if not (sound and tasks.min() >= 0 and tasks.max() < count):
            raise VandError(
                f"{self.path}: {name}: step_tasks: expected 0 to {count - 1} (instructions)"
            )
        return tasks

    @property
    def uids(self) -> dict[str, str]:
        """Name of each episode -> identity of the recording, the same wherever it is copied."""
        return {name: self.attribute(name, "uid") for name in self.names}

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, such as `"train"`, sorted; the file calls them masks."""
        with hdf5_errors("read the masks of", self.path):
            return split_names(self.file)

    def split(self, split: str) -> tuple[str, ...]:
        """Names of the episodes of a split such as `"train"`, by number.

        Raises:
            UsageError: There is no such split.
            VandError: It is damaged, or names an episode that does not exist.
        """
        if split not in self.splits:
            raise unknown_name("split", split, self.splits)
        with hdf5_errors(f"read mask {split!r} of", self.path):
            names = read_split(self.file, split)
        for name in names:
            if name not in self:
                raise VandError(f"{self.path}: mask/{split} names {name!r}, which is missing")
        return names

    @property
    def unassigned(self) -> tuple[str, ...]:
        """Names of the episodes in neither `train` nor `valid`, where there are both splits."""
        if not {"train", "valid"} <= set(self.splits):
            return ()
        assigned = {*self.split("train"), *self.split("valid")}
        return tuple(name for name in self.names if name not in assigned)

    @property
    def pending_parts(self) -> int:
        """Number of episodes recorded but not packed into the file: `repair` packs them."""
        packed = set(self.uids.values())
        return sum(part_uid(part) not in packed for part in part_files(self.path))
