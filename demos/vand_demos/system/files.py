"""Files that survive a crash (written beside, flushed, renamed) and locks that die with us."""

import errno
import os
import shutil
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from vand_demos.system.limits import require_room
from vand_envs.errors import UsageError, VandError

TEMPORARY_SUFFIX = ".tmp"
"""Ends the names of files that were not finished; what a crash leaves of them is worthless."""

_BLOCK_BYTES = 1 << 20
"""Written at once where a file has to be filled [bytes]."""

_LEAST_BYTES = 64 * 1024
"""A disk with less free space than this is full [bytes]."""

_ATTEMPTS = 100
"""How often to try for a lock file that others keep deleting, before giving up."""

_OURS = frozenset({"vand_envs", "vand_demos", "vand_robot"})
"""Packages whose own errors are programming errors, never damage of a file."""


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~user` replaced by a home; a folder may be called `~name`, too.

    Raises:
        UsageError: There is no such user, and no such folder.
    """
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        if Path(path.parts[0]).exists():
            return path
        raise UsageError(f"{path}: there is no user or folder {path.parts[0]!r}") from None


def file_path(path: str | Path) -> Path:
    """The file that a path names: `~` is expanded, and a link to a file followed.

    A new file would take the place of a link, not of what it leads to, and a lock beside the link
    would be another than the one beside the file.

    Raises:
        UsageError: It has no name of a file, as `.`, `/` and the empty path have none.
    """
    path = expanded(path)
    if not path.name:
        raise UsageError(f"expected a file, got the folder {str(path)!r}")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def require_regular(path: Path) -> None:
    """Checks that a path leads to a regular file: opening a pipe or a device may never return.

    Raises:
        VandError: There is something else; or nothing, or it cannot be looked at.
    """
    with disk_errors("read", path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
        raise VandError(f"{path}: expected a file, got {kind}")


def read_regular(path: Path) -> bytes:
    """The content of a regular file of a sensible size.

    Raises:
        VandError: It is none, cannot be read, or takes more memory than `VAND_MAX_BYTES`.
    """
    require_regular(path)
    with disk_errors("read", path):
        require_room(str(path), path.stat().st_size)
        return path.read_bytes()


@contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn what the operating system raises into one line: `cannot <doing> <path>: <reason>`.

    Raises:
        VandError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise VandError(f"cannot {doing} {path}: {_reason(error)}") from error


@contextmanager
def library_errors(doing: str, path: Path, *libraries: str) -> Iterator[None]:
    """Turn what a library raises over a damaged file into one line, as `disk_errors` does.

    Libraries raise `KeyError`, `TypeError` and others for a file that is damaged, so the kind says
    nothing useful. Where an error comes from does: one that our own code raises passes through.

    Args:
        doing: What is done to the file, for the message.
        path: The file.
        libraries: Names of the packages that read or write it, such as `"h5py"`.

    Raises:
        VandError: In place of an `OSError`, a `MemoryError`, or any error that a library raised.
    """
    try:
        yield
    except VandError:
        raise
    except (OSError, MemoryError) as error:
        raise VandError(f"cannot {doing} {path}: {_reason(error)}") from error
    except Exception as error:
        if _origin(error, libraries) not in libraries:
            raise
        raise VandError(f"cannot {doing} {path}: {_reason(error)}") from error


def _origin(error: Exception, libraries: tuple[str, ...]) -> str:
    """The package that raised an error: the innermost that is ours or one of the libraries."""
    packages = [
        str(frame.f_globals.get("__name__", "")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    known = [package for package in packages if package in libraries or package in _OURS]
    return known[-1] if known else ""


def _reason(error: Exception) -> str:
    """The gist of an error, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in text:
        return "the disk is full"
    if os.strerror(errno.EFBIG) in text:  # HDF5 says much more
        return os.strerror(errno.EFBIG)
    if isinstance(error, OSError) and error.errno and error.strerror:
        return error.strerror
    return text if len(text) <= 200 else f"{text[:197]}..."


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has hardly any room."""
    return shutil.disk_usage(folder).free < _LEAST_BYTES


@contextmanager
def replacing(path: Path, folder: Path) -> Iterator[Path]:
    """Write a file that appears at `path` whole or not at all.

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


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Write a folder that appears at `folder` whole or not at all.

    Files of one folder belong together. So the new folder is written beside the old one; then the
    old one steps aside and the new one takes its name. A crash between the two renames leaves the
    old folder whole under the name that `folder_aside` gives.

    Yields:
        The folder to write to. When the block ends well, its files are flushed to the disk and it
        is renamed; when it raises, it is removed, and `folder` is as it was.

    Raises:
        OSError: The disk is full or fails.
    """
    new, old = leftovers(folder)
    shutil.rmtree(new, ignore_errors=True)  # of a writer that was killed
    stepped_aside = False
    try:
        new.mkdir(parents=True)
        yield new
        for path in new.rglob("*"):
            sync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            stepped_aside = True
        new.rename(folder)
    except BaseException:
        if stepped_aside and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def folder_aside(folder: Path) -> Path:
    """Where the old content of a folder is while `replacing_folder` puts the new one in place."""
    return _beside(folder, "old")


def leftovers(folder: Path) -> tuple[Path, Path]:
    """Folders that a killed `replacing_folder` may leave: the unfinished new one, the old one."""
    return _beside(folder, "new"), folder_aside(folder)


def _beside(folder: Path, name: str) -> Path:
    folder = folder.absolute()  # "." has no name, and "/" has none at all
    return folder.parent / f".{folder.name}.{name}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, and is on the disk on return.

    Raises:
        VandError: The disk is full or fails; nothing is left behind.
    """
    with replacing(path, path.parent) as temporary, disk_errors("write", path):
        temporary.write_bytes(content)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Windows flushes files only where they are open for writing, and folders not at all.
    """
    windows = os.name == "nt"
    if windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reserve(path: Path, size: int) -> None:
    """Claim disk space for a file to grow to `size` bytes.

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
    """Hold the lock of a folder, which is made for it and removed after it where it is empty.

    The lock ends with the process, however that ends. Unfinished files that an earlier holder left
    in the folder are removed.

    Args:
        folder: Folder that holds the lock file.
        what: What the lock protects, for the message.

    Raises:
        VandError: Somebody else holds it.
    """
    with disk_errors("lock", what):
        lock = _acquire(folder, what)
    try:
        with disk_errors("lock", what):
            for leftover in folder.glob(f"*{TEMPORARY_SUFFIX}"):
                leftover.unlink(missing_ok=True)
        yield
    finally:
        # Removed while it is held: whoever opened it meanwhile sees that and tries anew. A folder
        # that is not empty, or in which somebody has just made another lock file, stays.
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def _acquire(folder: Path, what: Path) -> BaseFileLock:
    """The lock of a folder, held.

    Raises:
        OSError: The folder or the lock file cannot be made.
        VandError: Somebody else holds it.
    """
    path = folder / "lock"
    lock = FileLock(path, timeout=0, thread_local=False)
    failed: OSError | None = None
    for _ in range(_ATTEMPTS):
        try:
            folder.mkdir(parents=False, exist_ok=True)
            lock.acquire()
        except Timeout:
            if path.exists():
                raise VandError(
                    f"{what} is being written by another process; wait for it"
                ) from None
            # else its last holder removed the lock file just now
        except (FileNotFoundError, FileExistsError) as error:  # the folder was removed just now?
            failed = error
        else:
            return lock
    raise failed or VandError(f"{what}: could not get its lock {path}")
