"""Data sets that are opened when they are needed, of which few are open at once."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from vand_demos import DemoDataset
from vand_demos.storage.guard import Version, file_version
from vand_demos.system.files import disk_errors
from vand_envs.errors import VandError

try:
    import resource
except ImportError:  # Windows has none, and allows more files than we keep open
    resource = None  # type: ignore[assignment]

MOST_OPEN = 128
"""Files that are kept open; fewer where the system allows a process few."""


class DataFiles:
    """Data sets by their paths; one that was closed for others is opened again.

    A file that changes meanwhile is refused: nobody would learn that a run saw two versions of it.

    Args:
        most_open: Files that are kept open; by default `MOST_OPEN`, or a quarter of what the
            system allows this process.
    """

    def __init__(self, most_open: int | None = None) -> None:
        self._most = _most_open() if most_open is None else most_open
        self._open: OrderedDict[str, DemoDataset] = OrderedDict()
        self._versions: dict[str, Version] = {}
        self._lock = threading.RLock()

    @contextmanager
    def use(self, path: str) -> Iterator[DemoDataset]:
        """An open data set within the block; other threads wait for its end.

        Raises:
            UsageError: There is no such file.
            VandError: It cannot be read, or has changed since it was used first.
        """
        with self._lock:
            if path not in self._open:
                while len(self._open) >= self._most:
                    self._open.popitem(last=False)[1].close()
                self._open[path] = self._opened(path)
            self._open.move_to_end(path)
            yield self._open[path]

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    def _opened(self, path: str) -> DemoDataset:
        dataset = DemoDataset.open(path, guarded=True)
        with disk_errors("read", dataset.path):
            version = file_version(dataset.path)
        if self._versions.setdefault(path, version) != version:
            dataset.close()
            raise VandError(f"{path} has changed since it was read for this run")
        return dataset


def _most_open() -> int:
    limit = getattr(resource, "getrlimit", None)
    if limit is None:
        return MOST_OPEN
    allowed, _ = limit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if allowed < 0 else min(MOST_OPEN, max(1, allowed // 4))
