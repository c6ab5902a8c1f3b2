"""The HDF5 layout of a demonstration file: reading and writing it. No other module knows it.

The layout is robomimic's, with attributes of ours beside it. HDF5 crashes the process when the disk
refuses it a write, and a file that it has open for writing is broken until it is closed. So it
never edits a data set: it builds a new file in disk space that was reserved before, and that file
takes the old one's place whole.
"""

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode, EpisodeError, Unreadable, utc_now
from vand_demos.storage.guard import require_readable
from vand_demos.system.files import disk_errors, exclusive, file_path, replacing, reserve
from vand_envs.errors import UsageError, VandError, unknown_name

FORMAT = "vand-robot-demos"
FORMAT_VERSION = 1

PARTS_SUFFIX = ".parts"
"""`<name>.hdf5.parts/` holds the episodes that are not packed into `<name>.hdf5` yet."""

_LIBVER = ("v110", "v110")
"""Written for HDF5 1.10 or newer: older structures cost 2.7 kB for every array, more than most
arrays of an episode hold."""

_CHUNK_BYTES = 1 << 20
"""Chunks are whole steps, at most about this much before compression [bytes]."""

_MAX_CHUNK_BYTES = 1 << 28
"""A declared chunk above this is refused: one is decompressed in memory at a time [bytes]."""

_MAX_ARRAY_BYTES = 1 << 32
"""A declared array above this is refused [bytes]."""

_MAX_EXPANSION = 1100
"""Deflate shrinks nothing by more than 1032: an array that declares more was never written."""

_FREE_BYTES = 1 << 20
"""An array that declares less than this is read whatever it takes on the disk [bytes]."""

_MAX_TEXT_BYTES = 1 << 26
"""A declared text above this is refused [bytes]."""

_RESERVE_BYTES = 1 << 20
"""Room for names, masks and tables when a file is built, besides its episodes [bytes]."""

_OBJECT_BYTES = 1 << 12
"""Room for the description of one array or group, well above what it takes [bytes]."""

_BATCH_BYTES = 1 << 26
"""Episodes are added to a file under construction in batches of about this much [bytes]."""

_IMAGE_AXES = 3
"""Axes of one step of an image observation, (H, W, 3); of any other it has one."""

_DEMO = re.compile(r"demo_(0|[1-9][0-9]{0,8})")

_GROUPS = {"action_dict": "action_parts", "obs": "observations", "next_obs": "next_observations"}
_ARRAYS = ("actions", "states", "rewards", "dones")
_TEXTS = ("task", "instruction", "device", "action_mode", "model_file", "recorded_at", "uid")
_ENV_KWARGS = ("robot", "action_mode", "control_dt_s", "instructions")


def parts_folder(path: Path) -> Path:
    """Where the episodes of a data set wait until they are packed; also where its lock is."""
    return path.with_name(path.name + PARTS_SUFFIX)


