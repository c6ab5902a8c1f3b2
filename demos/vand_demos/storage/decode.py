"""From HDF5 groups, arrays and attributes to values, within limits."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def stored_arrays(
    demo: Any, want: Callable[[str, str], bool] = lambda _group, _key: True
) -> dict[str, Any]:
    """What a demo group holds where arrays belong, each looked up once: opening one takes time.

    Args:
        demo: The group.
        want: (group, key) -> whether to look it up; group is "" for those at the top.

    Returns:
        Path -> identifier of a dataset, or of what else is there in this file; None where a link
        leads elsewhere or nowhere.

    Raises:
        VandError: A group of arrays is no group of this file.
    """
    found = {name: _opened(demo, name) for name in ARRAYS if name in demo and want("", name)}
    for name in (name for name in GROUPS if name in demo):
        group = child(demo, name, h5py.Group)
        found |= {f"{name}/{key}": _opened(group, key) for key in group if want(name, key)}
    return found


def read_demo(demo: Any, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a demo group, as the fields of an Episode, not checked yet.

    Args:
        demo: The group.
        arrays: Those to read, as `stored_arrays` found them.

    Returns:
        Field -> value; `Unreadable`, with the reason, in place of what could not be read.
    """
    steps = steps_of(demo)
    attributes = demo.attrs
    names = (*TEXTS, *NUMBERS, "versions")
    values: dict[str, Any] = {name: read_attribute(demo, name) for name in names}
    values["versions"] = _parsed(values["versions"])
    values |= {name: read_numbers(demo, name) for name in BOUNDS if name in attributes}
    foreign = "source" in attributes
    if foreign:
        values["source"] = _parsed(read_attribute(demo, "source"))
        values |= {name: None for name in OPTIONAL if name not in attributes}
    room = limit_bytes()
    read: dict[str, NDArray[Any] | Unreadable] = {}
    for path, array in arrays.items():
        fault = _fault(array, steps)
        if fault is None:
            room -= math.prod(array.shape) * array.dtype.itemsize
        if room < 0:
            fault = f"takes more memory, with the arrays before it, than {LIMIT} allows"
        read[path] = _numbers(array) if fault is None else Unreadable(fault)
    for name in ARRAYS:
        unknown = name in OPTIONAL_ARRAYS or (foreign and name == "rewards")
        missing = None if unknown else Unreadable("is missing")
        values[name] = read.get(name, missing)
    for group, name in GROUPS.items():
        start = f"{group}/"
        values[name] = {
            path.removeprefix(start): array
            for path, array in read.items()
            if path.startswith(start)
        }
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
    return sensible_steps(read_attribute(demo, "num_samples"))


def sensible_steps(steps: Any) -> int:
    """A declared number of steps, or 0 where it makes no sense."""
    return steps if type(steps) is int and 0 < steps <= 2**31 else 0


def demo_faults(demo: Any, arrays: Mapping[str, Any]) -> Iterator[str]:
    """Faults in how an episode is stored, apart from its values.

    Args:
        demo: Its group.
        arrays: All that `stored_arrays` found in it.
    """
    if not steps_of(demo):
        steps = read_attribute(demo, "num_samples")
        yield f"num_samples: {mismatch('a positive integer', steps)}"
    for name in demo:
        if name not in (*ARRAYS, *GROUPS):
            yield f"{name}: unknown; known: {', '.join((*ARRAYS, *GROUPS))}"
    if "action_dict" not in demo and read_attribute(demo, "action_mode") != NATIVE:
        yield "action_dict: is missing"
    for path, array in arrays.items():
        if isinstance(array, h5py.h5d.DatasetID) and array.shape:
            creation = array.get_create_plist()
            chunks = _chunks(creation)
            if chunks is None or chunks[1:] != array.shape[1:]:
                yield f"{path}: expected chunks of whole steps, got {chunks}"
            filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
            if not {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE} <= filters:
                yield f"{path}: expected gzip + shuffle, got {h5py.Dataset(array).compression}"


def _chunks(creation: Any) -> tuple[int, ...] | None:
    """The chunks of an array, from what it was created with; None where it is in one piece."""
    chunked = creation.get_layout() == h5py.h5d.CHUNKED
    return cast("tuple[int, ...]", creation.get_chunk()) if chunked else None


def read_array(group: Any, key: str, steps: int) -> NDArray[Any] | Unreadable:
    """Read one array of an episode once its declaration has proved sensible."""
    array = _opened(group, key)
    fault = _fault(array, steps)
    return _numbers(array) if fault is None else Unreadable(fault)


def read_columns(demo: Any, paths: Sequence[str], steps: int) -> list[NDArray[Any] | Unreadable]:
    """Read arrays of an episode, as `read_array` does one after the other.

    Args:
        demo: Its group.
        paths: Their places in it, `"actions"` or `"obs/<key>"`.
        steps: Steps of the episode.

    Raises:
        VandError: A group of arrays is no group of this file.
    """
    groups: dict[str, Any] = {"": demo}
    read: list[NDArray[Any] | Unreadable] = []
    for path in paths:
        place, _, key = path.rpartition("/")
        if place not in groups:
            groups[place] = child(demo, place, h5py.Group)
        read.append(read_array(groups[place], key, steps))
    return read


