"""Keeps a process from opening a file on which HDF5 would crash or never return.

HDF5 1.10 and newer write checksums, but not for the heaps that texts lie in: from a heap whose
bytes are damaged, HDF5 may not come back. Nothing in the same process can stop it then, so
another process reads all that describes the file first. Arrays need no such care: what describes
them is read with the rest, and their numbers have checksums of their own. Where the descriptions
have checksums too, in files that HDF5 1.10 or newer began, nobody looks into them any further. On
the way the attributes of episodes are noted, so that nobody has to read them again.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from vand_demos.storage.decode import (
    child,
    demo_group,
    demo_names,
    hdf5_errors,
    open_file,
    read_attribute,
)
from vand_demos.storage.layout import ATTRIBUTES
from vand_demos.system.isolation import LostProcessError, UnstartedProcessError, run_apart
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

PATIENCE_S = 10.0
"""How long one episode's description may take to be read [s]."""

MEMORY_BYTES = 1 << 29
"""How much memory reading the description of a file may take [bytes]."""

CHECKED_SUPERBLOCK = 3
"""Version of a file's first block from which on all that describes its arrays has checksums."""

CHECKED_HEADER = b"OHDR"
"""Begins the description of an array that has a checksum."""

NOTED_CHARACTERS = 200
"""Attributes that are longer texts are not noted: nobody asks for those of all episodes."""

Notes = Mapping[str, Mapping[str, Any]]
"""Episode -> attribute -> value, of those in `ATTRIBUTES` that are sound."""


FILES_AT_ONCE, LETTERS_AT_ONCE = 1000, 100_000
"""Most files that one process reads, and most letters of their paths: a command's line is short."""

Version = tuple[str, int, int, int, int]
"""A file as it is now: path, device, number, size and time of its last change."""

_READABLE: dict[Version, Notes] = {}
"""What was read to its end in this process."""


def require_readable(path: Path, patience_s: float = PATIENCE_S) -> Notes:
    """Check that HDF5 can read what describes a file, once for each version of it.

    Returns:
        The attributes of its episodes that it met on the way.

    Raises:
        LostProcessError: HDF5 would crash or hang.
        VandError: HDF5 refuses to read it.
    """
    version = file_version(path)
    if version not in _READABLE:
        _READABLE.update(_read_through([version], patience_s))
    return _READABLE[version]