# ---------------------------------------------------------------------------------- reading


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

    @classmethod
    def open(cls, path: str | Path, *, guarded: bool = False) -> Self:
        """Opens a data set.

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
        if guarded:
            require_readable(path)
        file = open_file(path)
        try:
            with disk_errors("read", path):
                require_format(path, file)
                names = demo_names(file)
                total = sum(steps_of(child(file, f"data/{name}", h5py.Group)) for name in names)
                return cls(path, read_env_args(path, file), names, total, file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """Closes the file."""
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
        """Reads one episode.

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
        if name not in self.names:
            raise unknown_name("episode", name, self.names)
        with disk_errors(f"read {name} of", self.path):
            demo = child(self.file, f"data/{name}", h5py.Group)
            for key in keys or ():
                if key not in demo["obs"]:
                    raise unknown_name("observation key", key, demo["obs"])
            if keys is None and not images:
                shapes = self.observation_shapes(name)
                keys = [key for key, shape in shapes.items() if len(shape) != _IMAGE_AXES]
            values = read_demo(
                demo,
                want=lambda group, key: (
                    (group != "next_obs" or next_observations)
                    and (key != "states" or states)
                    and (keys is None or group not in ("obs", "next_obs") or key in keys)
                ),
            )
        try:
            return Episode(name=name, **values)
        except EpisodeError as error:
            raise VandError(f"{self.path}: {error}") from error

    @property
    def tasks(self) -> tuple[str, ...]:
        """Ids of the tasks that are demonstrated, sorted."""
        return tuple(sorted({str(self.attribute(name, "task")) for name in self.names}))

    def array(self, name: str, path: str) -> NDArray[Any]:
        """One array of an episode, such as `"actions"` or `"obs/ee_pos"`, without the others.

        Raises:
            VandError: The episode lacks it, or it cannot be read.
        """
        group, _, key = f"data/{name}/{path}".rpartition("/")
        with disk_errors(f"read {name} of", self.path):
            steps = steps_of(child(self.file, f"data/{name}", h5py.Group))
            value = read_array(child(self.file, group, h5py.Group), key, steps)
        if isinstance(value, Unreadable):
            raise VandError(f"{self.path}: {name}: {path}: {value.reason}")
        return value

    def arrays(self, name: str) -> dict[str, tuple[int, ...]]:
        """Path of every array of an episode -> shape of one step."""
        found: dict[str, tuple[int, ...]] = {}

        def note(path: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset) and item.shape:
                found[path] = item.shape[1:]

        with disk_errors(f"read {name} of", self.path):
            child(self.file, f"data/{name}", h5py.Group).visititems(note)
        return found

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
        with disk_errors(f"read {name} of", self.path):
            stored = child(self.file, f"data/{name}/{path}", h5py.Dataset).id
            for i in range(stored.get_num_chunks()):
                _, chunk = stored.read_direct_chunk(stored.get_chunk_info(i).chunk_offset)
                digest.update(chunk)
        return digest.hexdigest()

    def source(self, name: str, new_name: str | None = None) -> "Source":
        """An episode, to be copied into another file."""
        with disk_errors(f"read {name} of", self.path):
            demo = child(self.file, f"data/{name}", h5py.Group)
            size = sum(demo[path].id.get_storage_size() for path in self.arrays(name))
            texts = sum(demo.attrs.get_id(key).get_storage_size() for key in demo.attrs)
            texts += len(read_attribute(demo, "model_file"))
        room = size + texts + _OBJECT_BYTES * (len(self.arrays(name)) + len(_GROUPS) + 1)
        return Source(room, lambda: open_file(self.path), name, new_name)

    def attribute(self, name: str, key: str) -> Any:
        """One attribute of an episode (`"task"`, `"success"`, ...) without its arrays.

        Raises:
            VandError: The episode lacks it, or it is of a wrong kind.
        """
        with disk_errors(f"read {name} of", self.path):
            value = read_attribute(self.file[f"data/{name}"], key)
        if isinstance(value, Unreadable):
            raise VandError(f"{self.path}: {name}: {key}: {value.reason}")
        return value

    @property
    def filter_keys(self) -> tuple[str, ...]:
        """Names of the masks, sorted."""
        with disk_errors("read the masks of", self.path):
            return tuple(sorted(self.file["mask"])) if "mask" in self.file else ()

    def mask(self, filter_key: str) -> tuple[str, ...]:
        """Names of the episodes of a mask such as `"train"`, by number.

        Raises:
            UsageError: There is no such mask.
            VandError: It is damaged, or names an episode that does not exist.
        """
        if filter_key not in self.filter_keys:
            raise unknown_name("filter key", filter_key, self.filter_keys)
        with disk_errors(f"read mask {filter_key!r} of", self.path):
            names = read_mask(self.file, filter_key)
        for name in names:
            if name not in self.names:
                raise VandError(f"{self.path}: mask/{filter_key} names {name!r}, which is missing")
        return names

    @property
    def in_no_mask(self) -> tuple[str, ...]:
        """Names of the episodes in neither `train` nor `valid`, where there are both masks."""
        if not {"train", "valid"} <= set(self.filter_keys):
            return ()
        masked = {*self.mask("train"), *self.mask("valid")}
        return tuple(name for name in self.names if name not in masked)

    @property
    def pending_parts(self) -> int:
        """Number of episodes recorded but not packed into the file: `repair` packs them."""
        packed = {self.attribute(name, "uid") for name in self.names}
        return sum(part_uid(part) not in packed for part in part_files(self.path))


