"""One trial: a network learns to predict the next point of some sequences, and is then judged.

It is trained with teacher forcing: at every step it sees the true point before, and predicts the
next one. (Feeding it its own predictions in training would be a regularizer of its own, and the
same for all.) Then it is warmed up on other sequences, and goes on with nothing but its own
predictions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any

import torch
from torch import Tensor

from vand_robot.nn import (
    GaussianHead,
    Ramp,
    Recurrent,
    apply_schedules,
    dual_step,
    make_cell,
    make_regularizer,
    tune_allocator,
)

UNITS = 32
"""Units of every network."""


@dataclass(frozen=True)
class Trial:
    """Settings that determine a trial, bit for bit on one machine."""

    signal: str
    """Name of the signal."""

    cell: str
    """Name of the cell."""

    seed: int
    """Seed of the data, the weights and the regularizer's draws."""

    updates: int
    """Updates of the weights."""

    regularizer: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    """Options for `make_regularizer`."""

    learning_rate: float = 1e-2
    """Learning rate of Adam at the start; it falls to 0 along a cosine."""

    clip: float | None = None
    """Largest norm of the gradient; None for any."""

    schedule: Mapping[str, Any] | None = None
    """Option of the regularizer that goes from "start" to "end" along half a cosine over the first
    half of the updates, `{"option": "beta", "start": 0.0, "end": 1e-3}`; None for none."""

    @property
    def key(self) -> str:
        """A name for it that no other trial has."""
        settings = asdict(self)
        if self.schedule is None:  # as trials were named before there were schedules
            del settings["schedule"]
        return sha256(dumps(settings, sort_keys=True).encode()).hexdigest()[:20]


class Network:
    """One recurrent layer and a Gaussian likelihood, as a trial wants it.

    Args:
        trial: Its settings; the weights follow from its seed.
        channels: Numbers of a point, C.
    """

    def __init__(self, trial: Trial, channels: int) -> None:
        tune_allocator()
        torch.manual_seed(trial.seed)
        self.trial = trial
        regularizer = make_regularizer(trial.regularizer)
        self.layer: Recurrent[Any] = make_cell(trial.cell, channels, UNITS, regularizer=regularizer)
        self.head = GaussianHead(UNITS, channels, shared_std=True)

    def train(self, batch: Callable[[], Tensor]) -> dict[str, float | None]:
        """Train on what a function gives for each update.

        Args:
            batch: Gives points, (T + 1, B, C).

        Returns:
            Figures of the last update, None if not finite.
        """
        trial, layer, head = self.trial, self.layer, self.head
        parameters = [*layer.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=trial.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.updates)
        ramps = _ramps(trial)
        for update in range(1, trial.updates + 1):
            apply_schedules(layer, ramps, update)
            points = batch()
            result = layer.run(points[:-1])
            nll = head.nll(result.output, points[1:])
            optimizer.zero_grad()
            (nll + result.terms.penalty).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
            if trial.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, trial.clip)
            optimizer.step()
            dual_step(layer)
            schedule.step()
        metrics = {"nll": nll.item(), **result.terms.metrics}
        return {name: value if math.isfinite(value) else None for name, value in metrics.items()}

    @torch.no_grad()
    def generate(self, points: Tensor, steps: int) -> Tensor:
        """Go on after points (T, B, C) by its own predictions: (steps, B, C)."""
        layer, head = self.layer, self.head
        layer.eval()
        warm = layer.run(points)
        state, point = warm.state, head.mean(warm.output[-1])
        path = [point]
        for _ in range(steps - 1):
            output, state = layer.step(point, state)
            point = head.mean(output)
            path.append(point)
        return torch.stack(path)

    @torch.no_grad()
    def one_step_nll(self, points: Tensor, mask: Tensor) -> float:
        """Negative log likelihood of each next point, the true ones before it given.

        Args:
            points: (T + 1, B, C).
            mask: (T, B) booleans, which of the points from the second on count.

        Returns:
            Mean over them [nats per step].
        """
        self.layer.eval()
        return self.head.nll(self.layer.run(points[:-1]).output, points[1:], mask).item()


def _ramps(trial: Trial) -> dict[str, Ramp]:
    """The schedule of a trial, by its option."""
    if trial.schedule is None:
        return {}
    half = max(1, trial.updates // 2)
    start, end = trial.schedule["start"], trial.schedule["end"]
    return {trial.schedule["option"]: Ramp(start, end, updates=half, shape="cosine")}