def require_all_readable(
    paths: Sequence[Path],
    patience_s: float = PATIENCE_S,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Check several files as `require_readable` does; one process reads up to a thousand of them.

    Args:
        paths: The files.
        patience_s: How long one episode's description may take to be read [s].
        progress: Called with the number of files done and that of all.

    Raises:
        LostProcessError: HDF5 would crash or hang on one; the line names it.
        VandError: HDF5 refuses to read one.
    """
    versions = dict.fromkeys(map(file_version, paths))
    new = [version for version in versions if version not in _READABLE]
    done = len(versions) - len(new)
    for part in _parts(new):
        for version, notes in _read_through(part, patience_s):
            _READABLE[version] = notes
            done += 1
            if progress is not None:
                progress(done, len(versions))


def file_version(path: Path) -> Version:
    """The version of a file.

    Raises:
        OSError: There is none.
    """
    stat = path.stat()
    return str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _parts(versions: Sequence[Version]) -> Iterator[list[Version]]:
    """Files in the portions that one process reads."""
    part: list[Version] = []
    letters = 0
    for version in versions:
        letters += len(version[0])
        if part and (len(part) == FILES_AT_ONCE or letters > LETTERS_AT_ONCE):
            yield part
            part, letters = [], len(version[0])
        part.append(version)
    if part:
        yield part


def _read_through(part: Sequence[Version], patience_s: float) -> Iterator[tuple[Version, Notes]]:
    """Let another process read the descriptions of files; gives each that is done."""
    head = "the head of the file"
    done, place = 0, head
    notes: dict[str, Mapping[str, Any]] = {}
    try:
        for read in run_apart(
            "vand_demos.storage.guard:iterate_all_descriptions",
            [path for path, *_ in part],
            patience_s=patience_s,
            memory_bytes=MEMORY_BYTES,
        ):
            if read is not None:
                name, notes[name] = read
                place = f"what follows {name}"
                continue
            yield part[done], notes
            done, place, notes = done + 1, head, {}
    except LostProcessError as error:
        path = part[min(done, len(part) - 1)][0]
        raise LostProcessError(f"cannot read {path}: {place}: HDF5 {error}") from error


def readable(paths: Sequence[Path], patience_s: float = PATIENCE_S) -> list[Path]:
    """Those of several files that HDF5 can read the description of; one process reads them in turn.

    What stops it is left out if it does so by itself too, and another process goes on behind that.

    Raises:
        UnstartedProcessError: No process could be started, so nothing is known.
    """
    good: list[Path] = []
    rest = list(paths)
    while rest:
        done = 0
        try:
            for _ in run_apart(
                "vand_demos.storage.guard:iterate_files",
                list(map(str, rest)),
                patience_s=patience_s,
                memory_bytes=MEMORY_BYTES,
            ):
                done += 1
        except UnstartedProcessError:
            raise
        except VandError:
            good += rest[:done]
            good += [path for path in rest[done : done + 1] if _is_readable(path, patience_s)]
            rest = rest[done + 1 :]
        else:
            return good + rest
    return good


def _is_readable(path: Path, patience_s: float) -> bool:
    """Whether HDF5 can read what describes a file."""
    try:
        require_readable(path, patience_s)
    except UnstartedProcessError:
        raise
    except VandError:
        return False
    return True


def iterate_descriptions(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read all that describes the arrays of a data set, and every text, as far as HDF5 lets it.

    Yields:
        The name of each episode, once its description has been read, and its attributes, as far as
        they are worth a note.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or HDF5 refuses to read it.
    """
    with open_file(Path(path)) as file, hdf5_errors("read", Path(path)):
        _touch("", file)
        if "data" not in file:
            return
        _touch("", file["data"])
        checksums = _Checksums(file)
        for name in demo_names(file):
            demo = demo_group(file, name)
            attributes = {key: read_attribute(demo, key) for key in demo.attrs}
            for item in _members(demo, checksums):
                _touch("", item)
            yield name, {key: value for key, value in attributes.items() if _is_sound(key, value)}


def iterate_all_descriptions(*paths: str) -> Iterator[tuple[str, dict[str, Any]] | None]:
    """Read the descriptions of several files, see `iterate_descriptions`.

    Yields:
        What `iterate_descriptions` gives of each episode, and None behind each file.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, or HDF5 refuses to read it.
    """
    for path in paths:
        yield from iterate_descriptions(path)
        yield None


def iterate_files(*paths: str) -> Iterator[str]:
    """Read the descriptions of several files, see `iterate_descriptions`.

    Yields:
        Each file, once its description has been read.

    Raises:
        VandError: The next file is not there, or HDF5 refuses to read it.
    """
    for path in paths:
        for _ in iterate_descriptions(path):
            pass
        yield path


def require_groups_fit(path: Path) -> None:
    """Reads all that describes an HDF5 file of any layout, and checks what its groups declare.

    Raises:
        UsageError: There is no such file.
        VandError: It is no HDF5 file, HDF5 refuses to read it, or what one group at the top
            declares does not fit the limit of memory.
    """
    with open_file(path) as file, hdf5_errors("read", path):
        _touch("", file)
        for name in file:
            items: list[Any] = []
            group = child(file, name, h5py.Group)
            group.visititems(lambda _, item, found=items: found.append(item))
            for item in items:
                _touch("", item)
            arrays = [item for item in items if isinstance(item, h5py.Dataset) and item.shape]
            for array in arrays:
                if array.is_virtual or array.external:
                    raise VandError(f"{path}: {array.name}: expected its numbers in this file")
            sizes = [_declared_bytes(array) for array in arrays]
            require_room(f"{path}: {name}", sum(sizes))


class _Checksums:
    """Tells which descriptions of arrays have a checksum: HDF5 has compared it when it lists them.

    Args:
        file: The open file.
    """

    def __init__(self, file: Any) -> None:
        version = file.id.get_create_plist().get_version()[0]
        self._present = version >= CHECKED_SUPERBLOCK and hasattr(os, "pread")
        # the driver of an open file on the disk has a descriptor, which nothing else reads from
        self._descriptor = file.id.get_vfd_handle() if self._present else -1

    def cover(self, address: int) -> bool:
        """Whether the description that begins at an address in the file has one."""
        if not self._present:
            return False
        return os.pread(self._descriptor, len(CHECKED_HEADER), address) == CHECKED_HEADER


def _is_sound(key: str, value: Any) -> bool:
    """Whether an attribute of an episode is worth a note: of a right type, and short."""
    if type(value) not in ATTRIBUTES.get(key, ()):
        return False
    return not isinstance(value, str) or len(value) <= NOTED_CHARACTERS


def _members(group: Any, checksums: "_Checksums") -> Iterator[Any]:
    """Everything below a group that is in this file, as far as there is anything to read.

    An array without attributes is looked into here: h5py's own objects take longer to make than
    HDF5 takes to read them.
    """
    names: list[bytes] = []

    def note(name: bytes, link: Any) -> None:
        if link.type == h5py.h5l.TYPE_HARD and not checksums.cover(link.u):
            names.append(name)

    group.id.links.visit(note, info=True)
    for name in names:
        item = h5py.h5o.open(group.id, name)
        if isinstance(item, h5py.h5d.DatasetID):
            item.get_storage_size()
        if h5py.h5a.get_num_attrs(item):
            yield group[name]


def _declared_bytes(array: Any) -> int:
    """Memory that reading an array takes: itself, and one chunk at a time [bytes]."""
    axes = (array.shape, array.chunks or ())
    return sum(math.prod(sides) * array.dtype.itemsize for sides in axes)


def _touch(_: str, item: Any) -> None:
    """Read what describes a group or an array; the index of an array's chunks is a part of it."""
    for key in item.attrs:
        read_attribute(item, key)
    if isinstance(item, h5py.Dataset):
        item.id.get_storage_size()
