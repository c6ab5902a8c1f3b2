"""TensorBoard: files in the run's folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vand_robot.layout import RunFolder
from vand_robot.tracking.base import TrackedRun, Tracker


class TensorBoardTracker(Tracker):
    """Writes `tensorboard/` in the run's folder; `tensorboard --logdir RUNS` shows it."""

    package: ClassVar[str] = "tensorboard"
    module: ClassVar[str] = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (takes a second)

        folder = RunFolder(run.folder).tensorboard
        self._board: Any = SummaryWriter(str(folder), purge_step=run.update + 1)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """As `Tracker.log`."""
        for name, value in metrics.items():
            self._board.add_scalar(name, value, update)

    def figure(self, name: str, file: Path) -> None:
        """As `Tracker.figure`."""
        from numpy import asarray  # noqa: PLC0415
        from PIL import Image  # noqa: PLC0415

        with Image.open(file) as picture:
            self._board.add_image(name, asarray(picture.convert("RGB")), dataformats="HWC")

    def checkpoint(self, folder: Path) -> None:
        """As `Tracker.checkpoint`: it lies beside the files already."""

    def close(self, *, finished: bool) -> None:  # noqa: ARG002  (others ask)
        """As `Tracker.close`."""
        self._board.close()
