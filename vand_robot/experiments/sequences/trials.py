"""Trials side by side, each kept as a file of its own as soon as it is done.

The file is named after what determines the trial. So whoever asks again gets it from there: an
interrupted study goes on where it was, and does nothing twice.
"""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_demos.system.interrupt import Interrupt
from vand_envs.errors import VandError
from vand_robot.experiments.sequences.trial import Trial, run_trial

Outcome = dict[str, Any]
"""What `run_trial` gives."""

POLL_S = 0.5
"""How often to look whether Ctrl-C was pressed [s]."""


class Trials:
    """Trials done so far.

    Args:
        folder: Where their files are.
        pool: Runs them.
        interrupt: Whether to stop.
        on_done: Called with the number done.
    """

    def __init__(
        self,
        folder: Path,
        pool: ProcessPoolExecutor,
        interrupt: Interrupt,
        on_done: Callable[[int], None],
    ) -> None:
        self.done: dict[str, Outcome] = {}
        self._folder, self._pool = folder, pool
        self._interrupt, self._on_done = interrupt, on_done

    def run(self, trials: Iterable[Trial]) -> list[Outcome]:
        """Do what is not done yet of these trials.

        Returns:
            The outcome of each.

        Raises:
            VandError: A file cannot be read or written, or a process died.
            KeyboardInterrupt: After Ctrl-C, when what was running is done and kept.
        """
        wanted = list(trials)
        missing = [trial for trial in wanted if not self._find(trial)]
        waiting = {self._pool.submit(run_trial, trial): trial for trial in missing}
        while waiting:
            finished, _ = wait(waiting, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for future in finished:
                self._keep(waiting.pop(future), future)
            if self._interrupt.requested:
                self._pool.shutdown(cancel_futures=True)
                for future, trial in waiting.items():
                    if not future.cancelled():
                        self._keep(trial, future)
                raise KeyboardInterrupt
        return [self.done[trial.key] for trial in wanted]

    def _find(self, trial: Trial) -> bool:
        """Whether a trial is done, here or in an earlier run."""
        path = self._path(trial)
        if trial.key not in self.done and path.exists():
            with disk_errors("read", path):
                content = path.read_bytes()
            try:
                self.done[trial.key] = json.loads(content)
            except ValueError as error:
                raise VandError(f"cannot read {path}: expected JSON: {error}") from error
            self._on_done(len(self.done))
        return trial.key in self.done

    def _keep(self, trial: Trial, future: Future[Outcome]) -> None:
        try:
            outcome = future.result()
        except BrokenProcessPool as error:
            raise VandError(
                "a process died (out of memory?); the same command goes on, with fewer --jobs"
            ) from error
        write_bytes(self._path(trial), json.dumps(outcome).encode())
        self.done[trial.key] = outcome
        self._on_done(len(self.done))

    def _path(self, trial: Trial) -> Path:
        return self._folder / f"{trial.key}.json"


@contextmanager
def running_trials(out: Path, jobs: int, on_done: Callable[[int], None]) -> Iterator[Trials]:
    """Trials kept in a folder, which is made if it is not there.

    Args:
        out: The folder.
        jobs: Processes side by side, of one thread each.
        on_done: Called with the number of trials done.

    Raises:
        VandError: The disk is full or fails, or somebody else is writing there.
    """
    folder = out / "trials"
    with disk_errors("make", out):
        out.mkdir(parents=True, exist_ok=True)
    # Fresh interpreters: a fork of one that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with (
        exclusive(folder, out),
        Interrupt() as interrupt,
        ProcessPoolExecutor(jobs, context, _prepare) as pool,
    ):
        yield Trials(folder, pool, interrupt, on_done)


def _prepare() -> None:
    """Set a worker up: one thread, and Ctrl-C left to the one who started it."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
