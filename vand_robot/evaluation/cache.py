"""Finished jobs of an evaluation on disk."""

import dataclasses
import io
import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.system.files import disk_errors, write_bytes
from vand_envs.task_batch import ENV_VERSION
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.perturbations import SUITE_VERSION
from vand_robot.evaluation.reference import TaskReference


@dataclass(frozen=True)
class JobFolder:
    """Finished jobs on disk. A file's name says all that its content follows from."""

    path: Path
    """The folder."""
    policy: str
    """Digest of the policy."""
    references: Mapping[str, TaskReference]
    """What episodes are judged by."""

    def load(self, job: RolloutJob) -> JobResult | None:
        """The outcome of a job, or None: it was not finished, or what is there of it is damaged.

        Raises:
            VandError: The file cannot be read.
        """
        file = self._file(job)
        if not file.exists():
            return None
        with disk_errors("read", file):
            content = file.read_bytes()
        try:
            return _unpacked(content)
        except _DAMAGE:
            return None

    def save(self, job: RolloutJob, outcome: JobResult) -> None:
        """Write the outcome of a job; the file appears when it is whole.

        Raises:
            VandError: The disk is full or fails.
        """
        content = io.BytesIO()
        arrays: dict[str, Any] = {
            "rows": np.array(json.dumps(outcome.rows)),
            "stage_times_s": outcome.stage_times_s,
        }
        if outcome.signal is not None and outcome.valid is not None:
            arrays |= {"signal": outcome.signal, "valid": outcome.valid}
        np.savez_compressed(content, **arrays)
        with disk_errors("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self._file(job), content.getvalue())

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, job: RolloutJob) -> Path:
        facts = [
            SUITE_VERSION,
            ENV_VERSION,
            self.policy,
            dataclasses.asdict(job) | {"perturbation": job.perturbation.to_json()},
            {task: task_reference.to_json() for task, task_reference in self.references.items()},
        ]
        digest = sha256(json.dumps(facts).encode()).hexdigest()[:16]
        return self.path / f"{job.name}-{digest}.npz"


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a damaged archive raises, depending on where the damage is."""


def _unpacked(content: bytes) -> JobResult:
    """The outcome in a file of `JobFolder`.

    Raises:
        One of `_DAMAGE`: It is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (damaged := archive.testzip()) is not None:  # all sums first: arrays are read by parts
            raise zipfile.BadZipFile(damaged)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return JobResult(
            rows=tuple(json.loads(str(arrays["rows"]))),
            stage_times_s=arrays["stage_times_s"],
            signal=arrays.get("signal"),
            valid=arrays.get("valid"),
        )
