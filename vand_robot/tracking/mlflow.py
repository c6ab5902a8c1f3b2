"""MLflow."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vand_robot.tracking.base import TrackedRun, Tracker

EXPERIMENT = "vand-robot"
"""Experiment where `MLFLOW_EXPERIMENT_NAME` names none."""
_TAG = "vand_robot.run"
_LONGEST_VALUE = 500
"""MLflow refuses values of parameters that are longer."""


class MlflowTracker(Tracker):
    """Reports to the server of MLFLOW_TRACKING_URI, or else to `mlflow.db` in the run's folder."""

    package: ClassVar[str] = "mlflow"
    module: ClassVar[str] = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415  (optional)
        from mlflow.entities import Param  # noqa: PLC0415

        folder = run.folder.absolute()
        here = f"sqlite:///{folder / 'mlflow.db'}"
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self._client: Any = MlflowClient(server or here)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        place = None if server else (folder / "mlflow").as_uri()
        number = (
            self._client.create_experiment(name, artifact_location=place)
            if experiment is None
            else experiment.experiment_id
        )
        found = self._client.search_runs([number], filter_string=f"tags.`{_TAG}` = '{run.id}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(
            number, run_name=run.name, tags={_TAG: run.id}
        ).info.run_id
        values = [Param(key, str(value)[:_LONGEST_VALUE]) for key, value in run.config.items()]
        self._client.log_batch(self._id, params=values)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """As `Tracker.log`."""
        from time import time  # noqa: PLC0415

        from mlflow.entities import Metric  # noqa: PLC0415

        now = round(1000 * time())
        self._client.log_batch(
            self._id, metrics=[Metric(name, value, now, update) for name, value in metrics.items()]
        )

    def figure(self, name: str, file: Path) -> None:  # noqa: ARG002  (its file's name is enough)
        """As `Tracker.figure`."""
        self._client.log_artifact(self._id, str(file), "figures")

    def checkpoint(self, folder: Path) -> None:
        """As `Tracker.checkpoint`."""
        self._client.log_artifacts(self._id, str(folder), "policy")

    def close(self, *, finished: bool) -> None:
        """As `Tracker.close`."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")
