"""Statistics of success: rates with intervals, means over training seeds, paired comparisons.

SciPy's own statistics are imported where they are used: that takes a second.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from vand_envs.typing import FloatArray

LEAST_SEEDS = 3
"""Training seeds from which on there is an interval: fewer do not say how much seeds differ."""


@dataclass(frozen=True)
class SuccessRate:
    """Success of some episodes: counts, rate and its interval."""

    episodes: int
    """Number of episodes, at least 1."""
    successes: int
    """How many of them succeeded."""
    rate: float
    """Successes / episodes."""
    interval: tuple[float, float]
    """95 % Wilson interval of the rate."""

    @classmethod
    def of(cls, flags: Sequence[bool]) -> Self:
        """The rate of at least one flag."""
        return cls.of_counts(sum(map(bool, flags)), len(flags))

    @classmethod
    def of_counts(cls, successes: int, episodes: int) -> Self:
        """The rate of at least one episode."""
        interval = wilson_interval(successes, episodes)
        return cls(episodes, successes, successes / episodes, interval)

    def __str__(self) -> str:
        """Successes of episodes: `17/20`."""
        return f"{self.successes}/{self.episodes}"


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of a success rate (Wilson 1927), which is also sound at 0 and at n.

    Args:
        successes: How many episodes succeeded.
        episodes: How many there were.
        confidence: Of the interval.

    Returns:
        Lower and upper bound in 0 ... 1; (0, 1) without episodes.

    Raises:
        ValueError: Not 0 <= successes <= episodes.
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes")
    if episodes == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # noqa: PLC0415  (takes a second)

    test = binomtest(successes, episodes)
    interval = test.proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Confidence interval of a mean by Student's t, which takes values to be normal.

    Args:
        values: Of training seeds.
        confidence: Of the interval.

    Returns:
        Lower and upper bound; None for fewer than `LEAST_SEEDS` values.
    """
    if len(values) < LEAST_SEEDS:
        return None
    from scipy.stats import t  # noqa: PLC0415  (takes a second)

    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * float(
        np.std(values, ddof=1) / math.sqrt(len(values))
    )
    mean = float(np.mean(values))
    return mean - half, mean + half


def interquartile_mean(values: npt.ArrayLike) -> float:
    """Mean of the middle half of the values; where n / 4 is no whole number, of parts of values.

    Args:
        values: Any shape, at least one value.

    Returns:
        The mean.

    Raises:
        ValueError: There is no value.
    """
    x = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if not len(x):
        raise ValueError("an interquartile mean needs at least one value")
    edges = np.clip(np.arange(len(x) + 1), len(x) / 4, 3 * len(x) / 4)  # cut both quarters off
    return float(np.diff(edges) @ x / (len(x) / 2))


def bootstrap_interval(
    strata: Sequence[npt.ArrayLike],
    *,
    statistic: Callable[[FloatArray], float] = interquartile_mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of all values, by the stratified bootstrap.

    Values are drawn again within each stratum (a task), so that every task keeps its weight; see
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice.

    Args:
        strata: Values per stratum (training seeds of a task), each of shape (runs,).
        statistic: Of the values of all strata together, shape (all runs,).
        confidence: Of the interval.
        resamples: How often the values are drawn.
        seed: The same seed gives the same interval.

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: There is no stratum, or one is empty.
    """
    groups = [np.asarray(values, dtype=np.float64).ravel() for values in strata]
    if not groups or any(not len(group) for group in groups):
        raise ValueError("a stratified bootstrap needs at least one value in every stratum")
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [group[rng.integers(len(group), size=(resamples, len(group)))] for group in groups], axis=1
    )  # (resamples, all runs)
    lower, upper = np.quantile(
        [statistic(row) for row in drawn], [(1 - confidence) / 2, (1 + confidence) / 2]
    )
    return float(lower), float(upper)


@dataclass(frozen=True)
class Improvement:
    """How likely a run of one method does better than a run of another."""

    probability: float
    """Mean over the strata of P(first > second) + P(first = second) / 2."""
    interval: tuple[float, float] | None
    """Its stratified bootstrap 95 % interval; None for fewer than three runs of a method."""


def probability_of_improvement(
    first: Sequence[npt.ArrayLike],
    second: Sequence[npt.ArrayLike],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Improvement:
    """Probability that a run of the first method has the higher value, mean over the strata.

    It is the Mann-Whitney statistic of each stratum (a task), divided by the number of pairs of
    runs; see Agarwal et al. (2021), section 4.3. Equal values count one half.

    Args:
        first: Values of the first method per stratum, each of shape (runs,).
        second: Values of the second method, in the same strata.
        resamples: How often the runs are drawn again for the interval.
        seed: The same seed gives the same interval.

    Raises:
        ValueError: The methods have other strata, or a stratum is empty.
    """
    groups = [
        (np.asarray(a, dtype=np.float64).ravel(), np.asarray(b, dtype=np.float64).ravel())
        for a, b in zip(first, second, strict=True)
    ]
    if not groups or any(not len(a) or not len(b) for a, b in groups):
        raise ValueError("a probability of improvement needs a value of both in every stratum")
    probability = float(np.mean([_share_above(a, b) for a, b in groups]))
    if min(min(len(a), len(b)) for a, b in groups) < LEAST_SEEDS:
        return Improvement(probability, None)
    rng = np.random.default_rng(seed)
    drawn = np.mean(
        [
            _share_above(
                a[rng.integers(len(a), size=(resamples, len(a)))],
                b[rng.integers(len(b), size=(resamples, len(b)))],
            )
            for a, b in groups
        ],
        axis=0,
    )  # (resamples,)
    return Improvement(probability, percentile_interval(drawn))


def percentile_interval(drawn: FloatArray) -> tuple[float, float]:
    """The 95 % interval of a statistic, of its values for data that were drawn again, (K,)."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _share_above(a: FloatArray, b: FloatArray) -> FloatArray:
    """P(a > b) + P(a = b) / 2 over the last axes of (..., n) and (..., m)."""
    signs = np.sign(a[..., :, None] - b[..., None, :])
    share: FloatArray = (0.5 * (signs + 1)).mean(axis=(-2, -1))
    return share


@dataclass(frozen=True)
class PairedComparison:
    """Two policies on the same episodes."""

    only_first: int
    """Episodes that only the first policy succeeded at."""
    only_second: int
    """Episodes that only the second policy succeeded at."""
    difference: float
    """Success rate of the first minus that of the second."""
    p_value: float
    """Probability of a split at least as uneven if the two were equally good (two-sided)."""


def compare_paired(first: npt.ArrayLike, second: npt.ArrayLike) -> PairedComparison:
    """McNemar's exact test: only the episodes on which two policies differ tell them apart.

    Args:
        first: Success of the first policy per episode, shape (n,), boolean.
        second: Success of the second policy on the same episodes, shape (n,), boolean.

    Returns:
        The comparison.

    Raises:
        ValueError: The shapes differ, or there is no episode.
    """
    a, b = np.asarray(first, dtype=np.bool_), np.asarray(second, dtype=np.bool_)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"paired episodes have one shape (n,), not {a.shape} and {b.shape}")
    wins, losses = int((a & ~b).sum()), int((b & ~a).sum())
    from scipy.stats import binomtest  # noqa: PLC0415  (takes a second)

    return PairedComparison(
        only_first=wins,
        only_second=losses,
        difference=float(a.mean() - b.mean()),
        p_value=float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
    )
