"""The schema of a sweep file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from vand_envs.errors import UsageError
from vand_robot.config.loading import merge, read_yaml
from vand_robot.config.validation import Count, build
from vand_robot.nn import Range

Sampler = Literal["grid", "list", "random", "tpe"]
"""The way in which a search chooses its settings."""
Seeds = Literal["validation", "test"]
"""Episode seeds of an evaluation: those that settings may be chosen on, and those that judge."""
Seed = Annotated[int, Range(0)]
"""The seed of a run."""


@dataclass(frozen=True)
class SearchConfig:
    """A search over keys of the training configuration, made for each method by itself."""

    sampler: Sampler = "grid"
    """grid: every combination of the values in `space`. list: the settings in `settings`. random:
    `trials` settings drawn from `space`. tpe: `trials` settings, each chosen by the tree-structured
    Parzen estimator of Optuna from how the ones before did."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Key -> list of values; for random and tpe also {low: ..., high: ..., log: true|false}, which
    is a range of numbers, of integers where both bounds are integers."""
    settings: tuple[Mapping[str, Any], ...] = ()
    """Settings of the sampler `list`, each key -> value."""
    trials: Count = 20
    """Settings of the samplers random and tpe, for each method."""
    seed: Annotated[int, Range(0, 2**31, open_high=False)] = 0
    """Seed of the samplers random and tpe."""

    def __post_init__(self) -> None:
        if (self.sampler == "list") != bool(self.settings):
            raise UsageError(
                "search: `settings` belong to the sampler 'list', and it needs some;"
                f" got {len(self.settings)} with {self.sampler!r}"
            )
        if (self.sampler != "list") != bool(self.space):
            raise UsageError(
                "search: expected `space`, key -> values, with the samplers grid, random and tpe"
                f" alone; got {len(self.space)} keys with {self.sampler!r}"
            )
        for key, values in self.space.items():
            _check_values(key, values, ranges=self.sampler in ("random", "tpe"))


@dataclass(frozen=True)
class TrialEvaluation:
    """The evaluation of each trained policy, as `vand-robot evaluate` makes it."""

    suite: str = "nominal"
    """Name of the suite."""
    perturbations: tuple[str, ...] = ()
    """In place of the suite's."""
    tasks: tuple[str, ...] = ()
    """Task ids; empty: all that the policy was trained on."""
    episodes: Count | None = None
    """Episodes of each task under each perturbation; null: the suite's."""
    seeds: Seeds = "validation"
    """validation: for choosing settings. test: for the numbers that are reported in the end."""


@dataclass(frozen=True)
class RegimeConfig:
    """A regime: what is the same for every method in it, and differs from other regimes."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Key -> value, laid over the base and the sweep's own overrides, below those of a method:
    other data, tasks, another cell."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the sweep's `evaluation` that differ here."""
    development: bool = False
    """Whether methods were developed in it: it is then reported, and is no part of the regrets."""


@dataclass(frozen=True)
class SweepConfig:
    """One sweep: every method, with every setting, data size and seed, in every regime."""

    base: str
    """Training configuration: the name of a ready-made one, or a file, relative to the sweep's."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Key -> value, laid over the base in every trial: `{updates: 300}`."""
    methods: Mapping[str, Any] = field(default_factory=dict)
    """Name -> key -> value, laid over that; empty: one method, the base. Settings of one method
    that are methods here have names such as `dropout/0.01`: what comes before the slash is the
    method of which the report picks the best one."""
    regimes: Mapping[str, RegimeConfig] = field(default_factory=dict)
    """Name -> regime; empty: one, without a name. Of several the report has each, and regrets."""
    search: SearchConfig | None = None
    """Search over further keys; null: none."""
    seeds: tuple[Seed, ...] = (0,)
    """Training seeds."""
    demonstrations: tuple[Count, ...] = ()
    """Numbers of training demonstrations of each task; empty: all that there are."""
    evaluation: TrialEvaluation = field(default_factory=TrialEvaluation)
    """The evaluation of each trained policy."""
    retries: Annotated[int, Range(0, 100)] = 2
    """How often a trial is started again whose process died."""
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of submitit's executor, such as {slurm_partition: gpu, timeout_min: 120}; with
    {cluster: local} it runs processes on this machine instead."""

    def __post_init__(self) -> None:
        for name, method in self.methods.items():
            if not str(name).strip():
                raise UsageError(f"methods: expected a name, got {name!r}")
            if not isinstance(method, Mapping):
                raise UsageError(f"methods.{name}: expected `key: value` pairs, got {method!r}")
        for name, values in (("seeds", self.seeds), ("demonstrations", self.demonstrations)):
            if len(set(values)) < len(values):
                raise UsageError(f"{name}: expected each once, got {', '.join(map(str, values))}")
        for name, regime in self.regimes.items():
            if not name.strip() or "/" in name:
                raise UsageError(f"regimes: expected a name without a slash, got {name!r}")
            self.evaluation_in(regime, f"regimes.{name}.evaluation.")
        if not self.seeds:
            raise UsageError("seeds: expected one at least, got none")

    def evaluation_in(self, regime: RegimeConfig | None, prefix: str = "") -> TrialEvaluation:
        """The evaluation of policies in a regime.

        Args:
            regime: The regime; None where there are none.
            prefix: Dotted path of its `evaluation`, for messages.

        Raises:
            UsageError: A key or value of the regime's own does not fit.
        """
        if regime is None:
            return self.evaluation
        return build(TrialEvaluation, {**asdict(self.evaluation), **regime.evaluation}, prefix)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read a sweep file.

    Args:
        path: YAML file.
        overrides: `key=value` texts for the sweep's own keys: `"seeds=[0,1,2]"`.

    Raises:
        UsageError: It is missing or malformed, or a key or value is wrong.
    """
    try:
        return build(SweepConfig, merge(read_yaml(path), overrides))
    except UsageError as error:
        message = str(error)
        raise UsageError(message if str(path) in message else f"{path}: {message}") from None


def _check_values(key: str, values: object, *, ranges: bool) -> None:
    """Check that a key of a search space has values.

    Raises:
        UsageError: It has none.
    """
    if isinstance(values, list | tuple) and values:
        return
    if ranges and isinstance(values, Mapping):
        low, high = values.get("low"), values.get("high")
        log = values.get("log", False)
        numbers = all(type(x) in (int, float) for x in (low, high))
        if (
            numbers
            and values.keys() <= {"low", "high", "log"}
            and isinstance(log, bool)
            and low < high  # type: ignore[operator]  # both are numbers
            and (not log or low > 0)  # type: ignore[operator]
        ):
            return
    also = " or {low: ..., high: ..., log: true|false} with low < high" if ranges else ""
    raise UsageError(f"search.space.{key}: expected a list of values{also}, got {values!r}")
