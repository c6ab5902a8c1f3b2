"""Episodes at another control rate: each step takes the source's latest, nothing is averaged."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.interop.source import SourceEpisode

METHOD = "hold"
"""Name of the method."""

_SLACK = 1e-6
"""Share of a step by which rounding may miss it."""


def resampled(episode: SourceEpisode, from_hz: float, to_hz: float) -> SourceEpisode:
    """The episode at another rate.

    Step k of the new episode, at time k / to_hz, is the source's latest step at or before that
    time: its observation, its action, its state. Rewards in between are summed, and the last step
    is done where the source's was. That is right for actions that are targets or velocities; those
    that are displacements would have to be added up, which may leave their bounds.

    Args:
        episode: At `from_hz`.
        from_hz: Rate of the source [Hz].
        to_hz: The new rate [Hz].
    """
    steps = len(episode.actions)
    if abs(from_hz - to_hz) <= _SLACK * from_hz:
        return episode
    count = max(1, math.ceil(steps * to_hz / from_hz - _SLACK))
    at = np.floor(np.arange(count) * from_hz / to_hz + _SLACK).astype(np.int64)
    at = np.minimum(at, steps - 1)  # (M,)
    return replace(
        episode,
        actions=episode.actions[at],
        observations={key: rows[at] for key, rows in episode.observations.items()},
        next_observations={},
        rewards=_summed(episode.rewards, at),
        dones=None if episode.dones is None else _summed(episode.dones, at),
        states=None if episode.states is None else episode.states[at],
    )


def _summed(values: NDArray[Any] | None, at: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """What was given from each new step until the next; a step that is held gives it once."""
    if values is None:
        return None
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.append(at[1:], len(values))
    return np.asarray(total[ends] - total[at])
