"""One trial: a network learns a few sequences of one signal, then goes on by itself.

Warmed up on new sequences, it generates each for ten times the training length.
"""

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from vand_demos.system.json_record import JsonRecord
from vand_robot.experiments.comparison.trial import Network, Trial
from vand_robot.experiments.comparison.trials import require_points, require_scores
from vand_robot.experiments.sequences.signals import DT_S, STEPS_PER_CYCLE, draw, reference
from vand_robot.experiments.sequences.summary import WORST
from vand_robot.metrics.periodic import score_periodic

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


def run_trial(trial: Trial) -> dict[str, Any]:
    """Train, generate and judge.

    Returns:
        For JSON: the trial, the scores of each rollout (None where a number cannot be told), the
        figures of the last update, the time taken [s], and the path of the first rollout, (T, 2).
    """
    began = time.perf_counter()
    network = Network(trial, channels=2)
    rng = np.random.default_rng(trial.seed)
    training = draw(trial.signal, TRAINING_STEPS + 1, TRAINING_SEQUENCES, rng)
    points = torch.from_numpy(training.points).float()
    training_figures = network.train(lambda: points)

    fresh = draw(trial.signal, WARM_UP_STEPS, ROLLOUTS, rng)
    generated = network.generate(torch.from_numpy(fresh.points).float(), GENERATED_STEPS)
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


def check_result(record: JsonRecord) -> None:
    """Check a result of `run_trial` that was read from a file.

    Raises:
        VandError: Something is missing or of another type.
    """
    require_scores(record, WORST)
    first = record.record("first")
    first.number("size", 0.0)
    if not 0.5 <= abs(first.number("tempo")) <= 2:  # `draw` stays nearer to 1
        raise first.mistake("tempo", "a number from 0.5 to 2, or its negative")
    require_points(first, "path")
