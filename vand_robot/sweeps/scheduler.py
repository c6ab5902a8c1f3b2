"""The loop that starts the trials of a sweep, waits for them, and starts dead ones again."""

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from vand_demos.system.files import disk_errors
from vand_demos.system.interrupt import Interrupt
from vand_envs.errors import VandError
from vand_robot.sweeps.backends import GRACE_S, LOG_FILE, Backend, RunningTrial
from vand_robot.sweeps.board import Board, RunningRow
from vand_robot.sweeps.outcomes import Outcome, OutcomeFile
from vand_robot.sweeps.source import TrialSource
from vand_robot.sweeps.trial import DONE_FILE, Trial, TrialResult, read_result, read_update

POLL_S = 0.2
"""How often the trials are looked at [s]."""

Ended = list[tuple[Trial, Outcome]]
"""Trials that ended, with their outcomes."""


class SweepInterruptedError(VandError):
    """The sweep was stopped; what was finished, and the checkpoints of the rest, are safe."""

    exit_code = 130


@dataclass
class _Attempt:
    """A trial in a back end."""

    trial: Trial
    running: RunningTrial
    began: float
    number: int


class Scheduler:
    """Runs the trials of a sweep.

    Args:
        source: The trials.
        backend: Where they run.
        folder: Folder that holds a folder for each.
        file: Where outcomes are kept.
        retries: How often a trial is started again whose process died.
        board: Shows how things stand.
    """

    def __init__(
        self,
        source: TrialSource,
        backend: Backend,
        folder: Path,
        file: OutcomeFile,
        *,
        retries: int,
        board: Board,
    ) -> None:
        self._source, self._backend, self._folder, self._file = source, backend, folder, file
        self._retries, self._board = retries, board
        self._known = file.read()
        self._attempts: dict[str, int] = {}
        self._running: list[_Attempt] = []
        self._again: deque[Trial] = deque()
        self._ended: Ended = []

    def run(self) -> Ended:
        """Run all trials.

        Returns:
            Each trial and its outcome; those that failed too.

        Raises:
            SweepInterruptedError: Ctrl-C; trials that ran have saved.
            VandError: The disk is full, or the back end fails.
        """
        try:
            with Interrupt() as interrupt:
                while self._start_trials() or self._running:
                    if interrupt.requested:
                        raise SweepInterruptedError(
                            f"stopped: {len(self._ended)} of {self._source.total} trials have"
                            " ended; to go on: the same command with --resume"
                        )
                    self._collect()
                    self._show()
                    time.sleep(POLL_S if self._running else 0)
        finally:
            self._stop()
        self._show()
        return self._ended

    def _start_trials(self) -> bool:
        """Start trials while there is room; say whether anything was done."""
        before = len(self._ended) + len(self._running)
        while len(self._running) < self._backend.slots:
            trial = self._again.popleft() if self._again else self._source.take()
            if trial is None:
                break
            outcome = self._finished_before(trial)
            if outcome is not None:
                self._end(trial, outcome)
                continue
            self._start(trial)
        return len(self._ended) + len(self._running) > before

    def _finished_before(self, trial: Trial) -> Outcome | None:
        """The outcome of a trial that an earlier command finished well."""
        known = self._known.get(trial.key)
        if known is not None and not known.result.error:
            return known
        result = read_result(self._folder / trial.name)
        if result is None or result.error:
            return None
        outcome = Outcome(
            trial.key, trial.name, 1, 0.0, result
        )  # killed before it was written down
        self._file.append(outcome, trial)
        return outcome

    def _start(self, trial: Trial) -> None:
        folder = self._folder / trial.name
        trial.write(folder)
        with disk_errors("remove", folder):
            (folder / DONE_FILE).unlink(missing_ok=True)
        number = self._attempts[trial.key] = self._attempts.get(trial.key, 0) + 1
        running = self._backend.start(folder)
        self._running.append(_Attempt(trial, running, time.monotonic(), number))

    def _collect(self) -> None:
        """Take notice of the trials that are over."""
        for attempt in [attempt for attempt in self._running if not attempt.running.poll()]:
            self._running.remove(attempt)
            trial = attempt.trial
            result = read_result(self._folder / trial.name)
            if result is None:
                if attempt.number <= self._retries:
                    self._board.note(f"{trial.name}: its process died; it is started again")
                    self._again.append(trial)
                    continue
                log = self._folder / trial.name / LOG_FILE
                result = TrialResult(error=f"its process died {attempt.number} times; see {log}")
            seconds = time.monotonic() - attempt.began
            outcome = Outcome(trial.key, trial.name, attempt.number, seconds, result)
            self._file.append(outcome, trial)
            self._end(trial, outcome)

    def _end(self, trial: Trial, outcome: Outcome) -> None:
        self._ended.append((trial, outcome))
        self._source.tell(trial, outcome)
        self._board.ended(trial, outcome)

    def _show(self) -> None:
        now = time.monotonic()
        rows = [
            RunningRow(
                attempt.trial,
                read_update(self._folder / attempt.trial.name / attempt.trial.run_name),
                now - attempt.began,
            )
            for attempt in self._running
        ]
        self._board.show(rows, self._source.total)

    def _stop(self) -> None:
        """Ask what still runs to save and stop, and see to it that it does."""
        for attempt in self._running:
            attempt.running.stop()
        deadline = time.monotonic() + GRACE_S
        for attempt in self._running:
            attempt.running.wait(deadline)
        self._running = []
