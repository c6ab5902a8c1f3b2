"""A recorded motion, as the sequence of poses that a viewer shows."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vand_demos.ui.frames import PoseInterpolator
from vand_envs.errors import VandError

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""What a row of a recorded state holds."""


def count_poses(samples: int, steps: int) -> int:
    """The number of poses that `poses` yields."""
    return (samples - 1) * steps + 1


def poses(model: Any, motion: npt.ArrayLike, steps: int = 1) -> Iterator[Any]:
    """Put a simulation into each pose of a motion in turn, with poses between the samples.

    Between samples, joints move at constant velocity (balls and free joints by the shortest
    rotation), because 10 samples per second look jerky.

    Args:
        model: The `mujoco.MjModel`.
        motion: Joint positions, shape (T, nq), or states, shape (T, size of an integration state).
        steps: Poses per sample; 1: the samples alone.

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
    for now, later in pairwise(rows):
        for step in range(steps):
            yield interpolator.at(now, later, step / steps)
    yield interpolator.at(rows[-1], rows[-1], 0.0)
