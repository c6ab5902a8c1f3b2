"""The one scan over time, and its hand-written backward pass.

    mu_t = f(x_t, h_{t-1}),    m_t = f(x_t, 0),
    h_t = A_t * (m_t + keep_t * (mu_t - m_t)) + B_t + C_t * h_{t-1}

An autograd graph with a node for every operation of every step spends most of its time on
bookkeeping. Here the whole sequence is one node, and kernels write into buffers made before the
loop. Time is walked in blocks short enough for the cache: what needs no recurrence (the input's
part of the pre-activations, m, the derivative's coefficients, the gradients of all weights) is done
for a block at once, as matrix products, around the loop over its steps.

What the scan takes and gives is padded, (T, B, .); what it keeps to itself is packed, block after
block, so that sequences of unequal length cost little more than their valid steps.

This is the reference, and what runs where neither of the other two does: `native_scan` in C on a
CPU, and `gpu_scan` on a GPU, both in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vand_robot.nn.kernel import gpu_scan
from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.cells import Cell, Weights
from vand_robot.nn.kernel.first_order import first_order
from vand_robot.nn.kernel.formula import HALF, Trajectory, in_transform, scan_by_formula
from vand_robot.nn.kernel.native import native_scan
from vand_robot.nn.kernel.time_blocks import padding_rows, split_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vand_robot.nn.kernel.cells import BackwardPass, Prepared, Step, StepBuffers, Transition
    from vand_robot.nn.kernel.time_blocks import TimeBlock


def scan(
    cell: Transition,
    x: Tensor,
    weights: Weights,
    initial: Tensor,
    affine: AffineMap,
    lengths: Tensor | None = None,
) -> Trajectory:
    """Run a cell through time.

    Args:
        cell: the transition.
        x: (T, B, I) inputs.
        weights: of the layer.
        initial: (B, S) the state before the first step.
        affine: the map of the state, drawn for every step; coefficients (T or 1, B, S).
        lengths: (B,) valid steps of each sequence; None for all. Padding must be finite, and the
            loss must not look at what comes out there, which is zero.

    Returns:
        The trajectory, differentiable in every tensor given, once. The states are of the type of
        x; the gap is in float32 where that is half precision.

    Raises:
        RuntimeError: in the backward pass, under `create_graph=True`.
    """
    if x.dtype in HALF:
        return _scan_in_single(cell, x, weights, initial, affine, lengths)
    transformed = in_transform()
    if not transformed and native_scan.usable(cell, x, weights, initial, affine):
        valid_steps = None if lengths is None else lengths.tolist()
        return native_scan.native_scan(cell, x, weights, initial, affine, valid_steps)
    if transformed or not isinstance(cell, Cell):
        return scan_by_formula(cell, x, weights, initial, affine, lengths)
    if gpu_scan.usable(cell, x):
        return Trajectory(*gpu_scan.gpu_scan(cell, x, weights, initial, affine, lengths))
    valid_steps = None if lengths is None else lengths.tolist()
    shape = (x.shape[0], *initial.shape)
    coefficients = (
        None if value is None else value.expand(shape)
        for value in (affine.A, affine.B, affine.C, affine.keep)
    )
    states, gap = cast(
        "tuple[Tensor, Tensor | None]",
        _Scan.apply(cell, valid_steps, x, *weights, initial, *coefficients),  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    )
    return Trajectory(states, gap)


def _scan_in_single(
    cell: Transition,
    x: Tensor,
    weights: Weights,
    initial: Tensor,
    affine: AffineMap,
    lengths: Tensor | None,
) -> Trajectory:
    """See `scan`: half precision at both ends, float32 between them.

    Hundreds of rounded steps, their gradients summed, would leave few digits of 8 to 11 bits.
    """
    ih, hh, *biases = weights
    given = (affine.A, affine.B, affine.C, affine.keep)
    states, gap, output = scan(
        cell,
        x.float(),
        Weights(ih.float(), hh.float(), *(_as_type(bias, torch.float32) for bias in biases)),
        initial.float(),
        AffineMap(*(_as_type(value, torch.float32) for value in given)),
        lengths,
    )
    output = None if output is None else output.to(x.dtype)
    return Trajectory(states.to(x.dtype), gap, output)  # gap: its squares are summed, in float32


def _as_type(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if value is None else value.to(dtype)


class _Scan(torch.autograd.Function):
    """All steps as one node of the autograd graph."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        lengths: Sequence[int] | None,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        initial: Tensor,
        A: Tensor | None,
        B: Tensor | None,
        C: Tensor | None,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.set_materialize_grads(False)
        steps, batch, _ = x.shape
        blocks = split_time(steps, batch, lengths)
        hidden = weight_hh.shape[1]
        mapped = any(value is not None for value in (A, B, C, keep))
        rows = blocks[-1].packed.stop
        blank = initial.new_empty if rows == steps * batch else initial.new_zeros
        path = blank((steps + 1, *initial.shape))  # (T + 1, B, S) from h_0 on
        path[0] = initial
        states = path[1:]
        mu = blank(states.shape) if ctx.needs_input_grad[8] else None  # (T, B, S) for d_A
        buffers = cell.make_buffers(x.new_empty((rows, weight_hh.shape[0])))  # packed
        gap = None if keep is None else blank(states.shape)  # (T, B, S) mu - m
        memoryless = () if keep is None else cell.make_buffers(torch.empty_like(buffers[0]))
        prepared = cell.prepare(Weights(weight_ih, weight_hh, bias_ih, bias_hh))

        for block in blocks:
            now = block.padded
            packed = block.of_packed(buffers)
            before, after = path[:-1][now], states[now]
            answer = _at(mu, now)
            if answer is None:
                answer = torch.empty_like(after) if mapped else after
            _project(x[now], prepared, out=packed[0])
            m = None
            if gap is not None:
                m = _answer_memoryless(cell, block.of_packed(memoryless), packed[0], prepared.inner)
            cell.begin(packed, prepared.inner)
            activate = cell.activate(packed, before, answer)
            apply_map = _map_steps(
                [_at(value, now) for value in (A, B, C, keep)], before, answer, m, after
            )
            hidden_t = before[..., :hidden].unbind(0)
            for t, pre in enumerate(packed[0].unbind(0)):
                pre.addmm_(hidden_t[t], prepared.to_recurrent)
                activate(t)
                if apply_map is not None:
                    apply_map(t)
            if gap is not None and m is not None:
                torch.sub(answer, m, out=gap[now])

        if lengths:
            _forget_padding(blocks, lengths, padded=(states, mu, gap), packed=buffers)
        ctx.cell, ctx.blocks = cell, blocks
        ctx.buffers = len(buffers)
        ctx.has_bias = bias_ih is not None
        ctx.save_for_backward(
            x, weight_ih, weight_hh, A, C, keep, path, mu, gap, *buffers, *memoryless
        )
        return states, gap

    @staticmethod
    @first_order
    def backward(ctx: Any, d_states: Tensor | None, d_gap: Tensor | None) -> tuple[Any, ...]:
        x, weight_ih, weight_hh, A, C, keep, path, mu, gap, *saved = ctx.saved_tensors
        cell: Cell = ctx.cell
        blocks: Sequence[TimeBlock] = ctx.blocks
        buffers, memoryless = saved[: ctx.buffers], saved[ctx.buffers :]
        states = path[1:]
        steps, batch, _ = states.shape
        hidden = weight_hh.shape[1]
        needs_x, needs_A, needs_B, needs_C, needs_keep = (
            ctx.needs_input_grad[index] for index in (2, 8, 9, 10, 11)
        )
        G = torch.empty_like(path)  # (T + 1, B, S) gradient of every state, the future included
        G[0] = 0
        G[1:] = 0 if d_states is None else d_states
        rows = blocks[-1].packed.stop
        blank = x.new_empty if rows == steps * batch else x.new_zeros
        d_x = blank(x.shape) if needs_x else None
        d_A, d_C, d_keep = (
            blank(states.shape) if needed else None for needed in (needs_A, needs_C, needs_keep)
        )
        d_weight_ih, d_weight_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias_ih, d_bias_hh = d_weight_ih.new_zeros((2, weight_hh.shape[0]))

        for block in reversed(blocks):
            now = block.padded
            g, before, d_before = G[1:][now], path[:-1][now], G[:-1][now]
            through = _product(_at(A, now), _at(keep, now))  # (t, B, S) d h / d mu
            direct = _at(d_gap, now)
            d_mu = g if through is None and direct is None else torch.empty_like(g)
            derivative = cell.backward(block.of_packed(buffers), before, d_mu, d_before)
            apply_map_backward = _map_backward_steps(
                through, direct, _at(C, now), g, d_mu, d_before
            )
            d_hidden_t, d_pre_t = d_before[..., :hidden].unbind(0), derivative.d_pre.unbind(0)
            for t in range(len(d_pre_t) - 1, -1, -1):
                if apply_map_backward is not None:
                    apply_map_backward(t)
                derivative.step(t)
                d_hidden_t[t].addmm_(d_pre_t[t], weight_hh)

            d_weight_hh.addmm_(_rows(derivative.d_pre).t(), _rows(before[..., :hidden]))
            d_bias_hh += derivative.d_pre.sum((0, 1))
            d_gates = derivative.d_gates()
            if d_C is not None:
                torch.mul(g, before, out=d_C[now])
            if keep is not None and gap is not None:
                d_mixed = g if A is None else g * A[now]
                if d_keep is not None:
                    torch.mul(d_mixed, gap[now], out=d_keep[now])
                d_m = (1 - keep[now]).mul_(d_mixed)
                if d_gap is not None:
                    d_m -= d_gap[now]
                derivative = _backward_memoryless(cell, block.of_packed(memoryless), d_m)
                d_bias_hh += derivative.d_pre.sum((0, 1))
                _as_one_step(d_gates).add_(derivative.d_gates())
            if d_A is not None and mu is not None:
                _mixed(mu[now], _at(gap, now), _at(keep, now), out=d_A[now]).mul_(g)
            d_weight_ih.addmm_(_rows(d_gates).t(), _rows(x[now]))
            d_bias_ih += d_gates.sum((0, 1))
            if d_x is not None:
                d_x[now] = _to_inputs(d_gates, weight_ih)

        return (
            None,
            None,
            d_x,
            d_weight_ih,
            d_weight_hh,
            d_bias_ih if ctx.has_bias else None,
            d_bias_hh if ctx.has_bias else None,
            G[0],
            d_A,
            G[1:] if needs_B else None,
            d_C,
            d_keep,
        )


