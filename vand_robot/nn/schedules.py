"""Schedules of a regularizer's options over training: beta, noise, dropout, whatever is a number.

A schedule is a function of the number of the update, and of nothing else: so whoever resumes a
training applies it again and is exactly where it was. `Ramp` is a linear or cosine one; any other
callable will do.

    for update in range(1, updates + 1):
        apply_schedules(model, {"beta": Ramp(0.0, 1e-3, updates=500)}, update)
        ...
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from vand_robot.nn.recurrent import Recurrent
from vand_robot.nn.regularizers.options import Range, check_options, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from vand_robot.nn.regularizers.base import Regularizer, Sampler

    Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Ramp:
    """From one value to another over a number of updates; constant before and after."""

    start: float
    """Value until it begins."""

    end: float
    """Value once it is over."""

    updates: Annotated[int, Range(1)]
    """Updates that it takes."""

    begin: Annotated[int, Range(0)] = 0
    """Update at which it begins."""

    shape: Literal["linear", "cosine"] = "linear"
    """A straight line, or half a cosine, which begins and ends slowly."""

    def __post_init__(self) -> None:
        """Check the options' values; raises ValueError."""
        check_options(self)

    def __call__(self, update: int) -> float:
        """Return the value at an update."""
        part = min(max(update - self.begin, 0), self.updates) / self.updates
        if self.shape == "cosine":
            part = (1 - math.cos(math.pi * part)) / 2
        return self.start * (1 - part) + self.end * part  # exactly the end at the end


def apply_schedules(module: nn.Module, schedules: Mapping[str, Schedule], update: int) -> None:
    """Set options of the regularizers in a model to what schedules say of an update.

    Call it before the update's forward pass, and before a trained model is used, whose
    deterministic state depends on its options (zoneout's z).

    Args:
        module: a model, its recurrent layers at any depth.
        schedules: option -> function of the update. In a `Chain`, and in a model of several
            layers, every regularizer that has the option takes the value.
        update: number of the update.

    Raises:
        ValueError: if no regularizer has the option, it is learned or set by dual ascent, or the
            value is out of its bounds.
    """
    samplers = [child.regularizer for child in module.modules() if isinstance(child, Recurrent)]
    for option, schedule in schedules.items():
        _set_option(samplers, option, schedule(update))


def check_schedule(recipe: Regularizer, option: str, values: tuple[float, ...]) -> None:
    """Raise ValueError unless an option of a regularizer may be set to each of these values."""
    for value in values:
        _set_option([recipe.bind(1, 1, 2)], option, value)


def _set_option(samplers: list[Sampler], option: str, value: float) -> None:
    if not any([sampler.set_option(option, value) for sampler in samplers]):  # noqa: C419  (all are set)
        known = sorted({name for sampler in samplers for name in sampler.numbers()})
        raise ValueError(
            f"no regularizer here has a number {option!r}{did_you_mean(option, known)};"
            f" there are: {', '.join(known) or 'none'}"
        )
