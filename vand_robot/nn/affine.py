"""The affine map of the state that every regulariser reduces to.

    h_t = A_t * mu_t + B_t + C_t * h_{t-1}        (elementwise)

`mu_t = f(x_t, h_{t-1})` is the cell's own answer. A, B and C are drawn for all steps before the
scan over time, so the scan knows nothing of regularisers and a regulariser nothing of scans.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AffineMap:
    """Coefficients of one map for every step. An absent one costs nothing in the scan."""

    A: Tensor | None = None
    """(T or 1, B, S) factor of the cell's answer; None stands for 1."""

    B: Tensor | None = None
    """(T or 1, B, S) what is added; None stands for 0."""

    C: Tensor | None = None
    """(T or 1, B, S) factor of the previous state; None stands for 0."""

    @property
    def is_identity(self) -> bool:
        """Whether the state is the cell's answer, untouched."""
        return self.A is None and self.B is None and self.C is None

    def __call__(self, mu: Tensor, previous: Tensor) -> Tensor:
        """Map all steps at once.

        Args:
            mu: (T, B, S) the cell's answers.
            previous: (T, B, S) the states they were computed from.

        Returns:
            (T, B, S) the states.
        """
        state = mu if self.A is None else self.A * mu
        if self.B is not None:
            state = state + self.B
        if self.C is not None:
            state = state + self.C * previous
        return state

    def then(self, after: AffineMap) -> AffineMap:
        """Compose: this map first, `after` on its result.

        `A2 (A1 mu + B1 + C1 h) + B2 + C2 h = A2 A1 mu + (A2 B1 + B2) + (A2 C1 + C2) h`.
        """
        return AffineMap(
            A=_times(after.A, self.A),
            B=_plus(_scaled(after.A, self.B), after.B),
            C=_plus(_scaled(after.A, self.C), after.C),
        )

    def widened(self, size: int) -> AffineMap:
        """Extend a map of the first units to `size` units; the new ones are left untouched."""

        def pad(value: Tensor | None, neutral: float) -> Tensor | None:
            if value is None or value.shape[-1] == size:
                return value
            missing = size - value.shape[-1]
            return torch.nn.functional.pad(value, (0, missing), value=neutral)

        return AffineMap(A=pad(self.A, 1.0), B=pad(self.B, 0.0), C=pad(self.C, 0.0))


def _times(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Multiply, where None stands for 1."""
    if a is None or b is None:
        return b if a is None else a
    return a * b


def _scaled(factor: Tensor | None, term: Tensor | None) -> Tensor | None:
    """Scale a term (None: 0) by a factor (None: 1)."""
    return term if term is None or factor is None else factor * term


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Add, where None stands for 0."""
    if a is None or b is None:
        return b if a is None else a
    return a + b
