"""Threads of torch: setting their number, and finding the fastest on a machine."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

from vand_robot.nn import tune_allocator

TIMED_UPDATES = 3
"""Updates whose median time counts for a number of threads, after one to warm up."""
WORTHWHILE = 0.9
"""More threads are taken only if an update then takes at most this share of the time: the last bits
of a run depend on their number, and other programs may want the processors."""


@contextmanager
def torch_settings(threads: int) -> Iterator[int]:
    """Set the number of threads; put it and the caller's random numbers back afterwards.

    Yields:
        The number that torch had: one per processor core unless the user says otherwise.
    """
    previous = torch.get_num_threads()
    with torch.random.fork_rng(devices=()):
        torch.set_num_threads(threads)
        tune_allocator()
        try:
            yield previous
        finally:
            torch.set_num_threads(previous)


def fastest_threads(update: Callable[[], object], most: int) -> int:
    """The number of threads with which an update is fastest: 1, 2, 4, ... up to `most`.

    It stops at the first number that is not worthwhile. The number is that of torch afterwards.

    Args:
        update: Makes an update; it is called a few times with each number.
        most: The most threads to try.
    """
    chosen, fastest_s = 1, _update_time_s(update, 1)
    while 2 * chosen <= most:
        time_s = _update_time_s(update, 2 * chosen, give_up_s=2 * fastest_s)
        if time_s > WORTHWHILE * fastest_s:
            break
        chosen, fastest_s = 2 * chosen, time_s
    torch.set_num_threads(chosen)
    return chosen


def _update_time_s(
    update: Callable[[], object], threads: int, give_up_s: float = float("inf")
) -> float:
    """The median time of an update; less often measured where it takes longer than `give_up_s`."""
    torch.set_num_threads(threads)
    update()
    times_s: list[float] = []
    for _ in range(TIMED_UPDATES):
        began = time.perf_counter()
        update()
        times_s.append(time.perf_counter() - began)
        if times_s[-1] > give_up_s:
            break
    return median(times_s)