def require_file(path: Path) -> None:
    """Checks that there is a file to open.

    Raises:
        UsageError: There is none; the line tells whether episodes of it wait to be packed.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a data set")
    if not path.exists():
        waiting = len(part_files(path))
        hint = (
            f"; {waiting} recorded episodes wait to be packed: vand-robot demos repair {path}"
            if waiting
            else ""
        )
        raise UsageError(f"there is no data set {path}{hint}")


def open_file(path: Path) -> Any:
    """An HDF5 file opened for reading, as h5py.File.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or is damaged.
    """
    require_file(path)
    with disk_errors("open", path):
        if not h5py.is_hdf5(path):
            raise VandError(f"{path} is no HDF5 file")
        return h5py.File(path, "r", locking=False)  # readers need none: files are only replaced


def part_files(path: Path) -> list[Path]:
    """The part files of a data set, in the order of recording."""
    return sorted(parts_folder(path).glob("*.hdf5"))


def waiting_note(path: str | Path) -> str:
    """A line on the episodes that were recorded for a data set and are not in it; else empty."""
    path = file_path(path)
    waiting = len(part_files(path)) if path.is_file() else 0
    if not waiting:
        return ""
    return (
        f"note: {waiting} recorded episodes wait beside {path} and are not in it yet; unless"
        f" somebody is recording, run: vand-robot demos repair {path}"
    )


def part_uid(part: Path) -> str:
    """The identity of the episode in a part file, from its name `<number>-<uid>.hdf5`."""
    return part.stem.rpartition("-")[2]


def demo_names(file: Any) -> tuple[str, ...]:
    """Names of the children of /data that are episodes, by number."""
    names = [name for name in child(file, "data", h5py.Group) if _DEMO.fullmatch(name)]
    return tuple(sorted(names, key=_number))


def _number(name: str) -> int:
    return int(name.removeprefix("demo_"))


def require_format(path: Path, file: Any) -> None:
    """Raises VandError for a file that is not of this format, or of a newer version of it."""
    form, version = read_attribute(file, "format"), read_attribute(file, "format_version")
    if form != FORMAT:
        raise VandError(f"{path} is no {FORMAT} file: its attribute 'format' is not {FORMAT!r}")
    if type(version) is not int or version < 1:
        raise VandError(f"{path}: format_version: expected an integer >= 1, got {version!r}")
    if version > FORMAT_VERSION:
        raise VandError(
            f"{path} has format version {version}, this software reads up to {FORMAT_VERSION}"
        )


def read_env_args(path: Path, file: Any) -> dict[str, Any]:
    """The environment of a data set.

    Raises:
        VandError: It is missing or breaks a rule.
    """
    text = read_attribute(child(file, "data", h5py.Group), "env_args")
    if not isinstance(text, str):
        reason = text.reason if isinstance(text, Unreadable) else f"expected text, got {text!r}"
        raise VandError(f"{path}: env_args: {reason}")
    try:
        env_args = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VandError(f"{path}: env_args: expected JSON: {error}") from error
    require_env_args(str(path), env_args)
    return cast("dict[str, Any]", env_args)


def require_env_args(what: str, env_args: Any) -> None:
    """Checks that env_args holds everything that it must.

    Raises:
        VandError: It does not.
    """
    if not isinstance(env_args, Mapping):
        raise VandError(f"{what}: env_args: expected a mapping, got {type(env_args).__name__}")
    for key in ("env_name", "env_version", "type", "env_kwargs"):
        if key not in env_args:
            raise VandError(f"{what}: env_args: {key!r} is missing")
    kwargs = env_args["env_kwargs"]
    if not isinstance(kwargs, Mapping):
        raise VandError(f"{what}: env_args: env_kwargs: expected a mapping, got {kwargs!r:.60}")
    for key in _ENV_KWARGS:
        if key not in kwargs:
            raise VandError(f"{what}: env_args: env_kwargs: {key!r} is missing")


def require_compatible(
    env_args: Mapping[str, Any], other: Mapping[str, Any], what: str = "the data set"
) -> None:
    """Checks that two environments have the same robot, actions, control step and instructions.

    Args:
        env_args: What is wanted.
        other: What is there.
        what: What the second belongs to, for the message.

    Raises:
        VandError: They differ; the line names in what.
    """
    require_env_args("the environment", env_args)
    require_env_args(what, other)
    for key in _ENV_KWARGS:
        ours, theirs = env_args["env_kwargs"][key], other["env_kwargs"][key]
        if key == "instructions":
            ours, theirs = list(ours), list(theirs)
        if ours != theirs:
            raise VandError(f"{what} does not fit: {key}: expected {ours!r}, got {theirs!r}")


def read_mask(file: Any, filter_key: str) -> tuple[str, ...]:
    """The names in a mask, by number where they are names of episodes.

    Raises:
        VandError: It is no one-dimensional array of names of a sensible size.
    """
    mask = child(file, f"mask/{filter_key}", h5py.Dataset)
    if mask.ndim != 1 or (mask.dtype.kind != "S" and h5py.check_string_dtype(mask.dtype) is None):
        raise VandError(f"mask/{filter_key}: expected names, got {mask.dtype} of {mask.shape}")
    if mask.size * mask.dtype.itemsize > _FREE_BYTES:
        raise VandError(f"mask/{filter_key}: expected names, got {mask.size} of them")
    names = [item.decode("utf-8", "replace") for item in mask[()].tolist()]
    return tuple(sorted(names, key=lambda n: (_number(n) if _DEMO.fullmatch(n) else -1, n)))


def read_demo(
    demo: Any, want: Callable[[str, str], bool] = lambda _group, _key: True
) -> dict[str, Any]:
    """Everything in a demo group, as the fields of an Episode, not checked yet.

    Args:
        demo: The group.
        want: (group, key) -> whether to read that array; group is "" for those at the top.

    Returns:
        Field -> value; `Unreadable`, with the reason, in place of what could not be read.
    """
    steps = steps_of(demo)
    values: dict[str, Any] = {name: read_attribute(demo, name) for name in _TEXTS}
    values |= {name: read_attribute(demo, name) for name in ("seed", "success", "control_dt_s")}
    values["versions"] = _parsed(read_attribute(demo, "versions"))
    for name in _ARRAYS:
        here = name in demo and want("", name)
        missing = None if name == "states" else Unreadable("is missing")
        values[name] = read_array(demo, name, steps) if here else missing
    for group, name in _GROUPS.items():
        arrays = child(demo, group, h5py.Group) if group in demo else {}
        values[name] = {key: read_array(arrays, key, steps) for key in arrays if want(group, key)}
    return values


def _parsed(text: Any) -> Any:
    """The value of a JSON text, or why there is none."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return Unreadable("expected JSON")


