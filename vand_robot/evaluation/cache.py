"""Cache of an evaluation: finished jobs on disk."""

import dataclasses
import io
import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.system.files import disk_errors, read_regular, write_bytes
from vand_demos.system.json_record import parse_json
from vand_demos.system.limits import limit_bytes
from vand_envs import get_task, task_ids
from vand_envs.errors import VandError
from vand_envs.task_batch import ENV_VERSION
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.perturbations import SUITE_VERSION
from vand_robot.evaluation.reference import TaskReference
from vand_robot.layout import JOBS_FOLDER

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
        """The result of a job; None if it is not finished, or its file is damaged or foreign.

        Raises:
            VandError: The file cannot be read.
        """
        file = self._file(job)
        if not file.exists():
            return None
        content = read_regular(file)
        checksum, packed = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
        if sha256(packed).digest() != checksum:
            return None
        result = _unpack(packed)
        # a task of an environment of others has no stages
        stages = len(get_task(job.task).stage_names) if job.task in task_ids() else 0
        return result if result is not None and _fits(result, job, stages) else None

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

    def holds(self, job: RolloutJob) -> bool:
        """Whether there is a result of a job, whole or damaged."""
        return self._file(job).exists()

    def digest(self, jobs: Sequence[RolloutJob]) -> str:
        """Digest of all that the results of jobs follow from, but software and machine."""
        return sha256("\n".join(self._file(job).name for job in jobs).encode()).hexdigest()

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


_ARRAYS = ("rows", "stage_times_s", "signal", "valid")
"""Arrays of a job's file; the last two of a periodic task alone."""

_UNREADABLE = (
    *(OSError, EOFError, ValueError, KeyError, NotImplementedError, MemoryError),
    *(zlib.error, zipfile.BadZipFile),
)
"""What zipfile and numpy raise for an archive that is none, or that `_pack` did not make."""

_ENCRYPTED = 1
"""Flag of a file in a zip archive."""


def _unpack(packed: bytes) -> JobResult | None:
    """The result that `_pack` packed; None if something else was packed, or too much."""
    content = io.BytesIO(packed)
    try:
        with zipfile.ZipFile(content) as archive:
            entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > limit_bytes():
            return None
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            return None
        with np.load(content, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in _ARRAYS if name in arrays}
        rows = parse_json(str(found["rows"]), JOBS_FOLDER)
        return JobResult(
            rows=tuple(rows) if isinstance(rows, list) else (),
            stage_times_s=found["stage_times_s"],
            signal=found.get("signal"),
            valid=found.get("valid"),
        )
    except (*_UNREADABLE, VandError):
        return None


def _fits(result: JobResult, job: RolloutJob, stages: int) -> bool:
    """Whether a result is that of a job, as far as can be seen: its episodes, types and shapes."""
    n = len(job.seeds)
    if [_label(row) for row in result.rows] != [
        (job.task, job.perturbation.name, seed) for seed in job.seeds
    ]:
        return False
    names = result.rows[0].keys()
    if any(row.keys() != names or type(row.get("success")) is not bool for row in result.rows):
        return False
    values = [value for row in result.rows for value in row.values()]
    texts = all(isinstance(row.get(key, ""), str) for row in result.rows for key in _TEXTS)
    if not texts or not all(isinstance(value, str | int | float | None) for value in values):
        return False
    expected = {"stage_times_s": (n, stages)}
    if result.signal is not None and result.valid is not None:
        steps = result.signal.shape[1:2]
        expected |= {"signal": (n, *steps, 2), "valid": (n, *steps)}
    arrays = {name: getattr(result, name) for name in expected}
    return all(a.shape == expected[k] and a.dtype.kind in "fb" for k, a in arrays.items())


_TEXTS = ("achieved", "failures", "after")
"""Values of a row that are texts, where they are there."""


def _label(row: object) -> tuple[object, ...]:
    """Task, perturbation and seed of a row, whatever it is."""
    named = row if isinstance(row, dict) else {}
    return tuple(named.get(name) for name in ("task", "perturbation", "seed"))
