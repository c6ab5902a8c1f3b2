"""The result of an evaluation: typed, written as JSON, and read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vand_demos.system.files import read_regular
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError
from vand_robot.evaluation.episodes import EpisodeMetrics, csv_text
from vand_robot.evaluation.perturbations import NOMINAL
from vand_robot.layout import RESULTS_FILE
from vand_robot.metrics.statistics import SuccessRate

FOREIGN = "foreign"
"""Kind of a task whose environment is others'."""


@dataclass(frozen=True)
class StageRate:
    """Completion of one stage."""

    name: str
    """Name of the stage."""
    completed: int
    """Episodes in which it and all stages before it were completed."""
    share: float
    """The same / all episodes."""


@dataclass(frozen=True)
class MetricSpread:
    """A metric over episodes."""

    median: float | None
    """None where no episode has a value."""
    iqr: tuple[float, float] | None
    """Lower and upper quartile."""
    n: int
    """Episodes that have a value."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"median": self.median, "iqr": list(self.iqr or (None, None)), "n": self.n}

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The spread that `to_json` wrote."""
        median = record.optional_number("median")
        iqr = None if median is None else record.pair("iqr")
        return cls(median, iqr, record.integer("n", 0))


@dataclass(frozen=True)
class WorstEpisode:
    """A failure that came least far."""

    seed: int
    """Seed of the episode."""
    share: float
    """Share of the stages completed, or of the scored time in tolerance."""
    achieved: tuple[str, ...]
    """Other tasks whose criterion of success it meets."""
    failures: tuple[str, ...]
    """Criteria of a periodic task that were missed, of `metrics.evaluation_metrics.FAILURES`."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        words = {"achieved": " ".join(self.achieved), "failures": " ".join(self.failures)}
        return {"seed": self.seed, "share": self.share, **words}

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The episode that `to_json` wrote."""
        return cls(
            seed=record.integer("seed"),
            share=record.number("share", 0, 1),
            achieved=tuple(record.text("achieved").split()),
            failures=tuple(record.text("failures").split()),
        )


