"""Methods compared over training seeds: the content of `comparison.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_robot.metrics.statistics import (
    LEAST_SEEDS,
    Improvement,
    PairedComparison,
    bootstrap_interval,
    interquartile_mean,
)


@dataclass(frozen=True)
class MethodScore:
    """Success of one method under one perturbation."""

    iqm: float
    """Interquartile mean of the success rates over tasks and training seeds."""
    interval: tuple[float, float] | None
    """Its stratified bootstrap 95 % interval; None for fewer than `LEAST_SEEDS` seeds."""
    mean: float
    """Mean of the success rates."""
    tasks: Mapping[str, float]
    """Task -> mean over the seeds."""

    @classmethod
    def of(cls, rates: Mapping[str, Sequence[float]]) -> "MethodScore":
        """The score of success rates: task -> a rate for each training seed, of all the same."""
        values = np.array(list(rates.values()))  # (tasks, seeds)
        known = values.shape[1] >= LEAST_SEEDS
        return cls(
            iqm=interquartile_mean(values),
            interval=bootstrap_interval(list(values)) if known else None,
            mean=float(values.mean()),
            tasks=dict(zip(rates, values.mean(axis=1).tolist(), strict=True)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "iqm": self.iqm,
            "bootstrap_95": None if self.interval is None else list(self.interval),
            "mean": self.mean,
            "tasks": dict(self.tasks),
        }


@dataclass(frozen=True)
class MethodResult:
    """One method."""

    seeds: tuple[int, ...]
    """Training seeds of its runs."""
    perturbations: Mapping[str, MethodScore]
    """Perturbation -> score."""

    def interval_text(self, perturbation: str) -> str:
        """The interval under a perturbation [%], or that there is none."""
        interval = self.perturbations[perturbation].interval
        if interval is None:
            return f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}: no interval"
        return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f}"


@dataclass(frozen=True)
class MethodPair:
    """Two methods on the same episodes under one perturbation, training seed by training seed."""

    first: str
    second: str
    perturbation: str
    episodes: int
    """Episodes that both were evaluated on."""
    result: PairedComparison
    """McNemar's test."""
    improvement: Improvement
    """Probability that a run of the first does better on a task than one of the second."""


@dataclass(frozen=True)
class LeftOut:
    """A task that is not compared under some perturbations, since not every run has it."""

    task: str
    perturbations: tuple[str, ...]
    runs: tuple[str, ...]
    """Names of the runs that were not evaluated on it."""

    def __str__(self) -> str:
        """The task, the perturbations and the runs, in words."""
        return f"{self.task} ({', '.join(self.perturbations)}): not in {', '.join(self.runs)}"


@dataclass(frozen=True)
class Comparison:
    """Methods compared over training seeds."""

    suite_version: str
    """Version of the perturbations."""
    perturbations: tuple[str, ...]
    """Under which all runs were evaluated."""
    tasks: tuple[str, ...]
    """On which all runs were evaluated."""
    methods: Mapping[str, MethodResult]
    """Method -> result."""
    pairs: tuple[MethodPair, ...]
    """Every two methods that share episodes."""
    left_out: tuple[LeftOut, ...]
    """Tasks that are not compared."""

    def to_json(self) -> dict[str, Any]:
        """The content of `comparison.json`."""
        return {
            "suite_version": self.suite_version,
            "perturbations": list(self.perturbations),
            "tasks": list(self.tasks),
            "methods": {
                name: {
                    "seeds": list(method.seeds),
                    "perturbations": {
                        perturbation: score.to_json()
                        for perturbation, score in method.perturbations.items()
                    },
                }
                for name, method in self.methods.items()
            },
            "paired": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "perturbation": pair.perturbation,
                    "episodes": pair.episodes,
                    **vars(pair.result),
                    "probability_of_improvement": pair.improvement.probability,
                    "improvement_95": pair.improvement.interval and list(pair.improvement.interval),
                }
                for pair in self.pairs
            ],
            "left_out": [
                {
                    "task": part.task,
                    "perturbations": list(part.perturbations),
                    "runs": list(part.runs),
                }
                for part in self.left_out
            ],
        }