def steps_of(demo: Any) -> int:
    """The declared number of steps, or 0 where it makes no sense."""
    steps = read_attribute(demo, "num_samples")
    return steps if type(steps) is int and 0 < steps <= 2**31 else 0


def demo_faults(demo: Any) -> Iterator[str]:
    """What is wrong with how an episode is stored, apart from its values."""
    steps = read_attribute(demo, "num_samples")
    if not steps_of(demo):
        reason = steps.reason if isinstance(steps, Unreadable) else f"got {steps!r}"
        yield f"num_samples: expected a positive integer: {reason}"
    for name in demo:
        if name not in (*_ARRAYS, *_GROUPS):
            yield f"{name}: unknown; known: {', '.join((*_ARRAYS, *_GROUPS))}"
    if "action_dict" not in demo:
        yield "action_dict: is missing"
    arrays = {name: _member(demo, name) for name in _ARRAYS if name in demo}
    for name in (name for name in _GROUPS if name in demo):
        group = child(demo, name, h5py.Group)
        arrays |= {f"{name}/{key}": _member(group, key) for key in group}
    for path, array in arrays.items():
        if isinstance(array, h5py.Dataset) and array.shape:
            if array.chunks is None or array.chunks[1:] != array.shape[1:]:
                yield f"{path}: expected chunks of whole steps, got {array.chunks}"
            if array.compression != "gzip" or not array.shuffle:
                yield f"{path}: expected gzip + shuffle, got {array.compression}"


