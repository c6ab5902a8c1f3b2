"""Suites of conditions, run in several processes and kept on disk unit by unit."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

import torch

from vand_envs.errors import VandError
from vand_robot.evaluation.cache import UnitFolder
from vand_robot.evaluation.jobs import Outcome, Unit, run_unit
from vand_robot.evaluation.reference import Standard
from vand_robot.interface import Policy

PolicyMaker = Callable[[], Policy[Any]]
"""Makes the policy, in each process; it can be pickled."""


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
