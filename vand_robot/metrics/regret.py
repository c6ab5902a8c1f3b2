"""Regret of settings over regimes: what choosing one setting for all of them costs.

The regret of a setting in a regime is the success of the best setting of any method there, less its
own. A setting that is best everywhere has a regret of 0; one that was tuned to a regime pays in the
others. The best of many settings is lucky too, so all regrets are somewhat too large, by the same
amount for all settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs.typing import FloatArray
from vand_robot.metrics.statistics import LEAST_SEEDS, percentile_interval

RESAMPLES = 2000
"""How often training seeds are drawn again for an interval."""

Rates = Mapping[str, Mapping[str, Sequence[float]]]
"""Setting -> regime -> success of each training seed, a mean over tasks and perturbations."""


@dataclass(frozen=True)
class Regret:
    """The regret of one setting."""

    mean: float
    """Mean over regimes."""
    worst: float
    """Largest over regimes."""
    worst_in: str
    """The regime of the largest."""
    regimes: Mapping[str, float]
    """Regime -> regret."""
    interval: tuple[float, float] | None
    """Bootstrap 95 % interval of the mean: training seeds are drawn again in every regime, for
    every setting, and the best one is found anew. None for fewer than `LEAST_SEEDS` seeds."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mean": self.mean,
            "worst": self.worst,
            "worst_in": self.worst_in,
            "regimes": dict(self.regimes),
            "bootstrap_95": None if self.interval is None else list(self.interval),
        }


def regrets(rates: Rates, seed: int = 0) -> dict[str, Regret]:
    """The regret of every setting that has been in every regime.

    Args:
        rates: Success. A setting that lacks a regime counts in the others, among which it may be
            the best, and has no regret itself.
        seed: Of the intervals.

    Returns:
        Setting -> regret, the lowest mean first.
    """
    regimes = list(dict.fromkeys(name for own in rates.values() for name in own))
    everywhere = [s for s, own in rates.items() if all(own.get(name) for name in regimes)]
    if not everywhere:
        return {}
    means = {
        s: {name: np.array([np.mean(v)]) for name, v in own.items()} for s, own in rates.items()
    }
    now = _regrets(means, regimes, everywhere)[..., 0]  # (settings, regimes)
    seeds = min(len(values) for own in rates.values() for values in own.values())
    spread = None
    if seeds >= LEAST_SEEDS:
        rng = np.random.default_rng(seed)
        drawn = {
            s: {name: _resampled_means(values, rng) for name, values in own.items()}
            for s, own in rates.items()
        }
        spread = _regrets(drawn, regimes, everywhere).mean(axis=1)  # (settings, resamples)
    found = {}
    for place in np.argsort(now.mean(axis=1), kind="stable"):
        worst = int(now[place].argmax())
        found[everywhere[place]] = Regret(
            mean=float(now[place].mean()),
            worst=float(now[place, worst]),
            worst_in=regimes[worst],
            regimes=dict(zip(regimes, now[place].tolist(), strict=True)),
            interval=None if spread is None else percentile_interval(spread[place]),
        )
    return found


def _regrets(
    means: Mapping[str, Mapping[str, FloatArray]],
    regimes: Sequence[str],
    settings: Sequence[str],
) -> FloatArray:
    """Regrets (settings, regimes, K) of means (K,) of each setting in each regime."""
    columns = []
    for regime in regimes:
        best = np.max([own[regime] for own in means.values() if regime in own], axis=0)
        columns.append([best - means[setting][regime] for setting in settings])
    return np.array(columns).transpose(1, 0, 2)


def _resampled_means(values: Sequence[float], rng: np.random.Generator) -> FloatArray:
    places = rng.integers(len(values), size=(RESAMPLES, len(values)))
    means: FloatArray = np.asarray(values, dtype=np.float64)[places].mean(axis=1)
    return means
