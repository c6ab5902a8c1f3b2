"""How well episodes reproduce a sequential task: pure functions of stage times and paths."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vand_envs.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class SequentialScore:
    """How well n episodes of one task, each judged on the same S ordered stages, went."""

    stages_done: tuple[int, ...]
    """Stages completed in order, per episode."""
    out_of_order: tuple[int, ...]
    """Stages completed although an earlier one was not, per episode."""
    success_at_k: tuple[float, ...]
    """SR@k for k = 1 ... S: the share of episodes that completed at least k stages in order."""
    success_once: tuple[bool, ...]
    """All stages were completed in order at some time, per episode."""
    success_at_end: tuple[bool, ...]
    """... and the goal held when the episode ended, per episode."""
    time_s: tuple[float | None, ...]
    """Time to success, per episode [s]; None without success."""
    relative_time: tuple[float | None, ...]
    """The same / the demonstrations' median; None without success or demonstrations."""

    @property
    def stage_fraction(self) -> tuple[float, ...]:
        """Stages completed in order / all stages, per episode."""
        return tuple(done / len(self.success_at_k) for done in self.stages_done)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"stage_fraction": list(self.stage_fraction)}


def score_sequential(
    stage_times_s: npt.ArrayLike,
    *,
    goal_at_end: npt.ArrayLike | None = None,
    demonstration_times_s: npt.ArrayLike | None = None,
) -> SequentialScore:
    """Judge episodes by when each stage was first completed.

    Args:
        stage_times_s: Shape (n, S) [s]; nan: not completed within the horizon.
        goal_at_end: Whether the goal held at the end of each episode, shape (n,); None: it did
            wherever all stages were completed.
        demonstration_times_s: Durations of the demonstrations until their success, [s].

    Returns:
        The score.

    Raises:
        ValueError: The arrays have other shapes.
    """
    times = np.asarray(stage_times_s, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] == 0:
        raise ValueError(f"stage times have shape (episodes, stages), not {times.shape}")
    done = stages_in_order(times)
    once = done == times.shape[1]
    held = np.ones(len(times), np.bool_) if goal_at_end is None else np.asarray(goal_at_end, bool)
    if held.shape != once.shape:
        raise ValueError(f"goal_at_end has shape {held.shape} for {len(times)} episodes")
    seconds = np.where(once, times[:, -1], np.nan)
    shown = np.asarray([] if demonstration_times_s is None else demonstration_times_s, np.float64)
    typical = np.nanmedian(shown) if shown.size else np.nan
    return SequentialScore(
        stages_done=tuple(done.tolist()),
        out_of_order=tuple(out_of_order(times).tolist()),
        success_at_k=tuple(success_at_k(done, times.shape[1]).tolist()),
        success_once=tuple(once.tolist()),
        success_at_end=tuple((once & held).tolist()),
        time_s=_known(seconds),
        relative_time=_known(seconds / typical),
    )


def stages_in_order(stage_times_s: FloatArray) -> IntArray:
    """How many stages from the first on were completed, each no earlier than the one before.

    Args:
        stage_times_s: Shape (n, S) [s]; nan: not completed.

    Returns:
        Shape (n,).
    """
    count: IntArray = in_order(stage_times_s).sum(axis=1)
    return count


def out_of_order(stage_times_s: FloatArray) -> IntArray:
    """How many stages were completed other than in order, shape (n, S) [s] -> (n,)."""
    wrong: IntArray = (np.isfinite(stage_times_s) & ~in_order(stage_times_s)).sum(axis=1)
    return wrong


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


def path_distance(
    path: npt.ArrayLike, demonstrations: Sequence[npt.ArrayLike], *, band: float | None = None
) -> float:
    """Distance of a path to the nearest demonstration by dynamic time warping.

    The warping is the symmetric one of Sakoe and Chiba (1978): a diagonal step counts twice, so
    that the cost divided by the sum of the lengths is a mean distance between matched points; a
    path moved sideways by d has distance d. All demonstrations are warped at once.

    Args:
        path: Positions, shape (N, d) [m].
        demonstrations: Positions, each of shape (M_i, d) [m].
        band: Sakoe-Chiba band: matched points may lie apart by this share of the duration, after
            both are scaled to the same one; None: any.

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
    costs = _warping_costs(x, padded, lengths, band)  # (D,)
    return float((costs / (len(x) + lengths)).min())


def _warping_costs(
    x: FloatArray, others: FloatArray, lengths: IntArray, band: float | None
) -> FloatArray:
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
        if band is not None:
            skew = i / max(n - 1, 1) - j / np.maximum(lengths - 1, 1)[:, None]  # (D, C)
            gap[np.abs(skew) > band + 1 / min(n, m)] = np.inf  # a cell's width, to stay passable
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


def _known(values: FloatArray) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
