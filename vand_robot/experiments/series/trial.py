"""One trial: a network learns a signal from some people, then goes on with others' recordings.

It is trained on pieces of the recordings of people trained on. Then it sees the beginning of each
recording of somebody else, and generates the rest of it from its own predictions. Its rhythm is
compared with that of the rest as it was recorded. Its one-step likelihood is that of the rest, the
true points before each one given.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import VandError
from vand_envs.typing import FloatArray
from vand_robot.experiments.comparison.trial import Network, Trial
from vand_robot.experiments.comparison.trials import require_points, require_scores
from vand_robot.experiments.series.recordings import signal_data
from vand_robot.experiments.series.rhythm import Rhythm, period_of
from vand_robot.experiments.series.summary import WORST

TRAINING_STEPS = 100
"""Length of a piece that is trained on: 6 s of an exercise, 4 s of a pulse, 2 to 6 cycles."""

TRAINING_PIECES = 16
"""Pieces of an update, from anywhere in the recordings; a longer recording gives more."""

WARM_UP_STEPS = 120
"""True points that a network sees before it is on its own: 3 to 7 cycles."""

LONGEST_STEPS = 1000
"""No more of a recording is generated."""


@dataclass(frozen=True)
class SeriesTrial(Trial):
    """Settings that determine a trial on recordings."""

    learning_rate: float = 2e-2
    """As in `Trial`; at half of it, gated cells still stand still after 400 updates."""

    people: str = "test"
    """Who is judged: "test", or "tuning" where settings are chosen."""

    recordings: str = ""
    """Fingerprint of the recordings."""


def run_trial(file: Path, trial: SeriesTrial) -> dict[str, Any]:
    """Train, generate and judge.

    Args:
        file: The recordings.
        trial: The settings.

    Returns:
        For JSON: the trial; the scores of each recording that shows a cycle (see `Rhythm.score`);
        "nll", the one-step likelihood [nats per step], None if not finite; the figures of the last
        update; the time taken [s]; and the first channels of the first recording, true and
        generated, (T, 2) each.

    Raises:
        VandError: The recordings cannot be read, or none shows a cycle.
    """
    began = time.perf_counter()
    data = signal_data(file, trial.signal)
    network = Network(trial, data.channels)
    rng = np.random.default_rng(trial.seed)
    training = network.train(lambda: _pieces(data.train, rng))
    judged = rhythms(file, trial.signal, trial.people)
    motions = _generated(network, [recording for recording, _ in judged])
    nll = _likelihood(network, data.of(trial.people))
    shown = 2 if data.channels > 1 else 1
    return {
        "trial": asdict(trial),
        "scores": [
            rhythm.score(motion) for (_, rhythm), motion in zip(judged, motions, strict=True)
        ],
        "nll": nll if np.isfinite(nll) else None,
        "training": training,
        "seconds": time.perf_counter() - began,
        "first": {
            "dt_s": data.dt_s,
            "true": judged[0][0][WARM_UP_STEPS:, :shown].round(3).tolist(),
            "generated": motions[0][:, :shown].round(3).tolist(),
        },
    }


def check_result(record: JsonRecord) -> None:
    """Check a result of `run_trial` that was read from a file.

    Raises:
        VandError: Something is missing or of another type.
    """
    require_scores(record, WORST)
    record.optional_number("nll")
    first = record.record("first")
    first.number("dt_s", 1e-4)
    true, generated = (require_points(first, key) for key in ("true", "generated"))
    if len(true) != len(generated):
        raise first.mistake("generated", f"{len(true)} points")


@cache
def rhythms(file: Path, signal: str, people: str) -> tuple[tuple[FloatArray, Rhythm], ...]:
    """The recordings that show a cycle after the warm-up, at most so long, with its rhythm.

    Raises:
        VandError: The recordings cannot be read, or none shows a cycle.
    """
    data, found = signal_data(file, signal), []
    for recording in data.of(people):
        whole = recording[: WARM_UP_STEPS + LONGEST_STEPS]
        try:
            found.append((whole, Rhythm.of(whole[WARM_UP_STEPS:], data.dt_s)))
        except VandError:  # a sensor slipped, somebody paused: no rhythm to compare with
            continue
    if not found:
        raise VandError(f"{file}: no recording of {signal} by those of {people} shows a cycle")
    return tuple(found)


def ruler(file: Path, signal: str, people: str) -> dict[str, list[dict[str, float | None]]]:
    """Scores of two motions that need no network.

    Returns:
        "recording": each recording's own rest, which is off its own mean rhythm as people are;
        "repetition": the last cycle of the warm-up, over and over.
    """
    judged = rhythms(file, signal, people)
    return {
        "recording": [rhythm.score(points[WARM_UP_STEPS:]) for points, rhythm in judged],
        "repetition": [rhythm.score(_repeated(points)) for points, rhythm in judged],
    }


def _repeated(points: FloatArray) -> FloatArray:
    warm, steps = points[:WARM_UP_STEPS], len(points) - WARM_UP_STEPS
    period = round(period_of(warm, least_cycles=2) or WARM_UP_STEPS / 2)
    last = warm[-period:]
    return last[np.arange(steps) % period]


def _pieces(recordings: Sequence[FloatArray], rng: np.random.Generator) -> Tensor:
    """Pieces of an update: (TRAINING_STEPS + 1, TRAINING_PIECES, C)."""
    rooms = np.array([max(len(recording) - TRAINING_STEPS, 0) for recording in recordings])
    if not rooms.sum():
        raise VandError(f"expected a recording of more than {TRAINING_STEPS} steps to train on")
    ends = np.cumsum(rooms)
    pieces = []
    for place in rng.integers(ends[-1], size=TRAINING_PIECES):
        which = int(np.searchsorted(ends, place, side="right"))
        start = int(place - (ends[which] - rooms[which]))
        pieces.append(recordings[which][start : start + TRAINING_STEPS + 1])
    return torch.from_numpy(np.stack(pieces, axis=1)).float()


def _generated(network: Network, recordings: Sequence[FloatArray]) -> list[FloatArray]:
    """The rest of each recording as a network goes on, side by side: (T, C) each."""
    warm = np.stack([recording[:WARM_UP_STEPS] for recording in recordings], axis=1)
    lengths = [len(recording) - WARM_UP_STEPS for recording in recordings]
    paths = network.generate(torch.from_numpy(warm).float(), max(lengths))
    # A network that has diverged stands still: it fails, and can be measured like the others.
    values = np.nan_to_num(paths.double().numpy(), posinf=0.0, neginf=0.0)  # (T, B, C)
    return [values[:length, i] for i, length in enumerate(lengths)]


def _likelihood(network: Network, recordings: Sequence[FloatArray]) -> float:
    """Negative log likelihood of each point after the warm-up, the true ones before it given."""
    kept = [recording[: WARM_UP_STEPS + LONGEST_STEPS] for recording in recordings]
    longest = max(map(len, kept))
    points = torch.zeros(longest, len(kept), kept[0].shape[1])
    mask = torch.zeros(longest - 1, len(kept), dtype=torch.bool)
    for i, recording in enumerate(kept):
        points[: len(recording), i] = torch.from_numpy(recording).float()
        mask[WARM_UP_STEPS - 1 : len(recording) - 1, i] = True
    return network.one_step_nll(points, mask)
