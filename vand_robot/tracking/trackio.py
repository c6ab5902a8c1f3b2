"""Trackio."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vand_robot.tracking.base import TrackedRun, Tracker

PROJECT = "vand-robot"
"""Project where `TRACKIO_PROJECT` names none."""


class TrackioTracker(Tracker):
    """Reports to Trackio's data base on this machine, in the folder TRACKIO_DIR."""

    package: ClassVar[str] = "trackio"
    module: ClassVar[str] = "trackio"

    def __init__(self, run: TrackedRun) -> None:
        import trackio  # noqa: PLC0415  (optional)

        self._trackio: Any = trackio
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{run.name}-{run.id[:6]}",
            config=dict(run.config),
            resume="allow",
            embed=False,
        )

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """As `Tracker.log`."""
        if metrics:
            self._trackio.log(dict(metrics), step=update)

    def figure(self, name: str, file: Path) -> None:
        """As `Tracker.figure`."""
        self._trackio.log({name: self._trackio.Image(str(file))})

    def checkpoint(self, folder: Path) -> None:
        """As `Tracker.checkpoint`: files are copied into the project."""
        self._trackio.save(str(folder / "*"))

    def close(self, *, finished: bool) -> None:  # noqa: ARG002  (Trackio keeps no status)
        """As `Tracker.close`."""
        self._trackio.finish()
