"""The scan by the readable formula: step by step under autograd, without hand-written passes.

Slower than `scan`, by the bookkeeping of autograd for every operation of every step. It is used
where the hand-written passes cannot be: for cells that have none, inside `torch.func`'s transforms
and forward-mode differentiation, and in `torch.export`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import linear

from vand_robot.nn.kernel.affine import AffineMap

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.kernel.cells import Transition, Weights


HALF = (torch.float16, torch.bfloat16)
"""Types whose scan, draws and sums are done in float32."""


class Trajectory(NamedTuple):
    """States of a scan; differentiable."""

    states: Tensor
    """(T, B, S) states after each step."""

    gap: Tensor | None
    """(T, B, S) mu - m, what memory adds to the answer; None unless the map drops memory."""

    output: Tensor | None = None
    """(T, B, H) the hidden part of the states by itself, zero and without gradient at padding;
    None where the scan does not make it."""


def in_transform() -> bool:
    """Tell whether a transform of `torch.func`, forward mode or `torch.export` is at work."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # not in the oldest torch allowed
    return (
        torch._C._functorch.maybe_current_level() is not None  # noqa: SLF001  (no public name)
        or torch.autograd.forward_ad._current_level >= 0  # noqa: SLF001  (as above)
        or (exporting is not None and bool(exporting()))
    )


def scan_by_formula(
    cell: Transition,
    x: Tensor,
    weights: Weights,
    initial: Tensor,
    affine: AffineMap,
    lengths: Tensor | None = None,
) -> Trajectory:
    """Run a cell through time; arguments and result are those of `scan`.

    Args:
        cell: the transition; its formula is all that is needed.
        x: (T, B, I) inputs.
        weights: of the layer.
        initial: (B, S) the state before the first step.
        affine: the map of the state; coefficients (T or 1, B, S).
        lengths: (B,) valid steps of each sequence; None for all.

    Returns:
        The trajectory, zero past the ends of the sequences.
    """
    hidden = weights.hh.shape[1]
    gates = linear(x, weights.ih, weights.bias_ih)  # (T, B, G)
    coefficients = (affine.A, affine.B, affine.C, affine.keep)
    nothing = torch.zeros_like(initial)
    state = initial
    states, gaps = [], []
    for t in range(x.shape[0]):
        recurrent = linear(state[..., :hidden], weights.hh, weights.bias_hh)
        mu = cell.transition(gates[t], recurrent, state)
        m = None
        if affine.keep is not None:
            alone = linear(nothing[..., :hidden], weights.hh, weights.bias_hh)
            m = cell.transition(gates[t], alone, nothing)
            gaps.append(mu - m)
        present = (None if c is None else c[t if c.shape[0] > 1 else 0] for c in coefficients)
        state = AffineMap(*present)(mu, state, m)
        if lengths is not None:
            state = torch.where((t < lengths).unsqueeze(-1), state, nothing)
        states.append(state)
    gap = torch.stack(gaps) if gaps else None
    if gap is not None and lengths is not None:
        valid = torch.arange(x.shape[0], device=x.device).unsqueeze(1) < lengths
        gap = torch.where(valid.unsqueeze(-1), gap, torch.zeros_like(gap))
    return Trajectory(torch.stack(states), gap)
