"""Files that survive a crash (written beside, flushed, renamed) and locks that die with us."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vand_envs.errors import VandError

TEMPORARY_SUFFIX = ".tmp"
"""Ends the names of files that were not finished; what a crash leaves of them is worthless."""

_BLOCK_BYTES = 1 << 20
"""Written at once where a file has to be filled [bytes]."""

_ATTEMPTS = 100
"""How often to try for a lock file that others keep deleting, before giving up."""


def file_path(path: str | Path) -> Path:
    """The file that a path names: `~` is expanded, and a link to a file followed.

    A new file would take the place of a link, not of what it leads to, and a lock beside the link
    would be another than the one beside the file.
    """
    path = Path(path).expanduser()
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turns what the operating system or HDF5 raises into one line: `cannot <doing> <path>: ...`.

    Raises:
        VandError: In place of any error that a damaged file or a bad disk causes.
    """
    try:
        yield
    except VandError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        # h5py raises all of these for a file that is damaged: the kind says nothing useful.
        raise VandError(f"cannot {doing} {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The gist of an error, on one line."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


@contextmanager
def replacing(path: Path, folder: Path) -> Iterator[Path]:
    """Writes a file that appears at `path` whole or not at all.

    Args:
        path: Where the file shall be; what is there is replaced at the end.
        folder: Where it is written, on the same file system.

    Yields:
        The path to write to. When the block ends well, the file there is flushed to the disk and
        renamed; when it raises, it is removed, and `path` is as it was.
    """
    temporary = folder / f"{path.name}{TEMPORARY_SUFFIX}"
    try:
        yield temporary
        with disk_errors("write", path):
            if path.exists():
                shutil.copymode(path, temporary)
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file that appears whole or not at all, and is on the disk on return.

    Raises:
        VandError: The disk is full or fails; nothing is left behind.
    """
    with replacing(path, path.parent) as temporary, disk_errors("write", path):
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(path: Path, size: int) -> None:
    """Claims disk space for a file to grow to `size` bytes.

    HDF5 cannot back out when the disk refuses it in the middle of a write, so it is asked before.

    Raises:
        OSError: There is no room.
    """
    with path.open("r+b") as file:
        present = file.seek(0, os.SEEK_END)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        for start in range(present, size, _BLOCK_BYTES):
            file.write(bytes(min(_BLOCK_BYTES, size - start)))


@contextmanager
def exclusive(folder: Path, what: Path) -> Iterator[None]:
    """Holds the lock of a folder, which is made for it and removed after it where it is empty.

    The lock belongs to the open file, so it ends with the process, however that ends. Unfinished
    files that an earlier holder left in the folder are removed.

    Args:
        folder: Folder that holds the lock file.
        what: What the lock protects, for the message.

    Raises:
        VandError: Somebody else holds it.
    """
    with disk_errors("lock", what):
        descriptor = _acquire(folder, what)
    try:
        with disk_errors("lock", what):
            for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that and tries anew. A folder
        # that is not empty, or in which somebody has just made another lock file, stays.
        with suppress(OSError):
            _lock_file(folder).unlink(missing_ok=True)
            folder.rmdir()
        os.close(descriptor)


def _lock_file(folder: Path) -> Path:
    return folder / "lock"


def _acquire(folder: Path, what: Path) -> int:
    """Descriptor of the locked lock file."""
    path = _lock_file(folder)
    failed: OSError | None = None
    for _ in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=False, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError) as error:  # the folder was removed just now?
            failed = error
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise VandError(f"{what} is being written by another process; wait for it") from None
        except FileNotFoundError:
            pass  # its last holder removed the lock file just now
        os.close(descriptor)
    raise failed or VandError(f"{what}: could not get its lock {path}")
