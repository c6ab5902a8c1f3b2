"""Trackers by name, and all trackers of a run as one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from vand_demos.system.files import disk_errors, write_bytes
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.tasks.registry import load_all_plugins
from vand_robot import figures
from vand_robot.layout import METRICS_FILE, TRACKING_FILE
from vand_robot.tracking.base import TrackedRun, Tracker
from vand_robot.tracking.mlflow import MlflowTracker
from vand_robot.tracking.tensorboard import TensorBoardTracker
from vand_robot.tracking.trackio import TrackioTracker
from vand_robot.tracking.wandb import WandbTracker

CURVE = "training-curve"
"""Name of the figure that a finished run reports."""

TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
    "trackio": TrackioTracker,
}
"""Name -> tracker."""


def register_tracker(name: str, tracker: type[Tracker]) -> type[Tracker]:
    """Make a tracker of a plugin known under a name.

    Raises:
        UsageError: The name is taken.
    """
    if name in TRACKERS:
        raise UsageError(f"tracker {name!r} is registered already")
    TRACKERS[name] = tracker
    return tracker


def require_trackers(names: Sequence[str]) -> None:
    """Check that trackers are known and their packages installed.

    Raises:
        UsageError: An unknown name.
        VandError: A package is missing.
    """
    load_all_plugins()
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        if find_spec(TRACKERS[name].module) is None:
            raise VandError(
                f"trackers: {name} is not installed; pip install {TRACKERS[name].package}"
            )


class Trackers:
    """All trackers of a run.

    Args:
        trackers: Name -> tracker.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = trackers

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Report the metrics of one update.

        Raises:
            VandError: A tracker fails.
        """
        for name, tracker in self._trackers.items():
            with _failing(name):
                tracker.log(update, metrics)

    def finish(self, best: Path) -> None:
        """Report what a finished run ends with: its training curve and its best checkpoint.

        Args:
            best: Folder of the checkpoint; the run's `metrics.jsonl` lies beside it.

        Raises:
            VandError: A tracker fails.
        """
        if not self._trackers:
            return
        with TemporaryDirectory() as folder:
            curve = Path(folder) / f"{CURVE}.png"
            with suppress(VandError):  # a run of a few updates may have nothing to draw
                figures.write_png(figures.training_curve(best.parent / METRICS_FILE), curve)
            for name, tracker in self._trackers.items():
                with _failing(name):
                    if curve.exists():
                        tracker.figure(CURVE, curve)
                    tracker.checkpoint(best)


@contextmanager
def open_trackers(
    names: Sequence[str], folder: Path, config: Mapping[str, object], update: int
) -> Iterator[Trackers]:
    """Report a run within a block.

    Args:
        names: Names of trackers.
        folder: Folder of the run.
        config: Its configuration, dotted key -> value.
        update: Updates already done.

    Raises:
        VandError: A tracker cannot be begun.
    """
    opened: dict[str, Tracker] = {}
    finished = False
    try:
        if names:
            run = TrackedRun(folder, config, update, _run_id(folder))
            for name in names:
                with _failing(name):
                    opened[name] = TRACKERS[name](run)
        yield Trackers(opened)
        finished = True
    finally:
        for name, tracker in opened.items():
            with _failing(name):
                tracker.close(finished=finished)


def _run_id(folder: Path) -> str:
    """The run's identifier, made when it is first asked for."""
    file = folder / TRACKING_FILE
    if file.exists():
        return JsonRecord.read(file).text("id")
    identifier = uuid4().hex[:16]
    with disk_errors("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_bytes(file, json.dumps({"id": identifier}).encode())
    return identifier


@contextmanager
def _failing(name: str) -> Iterator[None]:
    """Turn whatever a tracker's library raises into one line."""
    try:
        yield
    except VandError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VandError(f"tracker {name}: {reason}; --resume goes on") from error
