"""One trial: a network learns a few sequences of one signal, then goes on by itself.

It is trained with teacher forcing: at every step it sees the true point before, and predicts the
next one. (Feeding it its own predictions in training would be a regularizer of its own, and the
same for all.) Then it is warmed up on new sequences, and generates each for ten times the training
length, fed with nothing but its own predictions.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from json import dumps
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vand_robot.experiments.sequences.signals import DT_S, STEPS_PER_CYCLE, draw, reference
from vand_robot.metrics.periodic import score_periodic
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

TRAINING_STEPS = 3 * STEPS_PER_CYCLE
"""Length of a training sequence."""

TRAINING_SEQUENCES = 8
"""Few: so that there is something to regularize."""

WARM_UP_STEPS = 2 * STEPS_PER_CYCLE
"""True points that a network sees before it is on its own."""

GENERATED_STEPS = 10 * TRAINING_STEPS
"""Points that it then generates."""

ROLLOUTS = 8
"""New sequences that a trained network goes on with."""

SCORES = ("success", "in_tolerance", "frequency_error", "amplitude_error", "phase_drift_rad")
"""Fields of `PeriodicScore` that are kept for each rollout."""


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


def run_trial(trial: Trial) -> dict[str, Any]:
    """Train, generate and judge.

    Returns:
        For JSON: the trial, the scores of each rollout (None where a number cannot be told), the
        figures of the last update, the time taken [s], and the path of the first rollout, (T, 2).
    """
    began = time.perf_counter()
    tune_allocator()
    torch.manual_seed(trial.seed)
    rng = np.random.default_rng(trial.seed)
    regularizer = make_regularizer(trial.regularizer)
    layer: Recurrent[Any] = make_cell(trial.cell, 2, UNITS, regularizer=regularizer)
    head = GaussianHead(UNITS, 2, shared_std=True)
    training = draw(trial.signal, TRAINING_STEPS + 1, TRAINING_SEQUENCES, rng)
    training_figures = _train(layer, head, torch.from_numpy(training.points).float(), trial)

    fresh = draw(trial.signal, WARM_UP_STEPS, ROLLOUTS, rng)
    generated = _generate(layer, head, torch.from_numpy(fresh.points).float())
    # A network that has diverged stands still: it fails, and can be measured like the others.
    paths = np.nan_to_num(generated.double().numpy(), posinf=0.0, neginf=0.0)  # (T, B, 2)
    scores = []
    for path, tempo, size in zip(paths.swapaxes(0, 1), fresh.tempo, fresh.size, strict=True):
        score = score_periodic(path, DT_S, reference(trial.signal, tempo, size)).as_dict()
        scores.append({name: score[name] for name in SCORES})
    return {
        "trial": asdict(trial),
        "scores": scores,
        "training": training_figures,
        "seconds": time.perf_counter() - began,
        "first": {
            "tempo": float(fresh.tempo[0]),
            "size": float(fresh.size[0]),
            "path": paths[:, 0].round(4).tolist(),
        },
    }


def _train(
    layer: Recurrent[Any], head: GaussianHead, points: Tensor, trial: Trial
) -> dict[str, float | None]:
    """Train on points (T + 1, B, 2); give figures of the last update, None if not finite."""
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=trial.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.updates)
    ramps = {}
    if trial.schedule is not None:
        ends = (trial.schedule["start"], trial.schedule["end"])
        half = max(1, trial.updates // 2)
        ramps = {trial.schedule["option"]: Ramp(*ends, updates=half, shape="cosine")}
    for update in range(1, trial.updates + 1):
        apply_schedules(layer, ramps, update)
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
def _generate(layer: Recurrent[Any], head: GaussianHead, points: Tensor) -> Tensor:
    """Go on after points (T, B, 2): (GENERATED_STEPS, B, 2)."""
    layer.eval()
    warm = layer.run(points)
    state, point = warm.state, head.mean(warm.output[-1])
    path = [point]
    for _ in range(GENERATED_STEPS - 1):
        output, state = layer.step(point, state)
        point = head.mean(output)
        path.append(point)
    return torch.stack(path)
