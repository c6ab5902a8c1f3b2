"""Jobs run by an executor, in this process or in several; finished ones are kept in a cache.

Evaluations and experiments consist of jobs. A result depends on its job alone, and not on where it
was run, nor on what was run beside it.
"""

import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from vand_demos.system.interrupt import Interrupt
from vand_envs.errors import VandError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")
JobT_contra = TypeVar("JobT_contra", contravariant=True)

Progress = Callable[[int, int], None]
"""Called with the work done and all of it."""

POLL_S = 0.5
"""How often to look whether Ctrl-C was pressed [s]."""


class Work(ABC, Generic[JobT, ResultT]):
    """A function that runs jobs of one kind, and how to make it.

    It is sent to other processes by pickling. So it does not hold what its jobs share (a policy),
    but makes it in each of them.
    """

    finish_running: ClassVar[bool] = False
    """Whether Ctrl-C waits for the jobs that are running, and keeps them; otherwise they are lost.
    For short jobs. A second Ctrl-C does not wait."""
    to_go_on: ClassVar[str]
    """How to go on after an interruption, for messages."""

    @abstractmethod
    def prepare(self) -> Callable[[JobT, Progress | None], ResultT]:
        """Make the function that runs a job; called once in each process.

        The function is given a job, and a callback for the job's progress of `size` units.
        """

    def size(self, job: JobT) -> int:  # noqa: ARG002  (others ask)
        """Units of progress that a job counts for; the largest jobs are begun first."""
        return 1


class Cache(Protocol[JobT_contra, ResultT]):
    """Results that are kept."""

    def load(self, job: JobT_contra) -> ResultT | None:
        """The result of a job; None if it is not there, or is damaged."""
        ...

    def save(self, job: JobT_contra, result: ResultT) -> None:
        """Keep the result of a job."""
        ...


class Executor(Protocol):
    """Where jobs are run."""

    def run(
        self, work: Work[JobT, ResultT], jobs: Mapping[int, JobT], progress: Progress | None
    ) -> Generator[tuple[int, ResultT], None, None]:
        """Run jobs.

        Args:
            work: How to run them.
            jobs: Number -> job, the largest first.
            progress: Called with the work done of the job that is running, by those executors that
                can tell.

        Yields:
            Number and result of each job as soon as it is finished.

        Raises:
            VandError: A process died, or the work cannot be prepared.
            KeyboardInterrupt: After Ctrl-C; see `Work.finish_running`.
        """
        ...


def run_cached(
    jobs: Sequence[JobT],
    work: Work[JobT, ResultT],
    cache: Cache[JobT, ResultT] | None,
    executor: Executor,
    progress: Progress | None = None,
) -> list[ResultT]:
    """Run the jobs that a cache does not hold yet, and keep each there once it is finished.

    Args:
        jobs: What to run.
        work: How to run it.
        cache: Where results are kept; None: nowhere.
        executor: Where jobs are run. The results do not depend on it, bit for bit.
        progress: Called with the work done and all of it, in the units of `Work.size`.

    Returns:
        The results, in the order of the jobs.

    Raises:
        VandError: A process died, the work cannot be prepared, or the disk is full; finished jobs
            are safe.
        KeyboardInterrupt: After Ctrl-C; finished jobs are safe.
    """
    results: dict[int, ResultT] = {}
    for i, job in enumerate(jobs):
        if cache is not None and (result := cache.load(job)) is not None:
            results[i] = result
    sizes = [work.size(job) for job in jobs]
    # the largest first, so that no process is left with one while the others have none
    missing = sorted(set(range(len(jobs))) - set(results), key=lambda i: (-sizes[i], i))
    total = sum(sizes)
    done = total - sum(sizes[i] for i in missing)

    def tell(part: int, _: int = 0) -> None:
        if progress is not None:
            progress(done + part, total)

    tell(0)
    with closing(executor.run(work, {i: jobs[i] for i in missing}, tell)) as finished:
        for i, made in finished:
            if cache is not None:
                cache.save(jobs[i], made)
            results[i] = made
            done += sizes[i]
            tell(0)
    return [results[i] for i in range(len(jobs))]


@dataclass(frozen=True)
class ThisProcess:
    """Executor that runs one job after the other in this process."""

    torch_threads: int | None = 1
    """Threads of torch; None: as many as there are. Sums depend on it; other executors use 1."""

    def run(
        self, work: Work[JobT, ResultT], jobs: Mapping[int, JobT], progress: Progress | None
    ) -> Generator[tuple[int, ResultT], None, None]:
        """As `Executor.run`."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.torch_threads or threads)
        interrupt = Interrupt()
        try:
            run_job = work.prepare()
            with interrupt if work.finish_running else nullcontext():
                for i, job in jobs.items():
                    yield i, run_job(job, progress)
                    interrupt.obey()
        finally:
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class Processes:
    """Executor that runs jobs side by side, in processes of one thread each."""

    count: int
    """Processes. With one, or for a single job, it is this process."""

    def run(
        self, work: Work[JobT, ResultT], jobs: Mapping[int, JobT], progress: Progress | None
    ) -> Generator[tuple[int, ResultT], None, None]:
        """As `Executor.run`."""
        if self.count == 1 or len(jobs) < 2:
            yield from ThisProcess().run(work, jobs, progress)
            return
        others = set(multiprocessing.active_children())
        pool = futures.ProcessPoolExecutor(
            min(self.count, len(jobs)),
            multiprocessing.get_context("spawn"),  # a fork would inherit the locks of threads
            initializer=_begin,
            initargs=(work,),
        )
        try:
            with Interrupt() as interrupt:
                with _held_back():
                    running = {pool.submit(_work, job): i for i, job in jobs.items()}
                while running and not interrupt.requested:
                    yield from _finished(running, POLL_S)
                if interrupt.requested and work.finish_running:
                    pool.shutdown(cancel_futures=True)
                    yield from _finished(running, 0)
            interrupt.obey()
        except BrokenProcessPool as error:
            raise VandError(
                f"a process died (out of memory?); {work.to_go_on}, with fewer --jobs"
            ) from error
        finally:
            # Terminate only our own processes, without waiting: finished jobs are kept already.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold Ctrl-C and the end of a terminal back in processes that are begun here.

    They would end while they import, before `_begin` can see to it; this process decides.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _finished(
    running: dict[futures.Future[ResultT], int], timeout_s: float
) -> Generator[tuple[int, ResultT], None, None]:
    """Take those that are finished by then out of running jobs; cancelled ones have no result."""
    finished, _ = futures.wait(running, timeout_s, futures.FIRST_COMPLETED)
    for future in finished:
        i = running.pop(future)
        if not future.cancelled():
            yield i, future.result()


_run_job: Callable[[Any, Progress | None], Any] | VandError | None = None
"""The function with which this worker process runs jobs, or why there is none."""


def _begin(work: Work[Any, Any]) -> None:
    """Set a worker process up."""
    global _run_job  # noqa: PLW0603  (made once in each process)
    # Ctrl-C, and the end of a terminal, go to all processes; the first one decides.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        _run_job = work.prepare()
    except VandError as error:  # raised here, it would be a traceback and a broken pool
        _run_job = error


def _end_with_parent() -> None:
    """End this process as soon as the one that began it is gone, in whatever way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)  # nobody is left to hear of it


def _work(job: Any) -> Any:
    """Run a job in a worker process."""
    if _run_job is None:
        raise RuntimeError("the process was not prepared")
    if isinstance(_run_job, VandError):
        raise _run_job
    return _run_job(job, None)


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