def read_array(group: Any, key: str, steps: int) -> NDArray[Any] | Unreadable:
    """Reads one array of an episode once its declaration has proved sensible."""
    dataset = _member(group, key)
    if not isinstance(dataset, h5py.Dataset):
        return Unreadable("expected an array of this file, got a group or a link")
    fault = storage_fault(dataset, steps)
    if fault is not None:
        return Unreadable(fault)
    try:
        array = cast("NDArray[Any]", dataset[()])
    except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        return Unreadable(f"cannot be read: {' '.join(str(error).split())[:200]}")
    array.setflags(write=False)
    return array


def storage_fault(dataset: Any, steps: int) -> str | None:
    """Why an array must not be read, from its declaration alone, or None.

    A declaration costs nothing, so it may be a lie: reading is what would take the memory.
    """
    if dataset.is_virtual or dataset.external:
        return "expected its numbers in this file, got a reference to another"
    shape, dtype, chunks = dataset.shape, dataset.dtype, dataset.chunks
    if shape is None or dtype.kind not in "biuf":
        return f"expected numbers, got {dtype}"
    if not shape or shape[0] != steps:
        return f"expected {steps} steps (num_samples), got shape {shape}"
    size, chunk = (math.prod(axes) * dtype.itemsize for axes in (shape, chunks or ()))
    if size > _MAX_ARRAY_BYTES or chunk > _MAX_CHUNK_BYTES:
        return f"declares shape {shape} in chunks of {chunks}: too much to read"
    if size > _FREE_BYTES and size > _MAX_EXPANSION * (stored := dataset.id.get_storage_size()):
        return f"declares {size} bytes, but holds {stored}"
    return None


def _member(group: Any, key: str) -> Any:
    """What has this name in a group, or None where the file itself holds no such thing."""
    return group[key] if isinstance(group.get(key, getlink=True), h5py.HardLink) else None


def child(parent: Any, path: str, kind: Any) -> Any:
    """A group or dataset of this file.

    Raises:
        VandError: It is missing, is of another kind, or lies in another file.
    """
    found = parent
    for name in path.split("/"):
        found = _member(found, name) if isinstance(found, h5py.Group) else None
    if not isinstance(found, kind):
        place = f"{parent.name.rstrip('/')}/{path}"
        raise VandError(f"{parent.file.filename}: {place}: expected a {kind.__name__.lower()}")
    return found


def read_attribute(owner: Any, name: str) -> Any:
    """A scalar attribute as a Python value, or why there is none."""
    if name not in owner.attrs:
        return Unreadable("is missing")
    declared = owner.attrs.get_id(name)
    text = h5py.check_string_dtype(declared.dtype)
    if declared.shape != () or (declared.dtype.kind not in "biuf" and text is None):
        return Unreadable(f"expected one value, got {declared.dtype} of shape {declared.shape}")
    if declared.dtype.itemsize > _MAX_TEXT_BYTES:
        return Unreadable(
            f"expected a text of sensible length, got {declared.dtype.itemsize} bytes"
        )
    value = owner.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.item() if isinstance(value, np.generic) else value