def _at(value: Tensor | None, now: tuple[slice, slice]) -> Tensor | None:
    return None if value is None else value[now]


def _rows(value: Tensor) -> Tensor:
    """View (t, B, .) as (t B, .)."""
    return value.flatten(0, 1)


def _as_one_step(value: Tensor) -> Tensor:
    """View (t, B, .) as (1, t B, .): steps that do not depend on each other are one step."""
    return value.view(1, value.shape[0] * value.shape[1], value.shape[2])


def _forget_padding(
    blocks: Sequence[TimeBlock],
    lengths: Sequence[int],
    padded: Sequence[Tensor | None],
    packed: Sequence[Tensor],
) -> None:
    """Zero what was computed past the sequences' ends, padded (T, B, .) and packed (R, .).

    A state that runs on past its end may overflow there. Its gradient is zero, but zero times
    infinity is not, and the gradient of the weights would sum it.
    """
    in_padded, in_packed = (
        torch.tensor(rows, device=packed[0].device) for rows in padding_rows(blocks, lengths)
    )
    if not in_packed.numel():
        return
    for buffer in padded:
        if buffer is not None:
            _rows(buffer).index_fill_(0, in_padded, 0)
    for buffer in packed:
        buffer.index_fill_(0, in_packed, 0)


def _project(x: Tensor, prepared: Prepared, out: Tensor) -> None:
    """Write the input's part of the pre-activations: x (t, B, I), out (t, B, G)."""
    if prepared.bias is None:
        torch.mm(_rows(x), prepared.to_gates, out=_rows(out))
    else:
        torch.addmm(prepared.bias, _rows(x), prepared.to_gates, out=_rows(out))


