"""The plan of trials: methods and their settings, seeds, and the variations of VAND."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from vand_envs.errors import UsageError, unknown_name
from vand_robot.experiments.sequences.signals import SIGNALS
from vand_robot.experiments.sequences.trial import (
    GENERATED_STEPS,
    ROLLOUTS,
    TRAINING_SEQUENCES,
    TRAINING_STEPS,
    UNITS,
    Trial,
)
from vand_robot.nn import CELLS

Setting = Mapping[str, Any]
"""Fields of a `Trial` that a method sets."""


def _regularized(name: str, option: str, values: Sequence[Any], **fixed: Any) -> list[Setting]:
    return [{"regularizer": {"name": name, **fixed, option: value}} for value in values]


def _scheduled(
    name: str, option: str, values: Sequence[float], start: float, end: float
) -> list[Setting]:
    """Settings whose option goes from one share of each value to another."""
    return [
        {
            "regularizer": {"name": name, option: value},
            "schedule": {"option": option, "start": start * value, "end": end * value},
        }
        for value in values
    ]


BETAS = (1e-5, 1e-4, 1e-3)
"""VAND's weights of the KL [per nat] to choose from."""

METHODS: Mapping[str, Sequence[Setting]] = {
    "none": [{"learning_rate": rate} for rate in (0.003, 0.01, 0.02)],
    "gradient clipping": [{"clip": norm} for norm in (1.0, 0.3, 0.1)],
    "Gaussian noise": _regularized("gaussian_noise", "scale", (0.03, 0.1, 0.2)),
    "dropout": _regularized("dropout", "p", (0.02, 0.05, 0.15)),
    "Noisin, additive": _regularized("noisin", "spread", (0.03, 0.1, 0.3), unbiased="strong"),
    "Noisin, Bernoulli": _regularized(
        "noisin",
        "spread",
        (0.98, 0.95, 0.85),
        distribution="bernoulli",
        form="multiplicative",
        unbiased="strong",
    ),
    "zoneout": _regularized("zoneout", "z", (0.02, 0.05, 0.15)),
    "VAND": _regularized("vand", "beta", BETAS),
    "VAND, noise only": _regularized("vand", "beta", BETAS, dropout=False),
    "VAND, dropout only": _regularized("vand", "beta", BETAS, noise=False),
    "VAND, fixed": _regularized("vand", "sigma", (0.03, 0.1, 0.2), adaptive=False),
    "VAND, dropout only, fixed": _regularized(
        "vand", "drop", (0.02, 0.05, 0.15), adaptive=False, noise=False
    ),
    "VAND, beta rising": _scheduled("vand", "beta", BETAS, 0.0, 1.0),
    "Gaussian noise, falling": _scheduled("gaussian_noise", "scale", (0.03, 0.1, 0.2), 1.0, 0.0),
}
"""Method -> its three settings. "none" has no strength of its own: it tunes the learning rate.

VAND adapts both its noise and its dropout; those after it leave one of the two out, or adapt
neither (d is then 0.02). Noise alone, not adapted, is Gaussian noise. The last two have a strength
that rises or falls over the first half of the training.

Weakly unbiased Noisin is Gaussian noise, and dropout, under another name; so Noisin is strong here.
"""

MAIN_METHODS = tuple(list(METHODS)[: list(METHODS).index("VAND") + 1])
"""Methods that are compared unless others are asked for: not VAND's ablation, nor schedules."""

RATES: Mapping[bool, Sequence[float]] = {
    False: (0.003, 0.02),
    True: (0.001, 0.03),
}
"""Whether a method's settings are learning rates themselves -> further learning rates that it is
tried with, where each method has its own: two for every method, so that all try five settings."""

VAND: Mapping[str, Any] = {"name": "vand", "beta": 1e-4}
"""Setting that the variations start from: the middle one, everything else at its default."""

VARIATIONS: Mapping[str, Sequence[Any]] = {
    "beta": (0.0, 1e-5, 1e-4, 1e-3, 1e-2),
    "sigma": (0.01, 0.05, 0.2),
    "drop": (0.002, 0.02, 0.1),
    "mask": ("step", "sequence"),
    "estimator": ("straight-through", "trapezoid", "relaxed"),
}
"""Option -> its values; each row holds the default."""

TUNING_SIGNAL = "figure-of-eight"
"""Where settings are chosen, and VAND is varied: the signal that tells methods apart best."""

VARIED_CELL = "elman"
"""Where VAND is varied."""


