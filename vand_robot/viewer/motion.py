"""A recorded motion, as the sequence of poses that a viewer shows."""

from collections.abc import Iterator
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vand_envs.errors import VandError

Floats = npt.NDArray[np.float64]

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
"""What a row of a recorded state holds."""


def count_poses(samples: int, steps: int) -> int:
    """How many poses `poses` gives for so many samples."""
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
    data = mujoco.MjData(model)
    velocity = np.zeros(model.nv)
    for now, later in zip(rows, [*rows[1:], None], strict=True):
        qpos = _set(model, data, now)
        if later is None:
            between = [0.0]
        else:
            between = [step / steps for step in range(steps)]
            mujoco.mj_differentiatePos(model, velocity, 1.0, qpos, _positions(model, later))
        for part in between:
            data.qpos[:] = qpos
            mujoco.mj_integratePos(model, data.qpos, velocity, part)
            mujoco.mj_fwdPosition(model, data)
            yield data


def _set(model: Any, data: Any, row: Floats) -> Floats:
    """Put a simulation into a sample; its positions."""
    if len(row) == model.nq:
        return row
    mujoco.mj_setState(model, data, row, STATE)
    positions: Floats = data.qpos.copy()
    return positions


def _positions(model: Any, row: Floats) -> Floats:
    if len(row) == model.nq:
        return row
    positions = np.zeros(model.nq)
    mujoco.mj_extractState(model, row, STATE, positions, mujoco.mjtState.mjSTATE_QPOS)
    return positions
