"""The affine map of the state that every regularizer reduces to.

    h_t = A_t * mu_t + B_t + C_t * h_{t-1}        (elementwise)

`mu_t = f(x_t, h_{t-1})` is the cell's own answer. The coefficients are drawn for all steps before
the scan over time, so the scan knows nothing of regularizers and a regularizer nothing of scans.

A regularizer that drops memory answers with `m_t = f(x_t, 0)` instead of `mu_t`. It could draw
that as a part of B. Here it draws the mask, `keep`, and the scan puts `m_t + keep_t (mu_t - m_t)`
in the place of `mu_t`: so a draw needs no data, and the scan makes m while its inputs are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch.nn.functional import pad

if TYPE_CHECKING:
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

    keep: Tensor | None = None
    """(T or 1, B, S) share of the answer with memory, the rest without; None stands for 1."""

    @property
    def is_identity(self) -> bool:
        """Whether the state is the cell's answer, untouched."""
        return self.A is None and self.B is None and self.C is None and self.keep is None

    def __call__(self, mu: Tensor, previous: Tensor, m: Tensor | None = None) -> Tensor:
        """Map all steps at once.

        Args:
            mu: (T, B, S) the cell's answers.
            previous: (T, B, S) the states they were computed from.
            m: (T, B, S) the answers without memory; needed if `keep` is there.

        Returns:
            (T, B, S) the states.

        Raises:
            ValueError: if `keep` is there and m is not.
        """
        if self.keep is not None:
            if m is None:
                raise ValueError("a map that drops memory needs the memoryless response m")
            mu = m + self.keep * (mu - m)
        state = mu if self.A is None else self.A * mu
        if self.B is not None:
            state = state + self.B
        if self.C is not None:
            state = state + self.C * previous
        return state

    def then(self, after: AffineMap) -> AffineMap:
        """Compose: this map first, `after` on its result.

        `A2 (A1 mu + B1 + C1 h) + B2 + C2 h = A2 A1 mu + (A2 B1 + B2) + (A2 C1 + C2) h`.

        Raises:
            ValueError: if `after` drops memory: only the first of a chain can, for later ones
                there is no response without memory.
        """
        if after.keep is not None:
            raise ValueError("only the first map of a chain may drop memory")
        return AffineMap(
            A=_times(after.A, self.A),
            B=_plus(_scaled(after.A, self.B), after.B),
            C=_plus(_scaled(after.A, self.C), after.C),
            keep=self.keep,
        )

    def widened(self, size: int) -> AffineMap:
        """Extend a map of the first units to `size` units; the new ones are left untouched."""

        def fill(value: Tensor | None, neutral: float) -> Tensor | None:
            if value is None:
                return None
            return pad(value, (0, size - value.shape[-1]), value=neutral)

        return replace(
            self,
            A=fill(self.A, 1.0),
            B=fill(self.B, 0.0),
            C=fill(self.C, 0.0),
            keep=fill(self.keep, 1.0),
        )


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


IDENTITY = AffineMap()
"""The map that leaves the cell's answer alone."""
