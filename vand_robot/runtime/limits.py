"""Limits of what is sent to a robot: range and slew, whatever the policy says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyUsageError
from vand_robot.runtime.interface import Interface


@dataclass(frozen=True)
class Limits:
    """Bounds of an action and of its change."""

    low: NDArray[np.float32]
    """(A,) smallest values."""
    high: NDArray[np.float32]
    """(A,) largest values."""
    step: NDArray[np.float32]
    """(A,) largest change from one action to the next; infinite for none."""

    @classmethod
    def of(
        cls, interface: Interface, *, scale: float = 1.0, slew_per_s: float | None = None
    ) -> "Limits":
        """The limits for a policy.

        Args:
            interface: Whose bounds they are.
            scale: Share of each bound that may be used, 0 to 1; it shrinks towards zero where zero
                lies between the bounds, else towards their middle.
            slew_per_s: Largest change in a second, as a share of the whole range [1/s]; None for
                no limit.

        Raises:
            PolicyUsageError: A number out of range.
        """
        if not 0 < scale <= 1:
            raise PolicyUsageError(f"limit: expected a share from 0 to 1, got {scale:g}")
        if slew_per_s is not None and not slew_per_s > 0:
            raise PolicyUsageError(f"slew: expected more than 0 per second, got {slew_per_s:g}")
        low, high = (np.array(x, np.float32) for x in (interface.action_low, interface.action_high))
        rest = np.where((low <= 0) & (high >= 0), np.float32(0), (low + high) / 2)
        share = np.inf if slew_per_s is None else slew_per_s * interface.control_dt_s
        step = np.full_like(low, np.inf) if np.isinf(share) else (high - low) * np.float32(share)
        return cls(rest + scale * (low - rest), rest + scale * (high - rest), step)

    def apply(
        self, action: NDArray[np.float32], last: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """The nearest action within the limits.

        Args:
            action: (A,) what the policy says.
            last: (A,) what was sent before; None at first, when only the range counts.
        """
        low, high = self.low, self.high
        if last is not None:
            low, high = np.maximum(low, last - self.step), np.minimum(high, last + self.step)
        return np.minimum(np.maximum(action, low), high)
