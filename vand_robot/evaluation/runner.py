"""Suites of perturbations, run in several processes and kept on disk job by job."""

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
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.jobs import JobResult, RolloutJob, run_job
from vand_robot.evaluation.reference import TaskReference
from vand_robot.interface import Policy

PolicyMaker = Callable[[], Policy[Any]]
"""Makes the policy, in each process; it can be pickled."""


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    make_policy: PolicyMaker,
    jobs: Sequence[RolloutJob],
    folder: JobFolder,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[JobResult]:
    """Run the jobs that a folder does not hold yet, and keep each there once it is finished.

    Args:
        make_policy: Makes the policy.
        jobs: What to run.
        folder: Where finished jobs are kept.
        processes: Processes. The outcomes do not depend on it, bit for bit.
        progress: Called with the control steps done and all of them.

    Returns:
        The outcomes, in the order of the jobs.

    Raises:
        VandError: A process died, the policy cannot be made, or the disk is full; finished jobs
            are safe.
    """
    outcomes = [folder.load(job) for job in jobs]
    missing = [i for i, outcome in enumerate(outcomes) if outcome is None]
    # the longest first, so that no process is left with one while the others have none
    missing.sort(key=lambda i: (-jobs[i].steps, i))
    total = sum(job.steps for job in jobs)
    done = total - sum(jobs[i].steps for i in missing)

    def tell(steps: int, _: int = 0) -> None:
        if progress is not None:
            progress(done + steps, total)

    tell(0)
    todo = {i: jobs[i] for i in missing}
    if processes == 1 or len(todo) < 2:
        finished = _in_turn(make_policy, todo, folder.references, tell)
    else:
        finished = _side_by_side(make_policy, todo, folder.references, processes)
    for i, outcome in finished:
        folder.save(jobs[i], outcome)
        outcomes[i] = outcome
        done += jobs[i].steps
        tell(0)
    return [outcome for outcome in outcomes if outcome is not None]


def _in_turn(
    make_policy: PolicyMaker,
    jobs: Mapping[int, RolloutJob],
    references: Mapping[str, TaskReference],
    tell: Callable[[int, int], None],
) -> Iterator[tuple[int, JobResult]]:
    """Outcomes of jobs, in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a process of its own: sums depend on it
    try:
        policy = make_policy()
        for i, job in jobs.items():
            yield i, run_job(policy, job, references, num_threads=1, progress=tell)
    finally:
        torch.set_num_threads(threads)


def _side_by_side(
    make_policy: PolicyMaker,
    jobs: Mapping[int, RolloutJob],
    references: Mapping[str, TaskReference],
    processes: int,
) -> Iterator[tuple[int, JobResult]]:
    """Outcomes of jobs as they are finished, each in one of several processes."""
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        min(processes, len(jobs)),
        multiprocessing.get_context("spawn"),  # a fork would inherit the locks of threads
        initializer=_begin,
        initargs=(make_policy, references),
    )
    try:
        futures = {executor.submit(_work, job): i for i, job in jobs.items()}
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


_worker: tuple[Policy[Any], Mapping[str, TaskReference]] | VandError | None = None
"""What a process of an evaluation works with, or why it cannot."""


def _begin(make_policy: PolicyMaker, references: Mapping[str, TaskReference]) -> None:
    global _worker  # noqa: PLW0603  (made once in each process)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        _worker = (make_policy(), references)
    except VandError as error:  # raised here, it would be a traceback and a broken pool
        _worker = error


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # nobody is left to hear of it


def _work(job: RolloutJob) -> JobResult:
    if _worker is None:
        raise RuntimeError("the process was not prepared")
    if isinstance(_worker, VandError):
        raise _worker
    policy, references = _worker
    return run_job(policy, job, references, num_threads=1)
