"""Tracking of a place on a ring through time, where one moment alone does not tell the place."""

import numpy as np

from vand_envs.typing import FloatArray, IntArray


def cheapest_path(cost: FloatArray, reach: int, jump: float) -> IntArray:
    """The path of least total cost on a ring of K places, by dynamic programming (Viterbi 1967).

    Args:
        cost: Cost of being at each place at each time, shape (T, K).
        reach: Longest step that is free [place].
        jump: Cost of a longer one.

    Returns:
        The places, shape (T,).
    """
    steps, places = cost.shape
    ring = np.arange(places)
    near = (ring[:, None] + np.arange(-reach, reach + 1)) % places  # (K, 2 reach + 1)
    came_from = np.empty((steps, places), np.int64)
    total = cost[0]
    for t in range(1, steps):
        best = near[ring, total[near].argmin(axis=1)]  # (K,)
        cheapest = int(total.argmin())
        came_from[t] = np.where(total[best] <= total[cheapest] + jump, best, cheapest)
        total = cost[t] + np.minimum(total[best], total[cheapest] + jump)
    path = np.empty(steps, np.int64)
    path[-1] = total.argmin()
    for t in range(steps - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path
