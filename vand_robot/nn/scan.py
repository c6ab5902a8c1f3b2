"""The one scan over time, and its hand-written backward pass.

    mu_t = f(x_t, h_{t-1}),    h_t = A_t * mu_t + B_t + C_t * h_{t-1}

An autograd graph with a node for every operation of every step spends most of its time on
bookkeeping. Here the whole sequence is one node: buffers are made before the loop, kernels write
into them, and the gradients of all weights are one matrix product after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from vand_robot.nn.affine import AffineMap
    from vand_robot.nn.cells import Cell


def scan(
    cell: Cell,
    gates: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor,
    *,
    affine: AffineMap,
) -> tuple[Tensor, Tensor]:
    """Run a cell through time.

    Args:
        cell: the transition.
        gates: (T, B, G) the input's part of the pre-activations, contiguous.
        weight: (G, H) recurrent weights.
        bias: (G,) the recurrent product's bias, or None.
        initial: (B, S) the state before the first step.
        affine: the map of the state, drawn for every step; coefficients (T or 1, B, S).

    Returns:
        (T, B, S) states and (T, B, S) the cell's answers mu. Both are differentiable in every
        tensor argument and in the map's coefficients.
    """
    shape = (gates.shape[0], *initial.shape)
    A, B, C = (
        None if value is None else value.expand(shape) for value in (affine.A, affine.B, affine.C)
    )
    states, mu = cast(
        "tuple[Tensor, Tensor | None]",
        _Scan.apply(cell, gates, weight, bias, initial, A, B, C),  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    )
    return states, states if mu is None else mu


class _Scan(torch.autograd.Function):
    """All steps as one node of the autograd graph."""

    @staticmethod
    def forward(  # noqa: PLR0917  (apply takes no keywords)
        ctx: Any,
        cell: Cell,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        initial: Tensor,
        A: Tensor | None,
        B: Tensor | None,
        C: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        steps = gates.shape[0]
        states = initial.new_empty((steps, *initial.shape))  # (T, B, S)
        plain = A is None and B is None and C is None
        mu = states if plain else torch.empty_like(states)  # (T, B, S)
        weight_t = weight.t().contiguous()  # (H, G) made once, not once per step
        advance, trace = cell.forward(gates, weight_t, bias)

        states_t, mu_t = states.unbind(0), mu.unbind(0)
        A_t, B_t, C_t = (None if value is None else value.unbind(0) for value in (A, B, C))
        previous = initial
        for t in range(steps):
            state = states_t[t]
            advance(t, previous, mu_t[t])
            if A_t is not None and B_t is not None:
                torch.addcmul(B_t[t], A_t[t], mu_t[t], out=state)
            elif A_t is not None:
                torch.mul(A_t[t], mu_t[t], out=state)
            elif B_t is not None:
                torch.add(B_t[t], mu_t[t], out=state)
            if C_t is not None:
                if A_t is None and B_t is None:
                    state.copy_(mu_t[t])
                state.addcmul_(C_t[t], previous)
            previous = state

        ctx.cell, ctx.has_bias = cell, bias is not None
        ctx.save_for_backward(weight, initial, states, None if plain else mu, A, C, *trace)
        return states, None if plain else mu

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_states: Tensor | None, d_mu: Tensor | None) -> tuple[Any, ...]:
        weight, initial, states, mu, A, C, *trace = ctx.saved_tensors
        cell: Cell = ctx.cell
        mu = states if mu is None else mu
        hidden = weight.shape[1]
        steps = states.shape[0]
        # (T, B, S): first the gradient that comes from outside, then that of the whole future
        G = (
            torch.zeros_like(states)
            if d_states is None
            else d_states.clone(memory_format=torch.contiguous_format)
        )
        d_initial = torch.zeros_like(initial)  # (B, S)
        direct = A is None and d_mu is None
        D = G if direct else torch.empty_like(G)  # (T, B, S) gradient of mu
        retreat, finish = cell.backward(tuple(trace), mu, weight)

        G_t, D_t = G.unbind(0), D.unbind(0)
        A_t = None if A is None else A.unbind(0)
        C_t = None if C is None else C.unbind(0)
        extra_t = None if d_mu is None else d_mu.unbind(0)
        for t in range(steps - 1, -1, -1):
            g, d, d_previous = G_t[t], D_t[t], G_t[t - 1] if t else d_initial
            if A_t is not None and extra_t is not None:
                torch.addcmul(extra_t[t], A_t[t], g, out=d)
            elif A_t is not None:
                torch.mul(A_t[t], g, out=d)
            elif extra_t is not None:
                torch.add(g, extra_t[t], out=d)
            if C_t is not None:
                d_previous.addcmul_(C_t[t], g)
            retreat(t, d, d_previous)

        needs = ctx.needs_input_grad
        d_gates, d_recurrent = finish(D)
        d_weight = d_recurrent[0].t() @ initial[:, :hidden]  # (G, H)
        if steps > 1:
            before = states[:-1, :, :hidden].flatten(0, 1)  # ((T-1) B, H)
            d_weight.addmm_(d_recurrent[1:].flatten(0, 1).t(), before)
        d_A = G * mu if needs[5] else None
        d_C = G * torch.cat((initial[None], states[:-1])) if needs[7] else None
        return (
            None,
            d_gates,
            d_weight,
            d_recurrent.sum((0, 1)) if ctx.has_bias else None,
            d_initial,
            d_A,
            G if needs[6] else None,
            d_C,
        )
