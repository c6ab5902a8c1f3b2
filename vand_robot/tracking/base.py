"""The interface of trackers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class TrackedRun:
    """The training run that is reported."""

    folder: Path
    """Its folder."""
    config: Mapping[str, Any]
    """Its configuration, dotted key -> value."""
    update: int
    """Updates already done; what was reported beyond them is said again."""
    id: str
    """Identifier that stays the same when the run is resumed."""

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.resolve().name


class Tracker(ABC):
    """Reports a run to one service. Its constructor takes the `TrackedRun` and may fail.

    Whatever it raises ends the run with one line: a run that was to be reported and is not would be
    noticed too late. The run itself is safe and can be resumed.
    """

    package: ClassVar[str]
    """Name of the package to install."""
    module: ClassVar[str]
    """Module of that package, which tells whether it is installed."""

    @abstractmethod
    def __init__(self, run: TrackedRun) -> None: ...

    @abstractmethod
    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of one update."""

    @abstractmethod
    def figure(self, name: str, file: Path) -> None:
        """Report a figure.

        Args:
            name: Its name.
            file: PNG.
        """

    @abstractmethod
    def checkpoint(self, folder: Path) -> None:
        """Report the best checkpoint, a folder of files."""

    @abstractmethod
    def close(self, *, finished: bool) -> None:
        """End the report; `finished` says whether the run made all its updates."""
