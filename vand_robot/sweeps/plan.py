"""The trials of a sweep, from its file."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vand_envs.errors import UsageError
from vand_robot.config.library import find_config
from vand_robot.config.loading import load_config
from vand_robot.config.schema import TrainConfig
from vand_robot.evaluation.suites import find_suite
from vand_robot.sweeps.schema import SearchConfig, SweepConfig
from vand_robot.sweeps.trial import Trial

Setting = Mapping[str, Any]
"""Key of the training configuration -> value."""

MAX_TRIALS = 10_000
"""Trials of one sweep."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep whose base configuration was found and checked."""

    sweep: SweepConfig
    """The sweep."""
    base: Path
    """File of the base configuration."""

    @classmethod
    def of(cls, sweep: SweepConfig, file: Path) -> "SweepPlan":
        """Find the base, and check every method with every setting that is known beforehand.

        Args:
            sweep: The sweep.
            file: Its file; a base that is a file may lie beside it.

        Raises:
            UsageError: No such base, suite or perturbation, a key or value that does not fit, or
                more than `MAX_TRIALS` trials.
        """
        _require_few(sweep)
        beside = file.parent / sweep.base
        plan = cls(sweep, beside if beside.is_file() else find_config(sweep.base))
        for regime in plan.regimes:
            evaluation = sweep.evaluation_in(sweep.regimes.get(regime or ""))
            find_suite(evaluation.suite, evaluation.perturbations)
        samples = settings(sweep.search) if known_beforehand(sweep.search) else _corners(sweep)
        for method, setting in itertools.product(plan.methods, samples):
            plan.trials(method, setting)
        return plan

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods."""
        return tuple(self.sweep.methods) or (self.base.stem,)

    @property
    def regimes(self) -> tuple[str | None, ...]:
        """Names of the regimes; None alone where there are none."""
        return tuple(self.sweep.regimes) or (None,)

    def trials(self, method: str, setting: Setting) -> list[Trial]:
        """The trials of a method with a setting: every regime and data size with every seed.

        Raises:
            UsageError: A key or value does not fit the training configuration.
        """
        sizes: Sequence[int | None] = self.sweep.demonstrations or (None,)
        return [
            Trial(
                method,
                setting,
                size,
                seed,
                self._config(regime, method, setting, size, seed),
                self.sweep.evaluation_in(self.sweep.regimes.get(regime or "")),
                regime,
            )
            for regime, size, seed in itertools.product(self.regimes, sizes, self.sweep.seeds)
        ]

    def _config(
        self, regime: str | None, method: str, setting: Setting, size: int | None, seed: int
    ) -> TrainConfig:
        here = {} if regime is None else self.sweep.regimes[regime].overrides
        layers = [self.sweep.overrides, here, self.sweep.methods.get(method, {}), setting]
        texts = [text for layer in layers for text in override_texts(layer)]
        if size is not None:
            texts.append(f"demonstrations={size}")
        where = f"method {method!r}{f' with {described(setting)}' if setting else ''}"
        where += "" if regime is None else f" in regime {regime!r}"
        try:
            config = load_config(self.base, [*texts, f"seed={seed}"])
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        # a trial's folder lies elsewhere than the file that names the data
        return _with_absolute_data(config)


def _require_few(sweep: SweepConfig) -> None:
    """Count the trials before any is made.

    Raises:
        UsageError: There are more than `MAX_TRIALS`.
    """
    search = sweep.search
    count = 1
    if search is not None and search.sampler == "list":
        count = len(search.settings)
    elif search is not None and search.sampler == "grid":
        count = math.prod(len(values) for values in search.space.values())
    elif search is not None:
        count = search.trials
    for axis in (sweep.methods, sweep.regimes, sweep.demonstrations, sweep.seeds):
        count *= max(1, len(axis))
    if count > MAX_TRIALS:
        raise UsageError(f"expected at most {MAX_TRIALS} trials of one sweep, got {count}")


def settings(search: SearchConfig | None) -> list[Setting]:
    """The settings of a search that are known beforehand; one that is empty without a search."""
    if search is None:
        return [{}]
    if search.sampler == "list":
        return list(search.settings)
    if search.sampler == "grid":
        values = itertools.product(*search.space.values())
        return [dict(zip(search.space, row, strict=True)) for row in values]
    rng = np.random.default_rng(search.seed)
    return [
        {key: _draw(values, rng) for key, values in search.space.items()}
        for _ in range(search.trials)
    ]


def known_beforehand(search: SearchConfig | None) -> bool:
    """Whether the settings do not depend on how the ones before did."""
    return search is None or search.sampler != "tpe"


def override_texts(layer: Setting) -> Iterator[str]:
    """A mapping of keys, which may be nested, as `key=value` texts."""
    for key, value in layer.items():
        yield f"{key}={json.dumps(value)}"  # JSON is YAML


def described(setting: Setting) -> str:
    """A setting in words: `learning_rate=0.003`."""
    return ", ".join(f"{key}={value}" for key, value in setting.items())


def _corners(sweep: SweepConfig) -> list[Setting]:
    """Two settings at the ends of a search space, by which mistakes in it are found at once."""
    space = {} if sweep.search is None else sweep.search.space
    ends = {k: (v["low"], v["high"]) if isinstance(v, Mapping) else v for k, v in space.items()}
    return [{key: values[end] for key, values in ends.items()} for end in (0, -1)]


def _draw(values: Any, rng: np.random.Generator) -> Any:
    if not isinstance(values, Mapping):
        return values[int(rng.integers(len(values)))]
    low, high = values["low"], values["high"]
    if values.get("log"):
        drawn = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        return min(round(drawn), high) if isinstance(low, int) and isinstance(high, int) else drawn
    if isinstance(low, int) and isinstance(high, int):
        return int(rng.integers(low, high + 1))
    return float(rng.uniform(low, high))


def _with_absolute_data(config: TrainConfig) -> TrainConfig:
    return replace(config, data=tuple(str(Path(path).absolute()) for path in config.data))
