"""The runner: order, cache, processes, Ctrl-C and processes that die; with jobs of its own."""

import os
import signal
import time
from dataclasses import dataclass

import pytest
import torch

from vand_envs.errors import VandError
from vand_robot.evaluation.runner import Processes, ThisProcess, Work, run_cached

EXECUTORS = [ThisProcess(), Processes(2)]


@dataclass(frozen=True)
class Squares(Work[int, int]):
    """Squares numbers; a number's size is its value."""

    to_go_on = "again"

    def prepare(self):
        return lambda job, _: job**2

    def size(self, job):
        return job


@dataclass(frozen=True)
class Interrupted(Squares):
    """Ctrl-C reaches the process that runs the jobs while one of them is running."""

    job: int
    in_worker: bool

    def prepare(self):
        owner = os.getppid() if self.in_worker else os.getpid()

        def run(job, _):
            if job == self.job:
                os.kill(owner, signal.SIGINT)
                time.sleep(0.1)
            return job**2

        return run


class InterruptedShort(Interrupted):
    finish_running = True


class Unprepared(Squares):
    def prepare(self):
        raise VandError("no policy")


class Dies(Squares):
    def prepare(self):
        return lambda job, _: os._exit(1)


class InheritedMask(Squares):
    def prepare(self):
        return lambda job, _: signal.pthread_sigmask(signal.SIG_BLOCK, ())


class Threads(Squares):
    def prepare(self):
        return lambda job, _: torch.get_num_threads()


@pytest.fixture(autouse=True)
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, as in a terminal: in the background it may be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Memory(dict):
    """A cache in memory."""

    def load(self, job):
        return self.get(job)

    def save(self, job, result):
        self[job] = result


@pytest.mark.parametrize("executor", EXECUTORS)
def test_results_are_in_the_order_of_the_jobs_and_the_largest_are_begun_first(executor):
    cache = Memory()
    assert run_cached([1, 3, 2], Squares(), cache, executor) == [1, 9, 4]
    if executor == ThisProcess():
        assert list(cache) == [3, 2, 1]


def test_jobs_that_are_cached_are_not_run_and_count_as_done():
    told = []
    cache = Memory({3: 0})
    results = run_cached([1, 3], Squares(), cache, ThisProcess(), lambda *units: told.append(units))
    assert results == [1, 0]
    assert (told[0], told[-1]) == ((3, 4), (4, 4))
    assert run_cached([1, 3], Squares(), None, ThisProcess()) == [1, 9]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_ctrl_c_waits_for_running_jobs_where_the_work_says_so(executor):
    cache, jobs = Memory(), list(range(1, 300))
    work = InterruptedShort(299, in_worker=executor != ThisProcess())
    with pytest.raises(KeyboardInterrupt):
        run_cached(jobs, work, cache, executor)
    assert cache[299] == 299**2
    assert len(cache) < len(jobs)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_ctrl_c_does_not_wait_for_running_jobs_otherwise(executor):
    cache, jobs = Memory(), list(range(1, 300))
    work = Interrupted(150, in_worker=executor != ThisProcess())
    with pytest.raises(KeyboardInterrupt):
        run_cached(jobs, work, cache, executor)
    assert 299 in cache  # it was finished before, so it is kept
    assert 1 not in cache


@pytest.mark.parametrize("executor", EXECUTORS)
def test_work_that_cannot_be_prepared_is_one_line(executor):
    with pytest.raises(VandError, match=r"^no policy$"):
        run_cached([1, 2], Unprepared(), None, executor)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows")
def test_ctrl_c_does_not_end_processes_that_begin():
    masks = run_cached([1, 2], InheritedMask(), None, Processes(2))
    assert all({signal.SIGINT, signal.SIGHUP} <= set(mask) for mask in masks)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_dies_is_one_line():
    with pytest.raises(VandError, match=r"^a process died \(out of memory\?\); again, with fewer"):
        run_cached([1, 2], Dies(), None, Processes(2))


def test_a_job_has_one_thread_of_torch_unless_told_otherwise():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run_cached([1], Threads(), None, ThisProcess()) == [1]
        assert run_cached([1], Threads(), None, ThisProcess(torch_threads=None)) == [2]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
