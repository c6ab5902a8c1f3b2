"""Trials of an experiment, each kept as a file of its own as soon as it is done.

The file is named after what determines the trial. So whoever asks again gets it from there: an
interrupted study goes on where it was, and does nothing twice.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vand_demos.system.files import disk_errors, exclusive, read_regular, write_bytes
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError
from vand_envs.typing import FloatArray
from vand_robot.evaluation.runner import Executor, Processes, Progress, Work, run_cached
from vand_robot.experiments.comparison.trial import Trial

TrialResult = dict[str, Any]
"""What a trial found, for JSON."""

RunTrial = Callable[[Any], TrialResult]
"""Runs a trial of its experiment; of a module's top level, so that other processes find it."""

CheckResult = Callable[[JsonRecord], object]
"""Raises VandError where something in a result of its experiment is missing or of another type."""


class TrialWork(Work[Trial, TrialResult]):
    """Running of trials. They are short, so Ctrl-C waits for those that run.

    Args:
        run_trial: Runs one.
    """

    finish_running: ClassVar[bool] = True
    to_go_on: ClassVar[str] = "the same command goes on"

    def __init__(self, run_trial: RunTrial) -> None:
        self._run_trial = run_trial

    def prepare(self) -> Callable[[Trial, Progress | None], TrialResult]:
        """As `Work.prepare`."""
        return lambda trial, _: self._run_trial(trial)


class Trials:
    """Trials done so far: in memory, and as JSON files.

    Args:
        folder: Folder of the files.
        run_trial: Runs one.
        check: Checks what is read from a file.
        executor: Where they are run.
        on_done: Called with the number done, whenever it grows.
    """

    def __init__(
        self,
        folder: Path,
        run_trial: RunTrial,
        check: CheckResult,
        executor: Executor,
        on_done: Callable[[int], None],
    ) -> None:
        self.done: dict[str, TrialResult] = {}
        """Key of a trial -> its result."""
        self._folder, self._executor, self._on_done = folder, executor, on_done
        self._work, self._check = TrialWork(run_trial), check

    def run(self, trials: Iterable[Trial]) -> list[TrialResult]:
        """Run what is not done yet of these trials.

        Returns:
            The result of each.

        Raises:
            VandError: A file cannot be read or written, or a process died.
            KeyboardInterrupt: After Ctrl-C, when what was running is done and kept.
        """
        return run_cached(list(trials), self._work, self, self._executor)

    def load(self, job: Trial) -> TrialResult | None:
        """As `Cache.load`.

        Raises:
            VandError: The file cannot be read.
        """
        path = self._path(job)
        if job.key not in self.done and path.exists():
            text = read_regular(path)
            try:
                record = JsonRecord.of(str(path), parse_json(text, str(path)))
                _require_of(record, job)
                self._check(record)
            except VandError:  # damaged: it is done again
                return None
            self._add(job, dict(record.values))
        return self.done.get(job.key)

    def save(self, job: Trial, result: TrialResult) -> None:
        """As `Cache.save`.

        Raises:
            VandError: The disk is full or fails.
        """
        write_bytes(self._path(job), json.dumps(result).encode())
        self._add(job, result)

    def _add(self, trial: Trial, result: TrialResult) -> None:
        self.done[trial.key] = result
        self._on_done(len(self.done))

    def _path(self, trial: Trial) -> Path:
        return self._folder / f"{trial.key}.json"


def _require_of(record: JsonRecord, trial: Trial) -> None:
    """Check that a result is of a trial.

    Raises:
        VandError: It is of another one.
    """
    if record.record("trial").values != json.loads(json.dumps(asdict(trial))):
        raise record.mistake("trial", "the settings that the file is named after")


def require_scores(record: JsonRecord, names: Iterable[str]) -> None:
    """Check the scores of a result: of each motion a number by each name, or null.

    Raises:
        VandError: There is none, or one is missing or of another type.
    """
    motions = record.record_list("scores")
    if not motions:
        raise record.mistake("scores", "those of at least one motion")
    for motion in motions:
        for name in names:
            motion.optional_number(name)


def require_points(record: JsonRecord, key: str) -> FloatArray:
    """Check a path in a result.

    Returns:
        Its points, (T, C); at least one.

    Raises:
        VandError: It is none.
    """
    try:
        points = np.asarray(record.values.get(key))
    except ValueError:  # rows of unequal lengths
        points = np.zeros(0)
    if points.dtype.kind not in "if" or points.ndim != 2 or not points.size:
        raise record.mistake(key, "rows of numbers, equally many in each")
    if not np.isfinite(points).all():
        raise record.mistake(key, "finite numbers")
    return points.astype(np.float64)


@contextmanager
def running_trials(
    out: Path,
    run_trial: RunTrial,
    check: CheckResult,
    jobs: int,
    on_done: Callable[[int], None],
) -> Iterator[Trials]:
    """Trials kept in a folder, which is made if it is not there.

    Args:
        out: The folder.
        run_trial: Runs one.
        check: Checks what is read from a file.
        jobs: Processes side by side, of one thread each.
        on_done: Called with the number of trials done, whenever it grows.

    Raises:
        VandError: The disk is full or fails, or somebody else is writing there.
    """
    folder = out / "trials"
    with disk_errors("make", out):
        out.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, out):
        yield Trials(folder, run_trial, check, Processes(jobs), on_done)
