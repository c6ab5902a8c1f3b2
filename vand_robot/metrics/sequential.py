"""Metrics of sequential tasks: pure functions of stage times and paths."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vand_envs.typing import BoolArray, FloatArray, IntArray


def stages_in_order(stage_times_s: npt.ArrayLike) -> IntArray:
    """How many stages from the first on were completed, each no earlier than the one before.

    Args:
        stage_times_s: Shape (n, S) [s]; nan: not completed.

    Returns:
        Shape (n,).

    Raises:
        ValueError: The times have another shape.
    """
    times = np.asarray(stage_times_s, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] == 0:
        raise ValueError(f"stage times have shape (episodes, stages), not {times.shape}")
    count: IntArray = in_order(times).sum(axis=1)
    return count


def in_order(times: FloatArray) -> BoolArray:
    """Which stages were completed in order: all before them were, each no later than the next.

    Args:
        times: When each stage was first completed, shape (n, S) [s]; nan: never.

    Returns:
        Shape (n, S).
    """
    before = np.concatenate([np.full((len(times), 1), -np.inf), times[:, :-1]], axis=1)
    with np.errstate(invalid="ignore"):
        follows = np.isfinite(times) & (times >= before)  # nan on either side is False
    kept: BoolArray = np.logical_and.accumulate(follows, axis=1)
    return kept


def success_at_k(stages_done: npt.ArrayLike, stages: int) -> FloatArray:
    """SR@k: the share of episodes that completed at least k = 1 ... S stages in order.

    Args:
        stages_done: Stages completed in order, shape (n,).
        stages: S.

    Returns:
        Shape (S,), falling.
    """
    done = np.asarray(stages_done)
    shares: FloatArray = (done[:, None] >= np.arange(1, stages + 1)).mean(axis=0)
    return shares


def path_distance(path: npt.ArrayLike, demonstrations: Sequence[npt.ArrayLike]) -> float:
    """Distance of a path to the nearest demonstration by dynamic time warping.

    The warping is the symmetric one of Sakoe and Chiba (1978): a diagonal step counts twice, so
    that the cost divided by the sum of the lengths is a mean distance between matched points; a
    path moved sideways by d has distance d. All demonstrations are warped at once.

    Args:
        path: Positions, shape (N, d) [m].
        demonstrations: Positions, each of shape (M_i, d) [m].

    Returns:
        The distance [m].

    Raises:
        ValueError: There is no demonstration, or a path is empty or of another dimension.
    """
    x = np.asarray(path, dtype=np.float64)
    others = [np.asarray(demonstration, dtype=np.float64) for demonstration in demonstrations]
    if not others:
        raise ValueError("a path distance needs at least one demonstration")
    if any(p.ndim != 2 or not len(p) or p.shape[1] != x.shape[1] for p in (x, *others)):
        shapes = ", ".join(str(p.shape) for p in (x, *others[:3]))
        raise ValueError(f"paths have shapes (samples, dimensions), not {shapes}")
    lengths = np.array([len(p) for p in others])
    padded = np.stack([np.pad(p, ((0, lengths.max() - len(p)), (0, 0))) for p in others])
    costs = _warping_costs(x, padded, lengths)  # (D,)
    return float((costs / (len(x) + lengths)).min())


def _warping_costs(x: FloatArray, others: FloatArray, lengths: IntArray) -> FloatArray:
    """Least warping cost of x (N, d) to each of others (D, M, d), by anti-diagonals -> (D,).

    Cell (i, j) of the table lies on diagonal i + j, which depends on the two diagonals before it
    only. A diagonal is stored by i; padding lies behind the last cell of its demonstration, which
    it therefore cannot reach.
    """
    n, m = len(x), others.shape[1]
    costs = np.full(len(others), np.inf)
    last = np.full((len(others), n + 1), np.inf)  # entry i + 1 holds row i; entry 0 stays infinite
    before_last = last.copy()
    for diagonal in range(n + m - 1):
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))  # (C,)
        j = diagonal - i
        gap = np.sqrt(((x[i] - others[:, j]) ** 2).sum(axis=-1))  # (D, C)
        if diagonal == 0:
            reached = 2 * gap
        else:
            straight = np.minimum(last[:, i], last[:, i + 1])  # from (i - 1, j), (i, j - 1)
            reached = np.minimum(straight + gap, before_last[:, i] + 2 * gap)  # (i - 1, j - 1)
        before_last, last = last, np.full_like(last, np.inf)
        last[:, i + 1] = reached
        ends = lengths - 1 == diagonal - (n - 1)
        costs[ends] = last[ends, n]
    return costs


def jerk(path: npt.ArrayLike, dt: float) -> float:
    """Root mean square of the third derivative of a path, by third differences.

    Args:
        path: Positions, shape (T, d) [m].
        dt: Time between samples [s].

    Returns:
        The jerk [m/s^3]; nan for fewer than four samples.
    """
    third = np.diff(np.asarray(path, dtype=np.float64), n=3, axis=0) / dt**3
    return float(np.sqrt((third**2).sum(axis=-1).mean())) if len(third) else float("nan")
