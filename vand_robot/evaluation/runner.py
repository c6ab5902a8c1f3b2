"""Suites of conditions, run in several processes and kept on disk unit by unit."""

import dataclasses
import io
import json
import multiprocessing
import os
import shutil
import signal
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vand_demos.system.files import disk_errors, write_bytes
from vand_envs.errors import VandError, unknown_name
from vand_envs.task_batch import ENV_VERSION
from vand_robot.evaluation.jobs import Outcome, Unit, run_unit
from vand_robot.evaluation.perturbations import CONDITIONS, NOMINAL, SUITE_VERSION, Condition
from vand_robot.evaluation.reference import Standard
from vand_robot.evaluation.rollout import Policy


@dataclass(frozen=True)
class Suite:
    """A named evaluation."""

    name: str
    """What it is called on the command line."""
    conditions: tuple[Condition, ...]
    """What interferes."""
    episodes: int
    """Episodes of each task under each condition."""


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("nominal", (NOMINAL,), 50),
        Suite("standard", tuple(CONDITIONS.values()), 50),
        Suite("quick", tuple(CONDITIONS.values()), 10),
    )
}
"""Name -> suite."""

PolicyMaker = Callable[[], Policy[Any]]
"""Makes the policy, in each process; it can be pickled."""


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_suite(name: str, conditions: Sequence[str] = (), episodes: int | None = None) -> Suite:
    """The suite of that name, with other conditions or another number of episodes if given.

    Raises:
        UsageError: An unknown suite or condition.
    """
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    for condition in conditions:
        if condition not in CONDITIONS:
            raise unknown_name("condition", condition, CONDITIONS)
    suite = SUITES[name]
    if conditions:
        suite = dataclasses.replace(suite, conditions=tuple(CONDITIONS[c] for c in conditions))
    return suite if episodes is None else dataclasses.replace(suite, episodes=episodes)


@dataclass(frozen=True)
class UnitFolder:
    """Finished units on disk. A file's name says all that its content follows from."""

    path: Path
    """The folder."""
    policy: str
    """Digest of the policy."""
    standards: Mapping[str, Standard]
    """What episodes are judged by."""

    def load(self, unit: Unit) -> Outcome | None:
        """The outcome of a unit, or None: it was not finished, or what is there of it is damaged.

        Raises:
            VandError: The file cannot be read.
        """
        file = self._file(unit)
        if not file.exists():
            return None
        with disk_errors("read", file):
            content = file.read_bytes()
        try:
            return _unpacked(content)
        except _DAMAGE:
            return None

    def save(self, unit: Unit, outcome: Outcome) -> None:
        """Write the outcome of a unit; the file appears when it is whole.

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
        write_bytes(self._file(unit), content.getvalue())

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _file(self, unit: Unit) -> Path:
        facts = [
            SUITE_VERSION,
            ENV_VERSION,
            self.policy,
            dataclasses.asdict(unit) | {"condition": unit.condition.to_json()},
            {task: standard.to_json() for task, standard in self.standards.items()},
        ]
        digest = sha256(json.dumps(facts).encode()).hexdigest()[:16]
        return self.path / f"{unit.name}-{digest}.npz"


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


def _unpacked(content: bytes) -> Outcome:
    """The outcome in a file of `UnitFolder`.

    Raises:
        One of `_DAMAGE`: It is damaged.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if (damaged := archive.testzip()) is not None:  # all sums first: arrays are read by parts
            raise zipfile.BadZipFile(damaged)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Outcome(
            rows=tuple(json.loads(str(arrays["rows"]))),
            stage_times_s=arrays["stage_times_s"],
            signal=arrays.get("signal"),
            valid=arrays.get("valid"),
        )


def run_units(
    make_policy: PolicyMaker,
    units: Sequence[Unit],
    folder: UnitFolder,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Run the units that a folder does not hold yet, and keep each there once it is finished.

    Args:
        make_policy: Makes the policy.
        units: What to run.
        folder: Where finished units are kept.
        jobs: Processes. The outcomes do not depend on it, bit for bit.
        progress: Called with the control steps done and all of them.

    Returns:
        The outcomes, in the order of the units.

    Raises:
        VandError: A process died, the policy cannot be made, or the disk is full; finished units
            are safe.
    """
    outcomes = [folder.load(unit) for unit in units]
    missing = [i for i, outcome in enumerate(outcomes) if outcome is None]
    # the longest first, so that no process is left with one while the others have none
    missing.sort(key=lambda i: (-units[i].steps, i))
    total = sum(unit.steps for unit in units)
    done = total - sum(units[i].steps for i in missing)

    def tell(steps: int, _: int = 0) -> None:
        if progress is not None:
            progress(done + steps, total)

    tell(0)
    todo = {i: units[i] for i in missing}
    if jobs == 1 or len(todo) < 2:
        finished = _in_turn(make_policy, todo, folder.standards, tell)
    else:
        finished = _side_by_side(make_policy, todo, folder.standards, jobs)
    for i, outcome in finished:
        folder.save(units[i], outcome)
        outcomes[i] = outcome
        done += units[i].steps
        tell(0)
    return [outcome for outcome in outcomes if outcome is not None]


def _in_turn(
    make_policy: PolicyMaker,
    units: Mapping[int, Unit],
    standards: Mapping[str, Standard],
    tell: Callable[[int, int], None],
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of units, in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a process of its own: sums depend on it
    try:
        policy = make_policy()
        for i, unit in units.items():
            yield i, run_unit(policy, unit, standards, num_threads=1, progress=tell)
    finally:
        torch.set_num_threads(threads)


def _side_by_side(
    make_policy: PolicyMaker,
    units: Mapping[int, Unit],
    standards: Mapping[str, Standard],
    jobs: int,
) -> Iterator[tuple[int, Outcome]]:
    """Outcomes of units as they are finished, each in one of several processes."""
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(jobs, len(units)),
        multiprocessing.get_context("spawn"),  # a fork would inherit the locks of threads
        initializer=_begin,
        initargs=(make_policy, standards),
    )
    try:
        futures = {executor.submit(_work, unit): i for i, unit in units.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise VandError(
            "a process of the evaluation died (out of memory?); --resume goes on, with fewer --jobs"
        ) from error
    finally:
        # Ours alone, and at once: what they are in the middle of is lost, what is finished is not.
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


_worker: tuple[Policy[Any], Mapping[str, Standard]] | VandError | None = None
"""What a process of an evaluation works with, or why it cannot."""


def _begin(make_policy: PolicyMaker, standards: Mapping[str, Standard]) -> None:
    global _worker  # noqa: PLW0603  (made once in each process)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        _worker = (make_policy(), standards)
    except VandError as error:  # raised here, it would be a traceback and a broken pool
        _worker = error


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # nobody is left to hear of it


def _work(unit: Unit) -> Outcome:
    if _worker is None:
        raise RuntimeError("the process was not prepared")
    if isinstance(_worker, VandError):
        raise _worker
    policy, standards = _worker
    return run_unit(policy, unit, standards, num_threads=1)
