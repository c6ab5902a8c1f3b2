"""The plan of trials: methods and their settings, seeds, and the variations of VAND."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vand_robot.experiments.sequences.signals import SIGNALS
from vand_robot.experiments.sequences.trial import (
    GENERATED_STEPS,
    ROLLOUTS,
    TRAINING_SEQUENCES,
    TRAINING_STEPS,
    UNITS,
    Trial,
)

Setting = Mapping[str, Any]
"""Fields of a `Trial` that a method sets."""


def _regularized(name: str, option: str, values: Sequence[Any], **fixed: Any) -> list[Setting]:
    return [{"regularizer": {"name": name, **fixed, option: value}} for value in values]


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
    "VAND": _regularized("vand", "beta", (1e-5, 1e-4, 1e-3)),
}
"""Method -> its three settings. "none" has no strength of its own: it tunes the learning rate.

Weakly unbiased Noisin is Gaussian noise, and dropout, under another name; so Noisin is strong here.
"""

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
