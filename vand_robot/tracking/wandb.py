"""Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vand_robot.tracking.base import TrackedRun, Tracker

PROJECT = "vand-robot"
"""Project where `WANDB_PROJECT` names none."""


class WandbTracker(Tracker):
    """Reports to Weights & Biases, or with WANDB_MODE=offline to `wandb/` in the run's folder."""

    package: ClassVar[str] = "wandb"
    module: ClassVar[str] = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        import wandb  # noqa: PLC0415  (optional)

        self._wandb: Any = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run.id,
            dir=str(run.folder),
            config=dict(run.config),
            resume="allow",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """As `Tracker.log`."""
        if metrics:
            self._run.log(dict(metrics), step=update)

    def figure(self, name: str, file: Path) -> None:
        """As `Tracker.figure`."""
        self._run.log({name: self._wandb.Image(str(file))})

    def checkpoint(self, folder: Path) -> None:
        """As `Tracker.checkpoint`."""
        artifact = self._wandb.Artifact(f"policy-{self._run.id}", type="model")
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact)

    def close(self, *, finished: bool) -> None:
        """As `Tracker.close`."""
        self._run.finish(exit_code=0 if finished else 1)