def _fault(array: Any, steps: int) -> str | None:
    """Why something that was found where an array belongs must not be read, or None."""
    if not isinstance(array, h5py.h5d.DatasetID):
        return "expected an array of this file, got a group or a link"
    return storage_fault(array, steps)


def _numbers(dataset: Any) -> NDArray[Any] | Unreadable:
    """The numbers of an array that may be read."""
    try:
        array: NDArray[Any] = np.empty(dataset.shape, dataset.dtype)
        if array.size:
            dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
    except (OSError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        return Unreadable(f"cannot be read: {' '.join(str(error).split())[:200]}")
    array.setflags(write=False)
    return array


def storage_fault(dataset: Any, steps: int) -> str | None:
    """Why an array must not be read, from its declaration alone, or None.

    A declaration costs nothing, so it may be a lie: reading is what would take the memory.
    """
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout == h5py.h5d.VIRTUAL or creation.get_external_count():
        return "expected its numbers in this file, got a reference to another"
    shape, dtype = _shape(dataset), dataset.dtype
    chunks = creation.get_chunk() if layout == h5py.h5d.CHUNKED else None
    if shape is None or dtype.kind not in "biuf":
        return f"expected numbers, got {dtype}"
    if not shape or shape[0] != steps:
        return f"expected {steps} steps (num_samples), got shape {shape}"
    size, chunk = (math.prod(axes) * dtype.itemsize for axes in (shape, chunks or ()))
    if size > min(MAX_ARRAY_BYTES, limit_bytes()) or chunk > MAX_CHUNK_BYTES:
        return f"declares shape {shape} in chunks of {chunks}: too much to read"
    if size > FREE_BYTES and size > MAX_EXPANSION * (stored := dataset.get_storage_size()):
        return f"declares {size} bytes, but holds {stored}"
    return None


def _shape(dataset: Any) -> tuple[int, ...] | None:
    """The shape of an array; None where it is declared to have none."""
    space = dataset.get_space()
    null = space.get_simple_extent_type() == h5py.h5s.NULL
    return None if null else cast("tuple[int, ...]", space.get_simple_extent_dims())


def _opened(group: Any, key: str) -> Any:
    """Identifier of a member of a group, or None where the file itself holds no such member."""
    name = key.encode("utf-8", "surrogateescape")  # as h5py does
    return _opened_link(group.id, name)


def _opened_link(group: Any, name: bytes) -> Any:
    """As `_opened`, from the identifier of a group."""
    links = group.links
    if not links.exists(name) or links.get_info(name).type != h5py.h5l.TYPE_HARD:
        return None
    return h5py.h5o.open(group, name)


def child(parent: Any, path: str, kind: Any) -> Any:
    """A group or dataset of this file.

    Raises:
        VandError: It is missing, is of another kind, or lies in another file.
    """
    found = _found(parent, path)
    if not isinstance(found, _IDENTIFIERS[kind]):
        place = f"{parent.name.rstrip('/')}/{path}"
        raise VandError(f"{parent.file.filename}: {place}: expected a {kind.__name__.lower()}")
    return kind(found)


def find_array(parent: Any, path: str) -> Any:
    """A dataset of this file, as `child` finds it, or None where there is none."""
    found = _found(parent, path)
    return found if isinstance(found, h5py.h5d.DatasetID) else None


def _found(parent: Any, path: str) -> Any:
    """The identifier of what is at a path in this file, or None."""
    found = parent.id
    for name in path.split("/"):
        inner = isinstance(found, h5py.h5g.GroupID)  # which that of a file is too
        found = _opened_link(found, name.encode("utf-8", "surrogateescape")) if inner else None
    return found


_IDENTIFIERS = {h5py.Group: h5py.h5g.GroupID, h5py.Dataset: h5py.h5d.DatasetID}
"""h5py's object -> the identifier that it wraps."""


def read_attribute(owner: Any, name: str) -> Any:
    """A scalar attribute as a Python value, or why there is none.

    h5py's own way there opens it three times.
    """
    key = name.encode("utf-8", "surrogateescape")
    if not h5py.h5a.exists(owner.id, key):
        return Unreadable("is missing")
    declared = h5py.h5a.open(owner.id, key)
    dtype, shape = declared.dtype, declared.shape
    text = h5py.check_string_dtype(dtype)
    if shape != () or (dtype.kind not in "biuf" and text is None):
        return Unreadable(f"expected one value, got {dtype} of shape {shape}")
    if dtype.itemsize > MAX_TEXT_BYTES:
        return Unreadable(f"expected a text of sensible length, got {dtype.itemsize} bytes")
    read: NDArray[Any] = np.empty((), dtype)
    declared.read(read)
    value: Any = read[()]
    if isinstance(value, bytes):
        fixed = text is not None and text.length is not None
        value = value.decode("utf-8", "replace" if fixed else "surrogateescape")
    if isinstance(value, str):  # bytes that are no UTF-8 are lone surrogates now
        return value if value.isascii() else clean_text(value)
    return value.item() if isinstance(value, np.generic) else value
