"""The plan of trials on recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from vand_robot.experiments.comparison.methods import ABLATION, MAIN_METHODS, Setting
from vand_robot.experiments.comparison.plan import ComparisonPlan
from vand_robot.experiments.comparison.trial import UNITS, Trial
from vand_robot.experiments.series.recordings import SIGNALS, SPLITS
from vand_robot.experiments.series.trial import (
    LONGEST_STEPS,
    TRAINING_PIECES,
    TRAINING_STEPS,
    WARM_UP_STEPS,
    SeriesTrial,
)

TUNING_SIGNALS = ("abduction", "upright-row")
"""Where settings are chosen, for all: an exercise whose cycle is even, and one whose is not."""


@dataclass(frozen=True, kw_only=True)
class Plan(ComparisonPlan):
    """Size of the experiment: updates, seeds and signals."""

    known_signals: ClassVar[tuple[str, ...]] = SIGNALS
    tuning_signals: ClassVar[tuple[str, ...]] = TUNING_SIGNALS

    other_rates: ClassVar[Mapping[bool, Sequence[float]]] = {
        False: (0.005, 0.01),
        True: (0.001, 0.03),
    }

    updates: int = 400
    """Updates of every network."""

    tuning_seeds: tuple[int, ...] = (100,)
    """One: what settings do differs more between people and exercises, over which they are judged
    too."""

    signals: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: dict.fromkeys(("elman", "gru", "lstm"), SIGNALS)
    )
    """Cell -> signals to compare on."""

    methods: tuple[str, ...] = tuple(dict.fromkeys((*MAIN_METHODS, *ABLATION)))
    """Methods to compare, VAND's ablation among them."""

    recordings: str = ""
    """Fingerprint of the recordings."""

    def as_dict(self) -> dict[str, Any]:
        """The plan for JSON, with what is the same in all plans."""
        return {
            **asdict(self),
            "tuning_signals": list(TUNING_SIGNALS),
            "people": {signal: asdict(split) for signal, split in SPLITS.items()},
            "sizes": {
                "units": UNITS,
                "pieces": TRAINING_PIECES,
                "training_steps": TRAINING_STEPS,
                "warm_up_steps": WARM_UP_STEPS,
                "longest_steps": LONGEST_STEPS,
            },
        }

    def tuning(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials that judge a setting, on people who are not reported."""
        return self._of("tuning", cell, setting, self.tuning_signals, self.tuning_seeds)

    def comparison(self, cell: str, setting: Setting) -> list[Trial]:
        """The trials of a chosen setting that are reported."""
        return self._of("test", cell, setting, self.signals[cell], self.seeds)

    def _of(
        self,
        people: str,
        cell: str,
        setting: Setting,
        signals: Sequence[str],
        seeds: Sequence[int],
    ) -> list[Trial]:
        about: dict[str, Any] = {"people": people, "recordings": self.recordings}
        return [
            SeriesTrial(signal, cell, seed, self.updates, **setting, **about)
            for signal in signals
            for seed in seeds
        ]


QUICK = Plan(
    updates=20,
    seeds=(0, 1),
    signals={"elman": ("abduction",)},
    methods=("none", "Gaussian noise", "VAND"),
)
"""Everything once around, in half a minute: to see that it works. Its numbers mean nothing."""