def _to_inputs(d_gates: Tensor, weight_ih: Tensor) -> Tensor:
    """Return the gradient of the input's part, (t, B, G), as that of the input, (t, B, I)."""
    d_x = d_gates.new_empty((*d_gates.shape[:2], weight_ih.shape[1]))
    # Into a buffer, so that an autocast around backward() has no say in its type.
    torch.mm(_rows(d_gates), weight_ih, out=_rows(d_x))
    return d_x


def _answer_memoryless(
    cell: Cell, buffers: StepBuffers, gates: Tensor, inner: Tensor | None
) -> Tensor:
    """Return m = f(x, 0) of a block, (t, B, S), by the cell's own step from a zero state."""
    steps, batch, width = gates.shape
    m = gates.new_empty((steps, batch, width // cell.gates * cell.parts))
    flat = [_as_one_step(buffer) for buffer in buffers]
    flat[0].copy_(_as_one_step(gates))
    cell.begin(flat, inner)
    cell.activate(flat, m.new_zeros((1, 1, m.shape[-1])), _as_one_step(m))(0)
    return m


def _backward_memoryless(cell: Cell, buffers: StepBuffers, d_m: Tensor) -> BackwardPass:
    """Take the derivative of m, (t, B, S); its gradients come as one step."""
    flat = [_as_one_step(buffer) for buffer in buffers]
    before = d_m.new_zeros((1, 1, d_m.shape[-1]))
    derivative = cell.backward(flat, before, _as_one_step(d_m), None)
    derivative.step(0)
    return derivative


def _product(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Multiply, where None stands for 1."""
    return (b if a is None else a) if a is None or b is None else a * b


def _mixed(mu: Tensor, gap: Tensor | None, keep: Tensor | None, out: Tensor) -> Tensor:
    """Write m + keep (mu - m), (t, B, S), with gap = mu - m."""
    if gap is None or keep is None:
        return out.copy_(mu)
    return torch.addcmul(mu, keep - 1, gap, out=out)


def _map_steps(
    coefficients: Sequence[Tensor | None],
    before: Tensor,
    mu: Tensor,
    m: Tensor | None,
    after: Tensor,
) -> Step | None:
    """Prepare the map's steps: after = A (m + keep (mu - m)) + B + C before, (t, B, S) each."""
    A_t, B_t, C_t, keep_t = (None if c is None else c.unbind(0) for c in coefficients)
    before_t, mu_t, after_t = before.unbind(0), mu.unbind(0), after.unbind(0)
    m_t = None if m is None else m.unbind(0)
    if A_t is None and B_t is None and C_t is None and keep_t is None:
        return None

    def step(t: int) -> None:
        state, value = after_t[t], mu_t[t]
        if keep_t is not None and m_t is not None:
            value = torch.lerp(m_t[t], value, keep_t[t], out=state)
        if A_t is not None and B_t is not None:
            torch.addcmul(B_t[t], A_t[t], value, out=state)
        elif A_t is not None:
            torch.mul(A_t[t], value, out=state)
        elif B_t is not None:
            torch.add(B_t[t], value, out=state)
        elif value is not state:
            state.copy_(value)
        if C_t is not None:
            state.addcmul_(C_t[t], before_t[t])

    return step


def _map_backward_steps(
    through: Tensor | None,
    direct: Tensor | None,
    C: Tensor | None,
    g: Tensor,
    d_mu: Tensor,
    d_before: Tensor,
) -> Step | None:
    """Prepare the derivative of the map's steps: d_mu = through g + direct, d_before += C g."""
    through_t, direct_t, C_t = (None if c is None else c.unbind(0) for c in (through, direct, C))
    g_t, d_mu_t, d_before_t = g.unbind(0), d_mu.unbind(0), d_before.unbind(0)
    if through_t is None and direct_t is None and C_t is None:
        return None

    def step(t: int) -> None:
        if through_t is not None and direct_t is not None:
            torch.addcmul(direct_t[t], through_t[t], g_t[t], out=d_mu_t[t])
        elif through_t is not None:
            torch.mul(through_t[t], g_t[t], out=d_mu_t[t])
        elif direct_t is not None:
            torch.add(g_t[t], direct_t[t], out=d_mu_t[t])
        if C_t is not None:
            d_before_t[t].addcmul_(C_t[t], g_t[t])

    return step
