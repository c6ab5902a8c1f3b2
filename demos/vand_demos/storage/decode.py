"""From HDF5 groups, arrays and attributes to values, within limits."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import OPTIONAL, Unreadable, mismatch
from vand_demos.native import NATIVE
from vand_demos.storage.compatibility import require_env_args
from vand_demos.storage.layout import (
    ARRAYS,
    BOUNDS,
    DEMO_NAME,
    FORMAT,
    FORMAT_VERSION,
    FREE_BYTES,
    GROUPS,
    MAX_ARRAY_BYTES,
    MAX_CHUNK_BYTES,
    MAX_EXPANSION,
    MAX_TEXT_BYTES,
    NUMBERS,
    OPTIONAL_ARRAYS,
    TEXTS,
    TOP,
    demo_number,
    require_file,
)
from vand_demos.system.files import library_errors
from vand_demos.system.json_record import clean_text, parse_json
from vand_demos.system.limits import VARIABLE as LIMIT
from vand_demos.system.limits import limit_bytes
from vand_envs.errors import VandError


def hdf5_errors(doing: str, path: Path) -> AbstractContextManager[None]:
    """Turn what h5py raises for a damaged file or a bad disk into `cannot <doing> <path>: ...`."""
    return library_errors(doing, path, "h5py")


def open_file(path: Path) -> Any:
    """An HDF5 file opened for reading, as h5py.File.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or is damaged.
    """
    require_file(path)
    with hdf5_errors("open", path):
        if not h5py.is_hdf5(path):
            raise VandError(f"{path} is no HDF5 file")
        return h5py.File(path, "r", locking=False)  # readers need none: files are only replaced


def demo_names(file: Any) -> tuple[str, ...]:
    """Names of the children of /data that are episodes, by number."""
    names = [name for name in child(file, "data", h5py.Group) if DEMO_NAME.fullmatch(name)]
    return tuple(sorted(names, key=demo_number))


def demo_group(file: Any, name: str) -> Any:
    """The group of an episode.

    Raises:
        VandError: It is missing, or no group of this file.
    """
    return child(file, f"data/{name}", h5py.Group)


def read_total(file: Any) -> Any:
    """The declared number of steps of all episodes together, or why there is none."""
    return read_attribute(child(file, "data", h5py.Group), "total")


def split_names(file: Any) -> tuple[str, ...]:
    """Names of the splits, sorted; the file calls them masks."""
    return tuple(sorted(child(file, "mask", h5py.Group))) if "mask" in file else ()


def stray_faults(file: Any) -> Iterator[str]:
    """Names in the file, and among the episodes, that the format does not know."""
    yield from (f"/{name}: unknown; known: {', '.join(TOP)}" for name in file if name not in TOP)
    for name in child(file, "data", h5py.Group):
        if not DEMO_NAME.fullmatch(name):
            yield f"data/{name}: expected demo_<int>"


def require_format(path: Path, file: Any) -> None:
    """Raise VandError for a file that is not of this format, or of a newer version of it."""
    form, version = read_attribute(file, "format"), read_attribute(file, "format_version")
    if form != FORMAT:
        raise VandError(f"{path} is no {FORMAT} file: its attribute 'format' is not {FORMAT!r}")
    if type(version) is not int or version < 1:
        raise VandError(f"{path}: format_version: {mismatch('an integer >= 1', version)}")
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
        raise VandError(f"{path}: env_args: {mismatch('text', text)}")
    env_args = parse_json(text, f"{path}: env_args")
    require_env_args(str(path), env_args)
    return cast("dict[str, Any]", env_args)


def read_split(file: Any, split: str) -> tuple[str, ...]:
    """The names in a mask of the file, by number where they are names of episodes.

    Raises:
        VandError: It is no one-dimensional array of names of a sensible size.
    """
    mask = child(file, f"mask/{split}", h5py.Dataset)
    if mask.ndim != 1 or (mask.dtype.kind != "S" and h5py.check_string_dtype(mask.dtype) is None):
        raise VandError(f"mask/{split}: expected names, got {mask.dtype} of {mask.shape}")
    chunk = math.prod(mask.chunks or ()) * mask.dtype.itemsize
    if max(mask.size * mask.dtype.itemsize, chunk) > FREE_BYTES or mask.is_virtual or mask.external:
        raise VandError(f"mask/{split}: expected names, got {mask.size} of them")
    names = [item.decode("utf-8", "replace") for item in mask[()].tolist()]
    return tuple(sorted(names, key=lambda n: (demo_number(n) if DEMO_NAME.fullmatch(n) else -1, n)))


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
    values: dict[str, Any] = {name: read_attribute(demo, name) for name in TEXTS}
    values |= {name: read_attribute(demo, name) for name in NUMBERS}
    values["versions"] = _parsed(read_attribute(demo, "versions"))
    values |= {name: read_numbers(demo, name) for name in BOUNDS if name in demo.attrs}
    foreign = "source" in demo.attrs
    if foreign:
        values["source"] = _parsed(read_attribute(demo, "source"))
        values |= {name: None for name in OPTIONAL if name not in demo.attrs}
    room = limit_bytes()

    def take(group: Any, key: str) -> NDArray[Any] | Unreadable:
        nonlocal room
        dataset = _member(group, key)
        if isinstance(dataset, h5py.Dataset) and storage_fault(dataset, steps) is None:
            room -= math.prod(dataset.shape) * dataset.dtype.itemsize
        if room < 0:
            return Unreadable(f"takes more memory, with the arrays before it, than {LIMIT} allows")
        return read_array(group, key, steps)

    for name in ARRAYS:
        here = name in demo and want("", name)
        unknown = name in OPTIONAL_ARRAYS or (foreign and name == "rewards")
        missing = None if unknown else Unreadable("is missing")
        values[name] = take(demo, name) if here else missing
    for group, name in GROUPS.items():
        arrays = child(demo, group, h5py.Group) if group in demo else {}
        values[name] = {key: take(arrays, key) for key in arrays if want(group, key)}
    return values


def read_numbers(owner: Any, name: str) -> NDArray[np.float64] | Unreadable:
    """An attribute that is a list of numbers, or why there is none."""
    if name not in owner.attrs:
        return Unreadable("is missing")
    declared = owner.attrs.get_id(name)
    if declared.dtype.kind not in "iuf" or len(declared.shape or ()) != 1:
        return Unreadable(f"expected numbers, got {declared.dtype} of shape {declared.shape}")
    if declared.shape[0] > FREE_BYTES:
        return Unreadable(f"expected a few numbers, got {declared.shape[0]}")
    return np.asarray(owner.attrs[name], np.float64)


def _parsed(text: Any) -> Any:
    """The value of a JSON text, or why there is none."""
    try:
        return parse_json(text, "text") if isinstance(text, str) else text
    except VandError:
        return Unreadable("expected JSON")


def steps_of(demo: Any) -> int:
    """The declared number of steps, or 0 where it makes no sense."""
    steps = read_attribute(demo, "num_samples")
    return steps if type(steps) is int and 0 < steps <= 2**31 else 0


def demo_faults(demo: Any) -> Iterator[str]:
    """Faults in how an episode is stored, apart from its values."""
    if not steps_of(demo):
        steps = read_attribute(demo, "num_samples")
        yield f"num_samples: {mismatch('a positive integer', steps)}"
    for name in demo:
        if name not in (*ARRAYS, *GROUPS):
            yield f"{name}: unknown; known: {', '.join((*ARRAYS, *GROUPS))}"
    if "action_dict" not in demo and read_attribute(demo, "action_mode") != NATIVE:
        yield "action_dict: is missing"
    arrays = {name: _member(demo, name) for name in ARRAYS if name in demo}
    for name in (name for name in GROUPS if name in demo):
        group = child(demo, name, h5py.Group)
        arrays |= {f"{name}/{key}": _member(group, key) for key in group}
    for path, array in arrays.items():
        if isinstance(array, h5py.Dataset) and array.shape:
            if array.chunks is None or array.chunks[1:] != array.shape[1:]:
                yield f"{path}: expected chunks of whole steps, got {array.chunks}"
            if array.compression != "gzip" or not array.shuffle:
                yield f"{path}: expected gzip + shuffle, got {array.compression}"


def read_array(group: Any, key: str, steps: int) -> NDArray[Any] | Unreadable:
    """Read one array of an episode once its declaration has proved sensible."""
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
    if size > min(MAX_ARRAY_BYTES, limit_bytes()) or chunk > MAX_CHUNK_BYTES:
        return f"declares shape {shape} in chunks of {chunks}: too much to read"
    if size > FREE_BYTES and size > MAX_EXPANSION * (stored := dataset.id.get_storage_size()):
        return f"declares {size} bytes, but holds {stored}"
    return None


def _member(group: Any, key: str) -> Any:
    """Member of a group by name, or None where the file itself holds no such member."""
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
    if declared.dtype.itemsize > MAX_TEXT_BYTES:
        return Unreadable(
            f"expected a text of sensible length, got {declared.dtype.itemsize} bytes"
        )
    value = owner.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):  # h5py keeps bytes that are no UTF-8 as lone surrogates
        return value if value.isascii() else clean_text(value)
    return value.item() if isinstance(value, np.generic) else value
