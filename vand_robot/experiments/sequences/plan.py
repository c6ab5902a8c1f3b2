"""The plan of trials: methods and their settings, seeds, and the variations of VAND."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from vand_robot.experiments.comparison.methods import VAND
from vand_robot.experiments.comparison.plan import ComparisonPlan
from vand_robot.experiments.comparison.trial import UNITS, Trial
from vand_robot.experiments.sequences.signals import SIGNALS
from vand_robot.experiments.sequences.trial import (
    GENERATED_STEPS,
    ROLLOUTS,
    TRAINING_SEQUENCES,
    TRAINING_STEPS,
)

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


@dataclass(frozen=True, kw_only=True)
class Plan(ComparisonPlan):
    """Size of the experiment: updates, seeds and signals."""

    known_signals: ClassVar[tuple[str, ...]] = tuple(SIGNALS)
    tuning_signals: ClassVar[tuple[str, ...]] = (TUNING_SIGNAL,)

    signals: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "elman": tuple(SIGNALS),
            "gru": (TUNING_SIGNAL,),
            "lstm": (TUNING_SIGNAL,),
        }
    )
    """Cell -> signals to compare on: all for the basic network, for the others the one signal that
    tells methods apart best."""

    @property
    def varies(self) -> bool:
        """Whether the options of VAND are varied: where VAND itself is compared on that cell."""
        return "VAND" in self.methods and VARIED_CELL in self.signals

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

    def variation(self, option: str, value: Any) -> list[Trial]:
        """The trials of VAND with one option changed."""
        setting = {"regularizer": {**VAND, option: value}}
        return self._trials(VARIED_CELL, setting, (TUNING_SIGNAL,), self.seeds)


QUICK = Plan(updates=20, seeds=(0, 1), tuning_seeds=(100,), signals={"elman": (TUNING_SIGNAL,)})
"""Everything once around, in a minute: to see that it works. Its numbers mean nothing."""
