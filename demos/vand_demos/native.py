"""Actions in the units of whoever recorded them, and the same numbers in [-1, 1].

The map is affine, one for each number of an action, from its bounds: `low` is -1, `high` is 1.
Bounds of exactly -1 and 1 leave every number as it is, bit for bit.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

NATIVE = "native"
"""Action mode of actions in units of their own."""


def to_unit(native: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float32]:
    """Map actions to [-1, 1].

    Args:
        native: (..., A) within the bounds.
        low: (A,) least value of each number.
        high: (A,) greatest value, above `low`.

    Returns:
        (..., A).
    """
    x, least, most = (np.asarray(value, np.float64) for value in (native, low, high))
    unit = np.where(_is_unit(least, most), x, 2 * (x - least) / (most - least) - 1)
    return np.clip(unit, -1.0, 1.0).astype(np.float32)  # what rounding puts outside


def from_unit(actions: ArrayLike, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
    """Map actions in [-1, 1] back to their own units, the inverse of `to_unit`.

    Args:
        actions: (..., A) in [-1, 1].
        low: (A,) least value of each number.
        high: (A,) greatest value.

    Returns:
        (..., A).
    """
    x, least, most = (np.asarray(value, np.float64) for value in (actions, low, high))
    native = np.clip(least + (x + 1) / 2 * (most - least), least, most)
    return np.where(_is_unit(least, most), x, native)


def bounds_fault(low: Any, high: Any, size: int | None = None) -> str | None:
    """The fault of the bounds of an action, or None.

    Args:
        low: Least value of each number.
        high: Greatest value of each number.
        size: Numbers in an action; None where that is not known.
    """
    for name, bound in (("action_low", low), ("action_high", high)):
        if not isinstance(bound, np.ndarray) or bound.dtype != np.float64 or bound.ndim != 1:
            return f"{name}: expected a number for each of an action's, got {bound!r:.60}"
        if size is not None and len(bound) != size:
            return f"{name}: expected {size} numbers as in actions, got {len(bound)}"
        if not np.isfinite(bound).all():
            return f"{name}: expected finite numbers, got {bound.tolist()!r:.60}"
    if len(low) != len(high):
        return f"action_high: expected {len(low)} numbers as in action_low, got {len(high)}"
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(~((low < high) & np.isfinite(high - low)))
    if len(wrong):
        i = int(wrong[0])
        return f"action_high[{i}] = {high[i]:g}: expected more than action_low, {low[i]:g}"
    return None


def _is_unit(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which bounds are -1 and 1."""
    return np.asarray((low == -1) & (high == 1))
