"""The plan of trials: cells, signals, methods and seeds, as a user asks for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from vand_envs.errors import UsageError, unknown_name
from vand_envs.seeds import MAX_TRAINING_SEED
from vand_robot.experiments.comparison.methods import MAIN_METHODS, METHODS, RATES, Setting
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.nn import CELLS


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """Size of an experiment: updates, seeds, signals and methods."""

    known_signals: ClassVar[tuple[str, ...]]
    """All signals that there are."""

    tuning_signals: ClassVar[tuple[str, ...]]
    """Signals on which settings are chosen, for all."""

    other_rates: ClassVar[Mapping[bool, Sequence[float]]] = RATES
    """Further learning rates, where methods have their own; see `RATES`."""

    updates: int = 240
    """Updates of every network."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trials that are reported."""

    tuning_seeds: tuple[int, ...] = (100, 101)
    """Seeds of the trials that settings are chosen on; never reported."""

    signals: Mapping[str, tuple[str, ...]]
    """Cell -> signals to compare on."""

    methods: tuple[str, ...] = MAIN_METHODS
    """Methods to compare, of `METHODS`."""

    own_rates: bool = False
    """Whether each method, on each cell, chooses its learning rate too, once its strength is."""

    def __post_init__(self) -> None:
        for kind, found, known in (
            ("method", self.methods, METHODS),
            ("cell", self.signals, CELLS),
            (
                "signal",
                [name for names in self.signals.values() for name in names],
                self.known_signals,
            ),
        ):
            if not found:
                raise UsageError(f"expected at least one {kind}, got none")
            for name in found:
                if name not in known:
                    raise unknown_name(f"{kind}", name, known)
        if not self.seeds or min(self.seeds) < 0 or max(self.seeds) > MAX_TRAINING_SEED:
            raise UsageError(
                f"seeds: expected numbers from 0 to {MAX_TRAINING_SEED}, at least one; got"
                f" {self.seeds!s:.60}"
            )
        for seed in self.seeds:
            if seed in self.tuning_seeds:
                raise UsageError(f"seeds: {seed} is one that settings are chosen on")

    def rates_of(self, setting: Setting) -> list[Setting]:
        """The setting with each learning rate that it is to be tried with beside its own."""
        if not self.own_rates:
            return []
        return [
            {**setting, "learning_rate": rate}
            for rate in self.other_rates["learning_rate" in setting]
        ]

    def tuning(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials that judge a setting."""
        return self._trials(cell, setting, self.tuning_signals, self.tuning_seeds)

    def comparison(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials of a chosen setting that are reported."""
        return self._trials(cell, setting, self.signals[cell], self.seeds)

    def _trials(
        self, cell: str, setting: Setting, signals: Sequence[str], seeds: Sequence[int]
    ) -> list[Trial]:
        return [
            Trial(signal, cell, seed, self.updates, **setting)
            for signal in signals
            for seed in seeds
        ]


PlanT = TypeVar("PlanT", bound=ComparisonPlan)


def chosen_plan(
    plan: PlanT,
    cells: str | None,
    signals: str | None,
    methods: str | None,
    seeds: str | None,
    *,
    own_rates: bool,
) -> PlanT:
    """A plan with what a user asks for in place of its own; None leaves it.

    Args:
        plan: The plan.
        cells: Names with commas between them, or "all".
        signals: Likewise. Where one of the two is given, all these cells run on all these signals.
        methods: Names with semicolons between them, since names have commas; or "all".
        seeds: Numbers with commas between them.
        own_rates: As in `ComparisonPlan`.

    Raises:
        UsageError: A name is unknown, something is no number, or a list is empty.
    """
    matrix = plan.signals
    if cells is not None or signals is not None:
        of_plan = dict.fromkeys(name for names in plan.signals.values() for name in names)
        walked = tuple(of_plan) if signals is None else _listed(signals, plan.known_signals)
        matrix = dict.fromkeys(plan.signals if cells is None else _listed(cells, CELLS), walked)
    return replace(
        plan,
        signals=matrix,
        methods=plan.methods if methods is None else _listed(methods, METHODS, ";"),
        seeds=plan.seeds if seeds is None else tuple(map(_seed, _listed(seeds, ()))),
        own_rates=own_rates,
    )


def _listed(text: str, known: Iterable[str], separator: str = ",") -> tuple[str, ...]:
    """The names in a text, each once; all known ones for "all"."""
    if text.strip() == "all":
        return tuple(known)
    return tuple(dict.fromkeys(name.strip() for name in text.split(separator) if name.strip()))


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(MAX_TRAINING_SEED)):
        raise UsageError(f"--seeds: expected numbers with commas between them, got {text!r:.60}")
    return int(text)