@dataclass(frozen=True)
class PerturbationResult:
    """One task under one perturbation."""

    horizon_s: float
    """Length of the episodes [s]."""
    success: SuccessRate
    """Success of the episodes."""
    stages: tuple[StageRate, ...] = ()
    """Of the task's stages in order; none if periodic."""
    shares: Mapping[str, SuccessRate] = field(default_factory=dict)
    """Metric that holds or does not -> how often it held."""
    metrics: Mapping[str, MetricSpread] = field(default_factory=dict)
    """Metric -> its median and quartiles."""
    worst: tuple[WorstEpisode, ...] = ()
    """The failures that came least far, the worst first."""
    after: str | None = None
    """The instruction that came before; None where there was one all the time."""
    episodes: tuple[EpisodeMetrics, ...] = field(default=(), repr=False, compare=False)
    """The episodes; none where the result was read from `results.json`."""

    @property
    def success_rate(self) -> float:
        """Share of the episodes that succeeded."""
        return self.success.rate

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        stages = [vars(stage) for stage in self.stages]
        return {
            **({} if self.after is None else {"after": self.after}),
            "horizon_s": self.horizon_s,
            **_rate_to_json(self.success),
            **({"stages": stages} if stages else {}),
            "shares": {name: _rate_to_json(rate) for name, rate in self.shares.items()},
            "metrics": {name: spread.to_json() for name, spread in self.metrics.items()},
            "worst": [episode.to_json() for episode in self.worst],
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The result that `to_json` wrote."""
        stages = record.record_list("stages") if "stages" in record.values else []
        return cls(
            horizon_s=record.number("horizon_s", 0),
            success=_rate_from_json(record),
            stages=tuple(
                StageRate(
                    stage.text("name"), stage.integer("completed", 0), stage.number("share", 0, 1)
                )
                for stage in stages
            ),
            shares={name: _rate_from_json(r) for name, r in record.records("shares").items()},
            metrics={
                name: MetricSpread.from_json(r) for name, r in record.records("metrics").items()
            },
            worst=tuple(WorstEpisode.from_json(r) for r in record.record_list("worst")),
            after=record.text("after") if "after" in record.values else None,
        )


def _rate_to_json(rate: SuccessRate) -> dict[str, Any]:
    return {
        "episodes": rate.episodes,
        "successes": rate.successes,
        "success_rate": rate.rate,
        "wilson_95": list(rate.interval),
    }


def _rate_from_json(record: JsonRecord) -> SuccessRate:
    episodes = record.integer("episodes", 0)
    interval = record.pair("wilson_95")
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise record.mistake("wilson_95", "two rising numbers from 0 to 1")
    return SuccessRate(
        episodes=episodes,
        successes=record.integer("successes", 0, episodes),
        rate=record.number("success_rate", 0, 1),
        interval=interval,
    )


@dataclass(frozen=True)
class TaskResult:
    """One task under every perturbation."""

    instruction: str
    """Instruction in words."""
    kind: str
    """`sequential` or `periodic`; `FOREIGN` in an environment of others."""
    count: int | None
    """Of a task that counts: up to which number."""
    perturbations: Mapping[str, PerturbationResult]
    """Perturbation -> result; at least one."""

    @property
    def nominal(self) -> PerturbationResult:
        """The result without perturbation; where there is none, that of the first perturbation."""
        first = next(iter(self.perturbations.values()))
        return self.perturbations.get(NOMINAL.name, first)

    @property
    def success(self) -> SuccessRate:
        """Success of the episodes of `nominal`."""
        return self.nominal.success

    @property
    def success_rate(self) -> float:
        """Share of the episodes of `nominal` that succeeded."""
        return self.nominal.success_rate

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "instruction": self.instruction,
            "kind": self.kind,
            "count": self.count,
            "perturbations": {name: r.to_json() for name, r in self.perturbations.items()},
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The result that `to_json` wrote.

        Raises:
            VandError: There is no perturbation.
        """
        perturbations = record.records("perturbations")
        if not perturbations:
            raise VandError(f"{record.source}: {record.path}.perturbations: expected at least one")
        return cls(
            instruction=record.text("instruction"),
            kind=record.text("kind"),
            count=record.optional_integer("count"),
            perturbations={
                name: PerturbationResult.from_json(r) for name, r in perturbations.items()
            },
        )


@dataclass(frozen=True)
class PolicyFacts:
    """Description of the evaluated policy."""

    run: str
    """Name of the run, or whatever else the policy is called."""
    path: str = ""
    """Source; empty for a policy that was handed over in Python."""
    expert: bool = False
    """Whether the scripted experts acted."""
    checkpoint_update: int | None = None
    """Updates that the checkpoint was trained for."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The run's configuration; empty where nothing was trained."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Software -> version."""
    machine: Mapping[str, str] = field(default_factory=dict)
    """Fact -> value of the machine that evaluated it, see `policies.provenance.machine`; empty
    where it is not known."""
    digest: str = ""
    """Digest that no other policy has; empty where it is not known."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mappings = {name: dict(getattr(self, name)) for name in ("config", "versions", "machine")}
        return {**vars(self), **mappings}

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The facts that `to_json` wrote."""
        return cls(
            run=record.text("run"),
            path=record.text("path"),
            expert=record.flag("expert"),
            checkpoint_update=record.optional_integer("checkpoint_update"),
            config=record.record("config").values,
            versions=record.texts("versions"),
            # results of earlier versions lack both
            machine=record.texts("machine") if "machine" in record.values else {},
            digest=record.text("digest") if "digest" in record.values else "",
        )


@dataclass(frozen=True)
class EvaluationResult:
    """Result of an evaluation: several tasks under several perturbations."""

    suite: str
    """Name of the suite; empty where the perturbations were chosen one by one in Python."""
    suite_version: str
    """Version of the perturbations."""
    first_seed: int
    """Seed of the first episode of each task."""
    policy: PolicyFacts
    """The evaluated policy."""
    perturbations: Mapping[str, Mapping[str, Any]]
    """Perturbation -> `about`, what it does, and its magnitudes."""
    tasks: Mapping[str, TaskResult]
    """Task -> result."""
    confusion: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Perturbation -> instruction -> task whose criterion was met, or `none` -> episodes; empty
    where episodes were judged by their own task alone."""
    episodes: tuple[EpisodeMetrics, ...] = field(default=(), repr=False, compare=False)
    """All episodes; none where the result was read from `results.json`."""

    def success_rates(self) -> dict[str, dict[str, SuccessRate]]:
        """Perturbation -> task -> success, where the task was evaluated under it."""
        return {
            name: {
                task: result.perturbations[name].success
                for task, result in self.tasks.items()
                if name in result.perturbations
            }
            for name in self.perturbations
        }

    def worst_episodes(self, limit: int) -> list[tuple[str, str, WorstEpisode]]:
        """The worst episodes, each with its perturbation and task.

        The worst of every perturbation and task come first, then the second worst, and so on: a
        task that fails always does not hide the others.
        """
        ranked = [
            (rank, perturbation, task, episode)
            for perturbation in self.perturbations
            for task, result in self.tasks.items()
            if perturbation in result.perturbations
            for rank, episode in enumerate(result.perturbations[perturbation].worst)
        ]
        ranked.sort(key=lambda entry: entry[0])  # stable: by perturbation and task within a rank
        return [(perturbation, task, episode) for _, perturbation, task, episode in ranked[:limit]]

    def to_json(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {
            "suite": self.suite,
            "suite_version": self.suite_version,
            "first_seed": self.first_seed,
            "policy": self.policy.to_json(),
            "perturbations": {name: dict(info) for name, info in self.perturbations.items()},
            "tasks": {name: task.to_json() for name, task in self.tasks.items()},
            "confusion": {
                name: {instruction: dict(row) for instruction, row in matrix.items()}
                for name, matrix in self.confusion.items()
            },
        }

    @classmethod
    def from_json(cls, content: object, source: str = RESULTS_FILE) -> Self:
        """The result that `to_json` wrote.

        Args:
            content: The content of a `results.json`.
            source: The file that it is from, for error messages.

        Raises:
            VandError: Something is missing or of another type; the line names file and key.
        """
        record = JsonRecord.of(source, content)
        return cls(
            suite=record.text("suite"),
            suite_version=record.text("suite_version"),
            first_seed=record.integer("first_seed"),
            policy=PolicyFacts.from_json(record.record("policy")),
            perturbations={
                name: {**info.values, "about": info.text("about")}
                for name, info in record.records("perturbations").items()
            },
            tasks={name: TaskResult.from_json(r) for name, r in record.records("tasks").items()},
            confusion={
                name: {instruction: matrix.counts(instruction) for instruction in matrix.values}
                for name, matrix in record.records("confusion").items()
            },
        )

    @classmethod
    def read(cls, file: Path) -> Self:
        """The result in a `results.json`.

        Raises:
            VandError: It cannot be read, or something in it is missing or of another type.
        """
        return cls.from_json(parse_json(read_regular(file), str(file)), str(file))

    def json_text(self) -> str:
        """The text of `results.json`."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"

    def csv_text(self) -> str:
        """The text of `episodes.csv`."""
        return csv_text(self.episodes)