@dataclass(frozen=True)
class Plan:
    """Size of the experiment: updates, seeds and signals."""

    updates: int = 240
    """Updates of every network."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of the trials that are reported."""

    tuning_seeds: tuple[int, ...] = (100, 101)
    """Seeds of the trials that settings are chosen on; never reported."""

    signals: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "elman": tuple(SIGNALS),
            "gru": (TUNING_SIGNAL,),
            "lstm": (TUNING_SIGNAL,),
        }
    )
    """Cell -> signals to compare on: all for the basic network, for the others the one signal that
    tells methods apart best."""

    methods: tuple[str, ...] = MAIN_METHODS
    """Methods to compare, of `METHODS`."""

    own_rates: bool = False
    """Whether each method, on each cell, chooses its learning rate too, once its strength is."""

    def __post_init__(self) -> None:
        for kind, found, known in (
            ("method", self.methods, METHODS),
            ("cell", self.signals, CELLS),
            ("signal", [name for names in self.signals.values() for name in names], SIGNALS),
        ):
            if not found:
                raise UsageError(f"expected at least one {kind}, got none")
            for name in found:
                if name not in known:
                    raise unknown_name(f"{kind}", name, known)
        if not self.seeds or min(self.seeds) < 0:
            raise UsageError(f"seeds: expected numbers >= 0, at least one; got {self.seeds}")
        for seed in self.seeds:
            if seed in self.tuning_seeds:
                raise UsageError(f"seeds: {seed} is one that settings are chosen on")

    @property
    def varies(self) -> bool:
        """Whether the options of VAND are varied: where VAND itself is compared on that cell."""
        return "VAND" in self.methods and VARIED_CELL in self.signals

    def rates_of(self, setting: Setting) -> list[Setting]:
        """The setting with each learning rate that it is to be tried with beside its own."""
        if not self.own_rates:
            return []
        return [{**setting, "learning_rate": rate} for rate in RATES["learning_rate" in setting]]

    def as_dict(self) -> dict[str, Any]:
        """The plan for JSON, with what is the same in all plans."""
        return {
            **asdict(self),
            "tuning_signal": TUNING_SIGNAL,
            "varied_cell": VARIED_CELL,
            "varied": dict(VAND),
            "sizes": {
                "units": UNITS,
                "sequences": TRAINING_SEQUENCES,
                "training_steps": TRAINING_STEPS,
                "generated_steps": GENERATED_STEPS,
                "rollouts": ROLLOUTS,
            },
        }

    def tuning(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials that judge a setting."""
        return self._trials(cell, setting, (TUNING_SIGNAL,), self.tuning_seeds)

    def comparison(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials of a chosen setting that are reported."""
        return self._trials(cell, setting, self.signals[cell], self.seeds)

    def variation(self, option: str, value: Any) -> list[Trial]:
        """The trials of VAND with one option changed."""
        setting = {"regularizer": {**VAND, option: value}}
        return self._trials(VARIED_CELL, setting, (TUNING_SIGNAL,), self.seeds)

    def _trials(
        self, cell: str, setting: Setting, signals: Sequence[str], seeds: Sequence[int]
    ) -> list[Trial]:
        return [
            Trial(signal, cell, seed, self.updates, **setting)
            for signal in signals
            for seed in seeds
        ]


QUICK = Plan(updates=20, seeds=(0, 1), tuning_seeds=(100,), signals={"elman": (TUNING_SIGNAL,)})
"""Everything once around, in a minute: to see that it works. Its numbers mean nothing."""


def chosen_plan(
    plan: Plan,
    cells: str | None,
    signals: str | None,
    methods: str | None,
    seeds: str | None,
    *,
    own_rates: bool,
) -> Plan:
    """A plan with what a user asks for in place of its own; None leaves it.

    Args:
        plan: The plan.
        cells: Names with commas between them, or "all".
        signals: Likewise. Where one of the two is given, all these cells run on all these signals.
        methods: Names with semicolons between them, for some have commas, or "all".
        seeds: Numbers with commas between them.
        own_rates: Whether each method chooses its own learning rate.

    Raises:
        UsageError: A name is unknown, something is no number, or a list is empty.
    """
    matrix = plan.signals
    if cells is not None or signals is not None:
        of_plan = dict.fromkeys(name for names in plan.signals.values() for name in names)
        walked = tuple(of_plan) if signals is None else _listed(signals, SIGNALS)
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
    if not text.isdecimal():
        raise UsageError(f"--seeds: expected numbers with commas between them, got {text!r}")
    return int(text)
