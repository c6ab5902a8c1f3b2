"""Linear recurrences, h_t = a_t h_{t-1} + b_t, in parallel over time.

The composition of two steps is a step again, (a2, b2) after (a1, b1) = (a2 a1, a2 b1 + b2), and it
is associative. So pairs of steps are composed, the recurrence of half the length is solved, and the
steps between are filled in: log2(T) rounds of a few large operations instead of T small ones, at
twice the arithmetic (Blelloch, "Prefix sums and their applications", 1990). Factors are multiplied
and never divided by, so that a factor of zero, or one that vanishes over many steps, does no harm.

The derivative is a linear recurrence too, backwards in time, by the adjoint factors:
`g_t = d_t + a*_{t+1} g_{t+1}`; it is solved in the same way, and may be differentiated again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vand_robot.nn.kernel.formula import in_transform

if TYPE_CHECKING:
    from torch import Tensor

FEW_STEPS = 4
"""Steps that are done one after the other: composing them would take as many operations."""


def linear_scan(a: Tensor, b: Tensor) -> Tensor:
    """Solve h_t = a_t h_{t-1} + b_t from h_{-1} = 0; a state to start from belongs into b_0.

    Args:
        a: (T, B or 1, N) factors, real or complex; or (T, P, P, B or 1, N) matrices of P x P, one
            for each unit.
        b: (T, B, N); with matrices (T, P, B, N).

    Returns:
        The states, of b's shape.
    """
    if in_transform():  # for which the function below has no rules
        return _solve(a, b)
    states: Tensor = _LinearScan.apply(a, b)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    return states


class _LinearScan(torch.autograd.Function):
    """The recurrence as one node of the autograd graph, which keeps factors and states alone."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        states = _solve(a, b)
        ctx.save_for_backward(a, states)
        return states

    @staticmethod
    def backward(ctx: Any, d_states: Tensor) -> tuple[Tensor | None, Tensor]:
        a, states = ctx.saved_tensors
        backwards = _adjoint(a).flip(0).roll(1, 0)  # its first factor is never used
        g: Tensor = _LinearScan.apply(backwards, d_states.flip(0))  # type: ignore[no-untyped-call]  # as above
        g = g.flip(0)
        d_a = None
        if ctx.needs_input_grad[0]:
            before = torch.cat((torch.zeros_like(states[:1]), states[:-1])).conj()
            if a.dim() > states.dim():
                d_a = (g.unsqueeze(2) * before.unsqueeze(1)).sum_to_size(a.shape)
            else:
                d_a = (g * before).sum_to_size(a.shape)
        return d_a, g


def _solve(a: Tensor, b: Tensor) -> Tensor:
    """See `linear_scan`; without a derivative of its own, and without writing on anything."""
    steps = b.shape[0]
    if steps <= FEW_STEPS:
        states = [b[0]]
        for t in range(1, steps):
            states.append(_act(a[t : t + 1], states[-1].unsqueeze(0))[0] + b[t])
        return torch.stack(states)
    paired = steps // 2 * 2
    a_first, a_second = a[0:paired:2], a[1:paired:2]
    b_first, b_second = b[0:paired:2], b[1:paired:2]
    second = _solve(_compose(a_second, a_first), _act(a_second, b_first) + b_second)
    before = torch.cat((torch.zeros_like(second[:1]), second[: -1 if paired == steps else None]))
    first = _act(a[0::2], before) + b[0::2]  # one more than `second` where steps are odd
    pairs = torch.stack((first[: paired // 2], second), 1).flatten(0, 1)
    return pairs if paired == steps else torch.cat((pairs, first[-1:]))


def _compose(second: Tensor, first: Tensor) -> Tensor:
    """Multiply factors, (T, B, N) or matrices (T, P, P, B, N); the first one's acts first."""
    if first.dim() == 3:
        return second * first
    return (second.unsqueeze(3) * first.unsqueeze(1)).sum(2)


def _act(a: Tensor, state: Tensor) -> Tensor:
    """Apply factors to states, (T, B, N) or (T, P, B, N)."""
    return a * state if a.dim() == 3 else (a * state.unsqueeze(1)).sum(2)


def _adjoint(a: Tensor) -> Tensor:
    """Return the conjugate, of matrices the conjugate transpose."""
    return a.conj() if a.dim() == 3 else a.conj().transpose(1, 2)
