"""The sequence of poses that a viewer shows of a recorded motion."""

from collections.abc import Iterator, Sequence
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vand_demos.ui.frames import PoseInterpolator
from vand_envs.errors import VandError

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""Content of a row of recorded states."""

Places = Sequence[tuple[int, float]]
"""Times in a motion: the sample before, and the part of the way to the next one in [0, 1)."""


def even_places(samples: int, steps: int) -> Places:
    """Every sample, with the same number of poses between each and the next.

    Args:
        samples: Number of samples.
        steps: Poses per sample; 1: the samples alone.
    """
    last = samples - 1
    return [*((i, step / steps) for i in range(last) for step in range(steps)), (last, 0.0)]


def timed_places(samples: int, dt: float, fps: float) -> Places:
    """Poses at a rate that need not be a multiple of the samples'.

    Args:
        samples: Number of samples.
        dt: Time between samples [s].
        fps: Poses per second.
    """
    near = 1e-9  # a pose so close to a sample is that sample
    places = []
    for i in range(int((samples - 1) * dt * fps + near) + 1):
        at = i / (fps * dt)
        sample = min(int(at + near), samples - 1)
        places.append((sample, max(at - sample, 0.0) if sample < samples - 1 else 0.0))
    return places


def poses(model: Any, motion: npt.ArrayLike, steps: int = 1) -> Iterator[Any]:
    """Put a simulation into each sample of a motion in turn, with poses between the samples.

    Args:
        model: The `mujoco.MjModel`.
        motion: See `poses_at`.
        steps: Poses per sample; 1: the samples alone.

    Yields:
        The same `mujoco.MjData` each time, its kinematics and its cameras up to date.

    Raises:
        VandError: See `poses_at`.
    """
    yield from poses_at(model, motion, even_places(len(np.atleast_1d(np.asarray(motion))), steps))


def poses_at(model: Any, motion: npt.ArrayLike, places: Places) -> Iterator[Any]:
    """Put a simulation into poses of a motion in turn.

    Between samples, joints move at constant velocity (balls and free joints by the shortest
    rotation), because 10 samples per second look jerky.

    Args:
        model: The `mujoco.MjModel`.
        motion: Joint positions, shape (T, nq), or states, shape (T, size of an integration state).
        places: When.

    Yields:
        The same `mujoco.MjData` each time, its kinematics and its cameras up to date.

    Raises:
        VandError: The rows do not fit the model, there is none, or some number is not finite.
    """
    rows = np.asarray(motion, dtype=np.float64)
    size = mujoco.mj_stateSize(model, STATE)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] not in (model.nq, size):
        raise VandError(
            f"a motion of this model has shape (T, {model.nq}) (positions) or (T, {size}) "
            f"(states) with T > 0, not {rows.shape}"
        )
    if not np.isfinite(rows).all():
        bad = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise VandError(f"sample {bad} of the motion has numbers that are not finite")
    interpolator = PoseInterpolator(model)
    for sample, part in places:
        later = rows[min(sample + 1, len(rows) - 1)]
        yield interpolator.at(rows[sample], later, part)