# ---------------------------------------------------------------------------------- writing


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
    with h5py.File("episode", "w", driver="core", backing_store=False, libver=_LIBVER) as file:
        _write_header(file, env_args)
        demo = _new_demo(file["data"], "demo_0")
        for path, array in episode.arrays():
            group = path.partition("/")[0]
            if (group != "states" or states) and (group != "next_obs" or next_observations):
                _write_array(demo, path, array)
        for name in (*_TEXTS, "success", "seed", "control_dt_s"):
            demo.attrs[name] = getattr(episode, name)
        demo.attrs["versions"] = json.dumps(dict(episode.versions))
        demo.attrs["num_samples"] = len(episode)
        file["data"].attrs["total"] = len(episode)
        file.flush()
        return cast("bytes", file.id.get_file_image())


def _write_header(file: Any, env_args: Mapping[str, Any]) -> None:
    """What an empty data set holds."""
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
    steps = min(len(array), max(1, _CHUNK_BYTES // row))
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
class Source:
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
    def of_bytes(cls, image: bytes) -> "Source":
        """The episode in the bytes of a file, as `encode_episode` makes them."""
        return cls(len(image), lambda: h5py.File(io.BytesIO(image), "r"))

    @classmethod
    def of_part(cls, path: Path) -> "Source":
        """The one episode of a part file."""
        return cls(path.stat().st_size, lambda: open_file(path))


def create(path: Path, env_args: Mapping[str, Any]) -> None:
    """Makes an empty data set at a new path, which nobody else reads yet."""
    with h5py.File("empty", "w", driver="core", backing_store=False, libver=_LIBVER) as file:
        _write_header(file, env_args)
        file.flush()
        image = file.id.get_file_image()
    with disk_errors("write", path):
        path.write_bytes(image)


def append(path: Path, sources: Iterable[Source]) -> tuple[str, ...]:
    """Copies episodes to the end of a file under construction; compressed data stay as they are.

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
        with disk_errors("write", path):
            reserve(path, path.stat().st_size + sum(s.size for s in batch) + _RESERVE_BYTES)
            with h5py.File(path, "r+", libver=_LIBVER) as file:
                added += _append_batch(file, batch)
    return tuple(added)


def _append_batch(file: Any, batch: Sequence[Source]) -> list[str]:
    """Copies episodes into an open file, and returns their names."""
    taken = demo_names(file)
    first = _number(taken[-1]) + 1 if taken else 0
    names = [source.new_name or f"demo_{first + i}" for i, source in enumerate(batch)]
    for name, source in zip(names, batch, strict=True):
        with source.open() as other:
            other.copy(child(other, f"data/{source.name}", h5py.Group), file["data"], name)
    steps = sum(steps_of(file["data"][name]) for name in names)
    file["data"].attrs["total"] = int(file["data"].attrs["total"]) + steps
    return names


def _batches(sources: Iterable[Source]) -> Iterator[list[Source]]:
    """Groups sources so that each group takes about `_BATCH_BYTES`."""
    batch: list[Source] = []
    for source in sources:
        batch.append(source)
        if sum(s.size for s in batch) > _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def write_masks(path: Path, masks: Mapping[str, Sequence[str]]) -> None:
    """Sets masks of a file under construction, in place of those of the same name."""
    with disk_errors("write", path):
        reserve(path, path.stat().st_size + _RESERVE_BYTES)
        with h5py.File(path, "r+", libver=_LIBVER) as file:
            group = file.require_group("mask")
            for key, names in masks.items():
                if key in group:
                    del group[key]
                group.create_dataset(key, data=np.array(list(names), "S16"), track_times=False)


@contextmanager
def rewriting(path: Path) -> Iterator[Path]:
    """Holds the lock of a data set and builds a new file that takes its place at the end.

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
    masks: Mapping[str, Sequence[int]] | None = None,
    *,
    overwrite: bool = False,
    states: bool = True,
    next_observations: bool = True,
) -> tuple[str, ...]:
    """Writes a data set that appears whole or not at all.

    Args:
        path: The file.
        episodes: The episodes; one at a time is held in memory. Named `demo_0`, `demo_1`, ...
        env_args: The environment that they were recorded in.
        masks: Filter key -> indices of episodes; `train` and `valid` may share none.
        overwrite: Whether to replace a file that exists.
        states: Whether to store the simulation's states.
        next_observations: Whether to store what was seen after each action. It doubles the
            observations' size; readers of single transitions need it, training on whole
            episodes does not.

    Returns:
        The names of the episodes.

    Raises:
        UsageError: The file exists and is not to be replaced, or there is no folder for it.
        VandError: There is no episode, one does not fit the environment or the others, a mask
            names one that does not exist, or the disk is full; an old file stays as it was.
    """
    path = file_path(path)
    require_env_args("the environment", env_args)

    def sources() -> Iterator[Source]:
        first: Mapping[str, str] = {}
        for episode in episodes:
            require_fits(episode, env_args, first)
            first = first or signature(episode)
            if next_observations and not episode.next_observations:
                raise VandError(f"{episode.label}: next_obs: expected what obs holds, got nothing")
            yield Source.of_bytes(
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
        if masks:
            write_masks(temporary, _named(masks, names))
    return names


def _named(masks: Mapping[str, Sequence[int]], names: Sequence[str]) -> dict[str, list[str]]:
    """Masks of names, from masks of indices."""
    for key, indices in masks.items():
        for index in indices:
            if not 0 <= index < len(names):
                raise VandError(f"mask {key!r}: there is no episode {index}, only {len(names)}")
    both = set(masks.get("train", ())) & set(masks.get("valid", ()))
    if both:
        raise VandError(f"masks 'train' and 'valid' share episode {min(both)}")
    return {key: [names[i] for i in indices] for key, indices in masks.items()}


def require_folder(path: Path) -> None:
    """Checks that a file can be at a path.

    Raises:
        UsageError: There is no folder for it, or it is a folder itself.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a data set")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write {path.name} to")


def require_new(path: Path, *, overwrite: bool = False) -> None:
    """Checks that a data set may be begun at a path.

    Raises:
        UsageError: There is one already, or episodes of one.
    """
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists already; it is not overwritten unless you say so")
    if part_files(path):
        raise UsageError(
            f"{parts_folder(path)} holds recorded episodes that are not packed yet:"
            f" vand-robot demos repair {path}"
        )


def signature(episode: Episode) -> dict[str, str]:
    """What all episodes of one data set must share: array -> shape of a step and type."""
    return {
        path: f"{array.shape[1:]} {array.dtype}"
        for path, array in episode.arrays()
        if path.partition("/")[0] in ("actions", "action_dict", "obs", "states")
    }


def require_fits(episode: Episode, env_args: Mapping[str, Any], first: Mapping[str, str]) -> None:
    """Checks that an episode belongs into a data set.

    Args:
        episode: The episode.
        env_args: The environment of the data set.
        first: The signature of an episode that is there already; empty where there is none.

    Raises:
        VandError: It differs in action mode, control step, task or arrays.
    """
    kwargs = env_args["env_kwargs"]
    for key in ("action_mode", "control_dt_s"):
        if getattr(episode, key) != kwargs[key]:
            raise VandError(
                f"{episode.label}: {key}: expected {kwargs[key]!r} as in the data set,"
                f" got {getattr(episode, key)!r}"
            )
    if episode.task not in kwargs["instructions"]:
        raise VandError(
            f"{episode.label}: task: expected one of {', '.join(kwargs['instructions'])},"
            f" got {episode.task!r}"
        )
    ours = signature(episode) if first else {}
    for path in sorted(first.keys() | ours.keys()):
        if path == "states" and (path not in first or path not in ours):
            continue  # states may be left out of any episode
        if first.get(path) != ours.get(path):
            raise VandError(
                f"{episode.label}: {path}: expected {first.get(path, 'no such array')} as in"
                f" the data set, got {ours.get(path, 'none')}"
            )
