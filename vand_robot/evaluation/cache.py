"""Cache of an evaluation: finished jobs on disk."""

import dataclasses
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.system.files import disk_errors, read_regular, write_bytes
from vand_envs.task_batch import ENV_VERSION
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.perturbations import SUITE_VERSION
from vand_robot.evaluation.reference import TaskReference

JOB_VERSION = 2
"""Raised when the content of a job's file changes."""


@dataclass(frozen=True)
class JobFolder:
    """Finished jobs on disk. A file's name says all that its content follows from."""

    path: Path
    """The folder."""
    policy: str
    """Digest of the policy."""
    references: Mapping[str, TaskReference]
    """References that episodes are judged by, by task."""

    def load(self, job: RolloutJob) -> JobResult | None:
        """The result of a job; None if it is not finished, or its file is damaged.

        Raises:
            VandError: The file cannot be read.
        """
        file = self._file(job)
        if not file.exists():
            return None
        content = read_regular(file)
        checksum, packed = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
        return _unpack(packed) if sha256(packed).digest() == checksum else None

    def save(self, job: RolloutJob, result: JobResult) -> None:
        """Write the result of a job; the file appears when it is whole.

        Raises:
            VandError: The disk is full or fails.
        """
        with disk_errors("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        packed = _pack(result)
        write_bytes(self._file(job), sha256(packed).digest() + packed)

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, job: RolloutJob) -> Path:
        facts = [
            JOB_VERSION,
            SUITE_VERSION,
            ENV_VERSION,
            self.policy,
            dataclasses.asdict(job) | {"perturbation": job.perturbation.to_json()},
            {task: reference.to_json() for task, reference in self.references.items()},
        ]
        digest = sha256(json.dumps(facts).encode()).hexdigest()[:16]
        return self.path / f"{job.name}-{digest}.job"


_CHECKSUM_BYTES = 32
"""Length of the SHA-256 sum at the beginning of a file, by which damage of the rest is found."""


def _pack(result: JobResult) -> bytes:
    """A result as the bytes of an NPZ archive."""
    arrays: dict[str, Any] = {
        "rows": np.array(json.dumps(result.rows)),
        "stage_times_s": result.stage_times_s,
    }
    if result.signal is not None and result.valid is not None:
        arrays |= {"signal": result.signal, "valid": result.valid}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def _unpack(packed: bytes) -> JobResult:
    """The result that `_pack` packed."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return JobResult(
            rows=tuple(json.loads(str(arrays["rows"]))),
            stage_times_s=arrays["stage_times_s"],
            signal=arrays.get("signal"),
            valid=arrays.get("valid"),
        )
