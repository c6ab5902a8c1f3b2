"""The task that the robot is told at each step, where that changes within an episode."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def last_change(step_tasks: NDArray[np.int64] | None) -> int:
    """Step from which on the tasks of the steps (N,) stay what they are; 0: they never change."""
    if step_tasks is None:
        return 0
    others = np.flatnonzero(step_tasks != step_tasks[-1])
    return int(others[-1]) + 1 if len(others) else 0


def step_tasks_of(codes: NDArray[Any]) -> NDArray[np.int64] | None:
    """The task of each step, (N,), as one-hot codes of the instruction (N, K) say it.

    None where it never changes.
    """
    told = codes.argmax(axis=1).astype(np.int64)
    return told if last_change(told) else None


def step_task_faults(told: NDArray[np.int64] | None, codes: NDArray[Any] | None) -> Iterator[str]:
    """Faults of the tasks of an episode's steps by themselves, and beside what was observed.

    Args:
        told: (N,), see `Episode.step_tasks`; None where the task does not change.
        codes: (N, K), the observation `instruction`; None where the episode has none.
    """
    if told is None:
        return
    if len(bad := np.flatnonzero(told < 0)):
        yield f"step_tasks[{bad[0]}] = {told[bad[0]]}: expected 0 or more"
    if codes is None or codes.ndim != 2:
        return
    if len(bad := np.flatnonzero(codes.argmax(axis=1) != told)):
        at = int(bad[0])
        yield f"step_tasks[{at}] = {told[at]} differs from obs/instruction, {codes[at].argmax()}"
