"""The scan over time in C: the same function as `scan`, in one call for each pass.

The C code keeps a step's products, gates and map in the cache, and one thread's part of the batch
from the first step to the last (`scan.c`).
"""

from __future__ import annotations

import ctypes
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell
from vand_robot.nn.kernel.first_order import first_order
from vand_robot.nn.kernel.formula import Trajectory
from vand_robot.nn.kernel.native.library import Arguments, library
from vand_robot.nn.kernel.time_blocks import running_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vand_robot.nn.kernel.affine import AffineMap
    from vand_robot.nn.kernel.cells import Transition, Weights

ELMAN = {"tanh": 0, "relu": 1, "sigmoid": 2}
GRU, LSTM = 3, 4
"""Numbers of the cells in cells.h."""

KEPT = {GRU: 4, LSTM: 4}
"""Numbers per unit that a step keeps for the backward pass; of an Elman network 1."""


def usable(
    cell: Transition, x: Tensor, weights: Weights, initial: Tensor, affine: AffineMap
) -> bool:
    """Tell whether a scan can run here; what does not fit is left to the other, which says why.

    Args:
        cell: the transition.
        x: (T, B, I) inputs.
        weights: of the layer.
        initial: (B, S) the state before the first step.
        affine: the map of the state.

    Returns:
        Whether the library is there and knows the cell, and all is float32, on the CPU, not empty
        and of the right shapes.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or _number(cell) is None or not x.numel():
        return False
    given = (initial, *weights, affine.A, affine.B, affine.C, affine.keep)
    if any(v is not None and (v.dtype != x.dtype or v.device != x.device) for v in given):
        return False
    units = weights.hh.shape[1]
    width, size = cell.gates * units, cell.parts * units
    fits = (
        units > 0
        and weights.hh.shape == (width, units)
        and weights.ih.shape == (width, x.shape[2])
        and all(bias is None or bias.shape == (width,) for bias in weights[2:])
        and initial.shape == (x.shape[1], size)
    )
    return fits and library() is not None


def native_scan(
    cell: Transition,
    x: Tensor,
    weights: Weights,
    initial: Tensor,
    affine: AffineMap,
    lengths: Sequence[int] | None = None,
) -> Trajectory:
    """Run a cell through time; see `scan`.

    Args:
        cell: the transition.
        x: (T, B, I) inputs, float32.
        weights: of the layer.
        initial: (B, S) the state before the first step.
        affine: the map of the state; coefficients (T or 1, B, S).
        lengths: the valid steps of each sequence; None for all.

    Returns:
        The trajectory, its output by itself.
    """
    coefficients = (affine.A, affine.B, affine.C, affine.keep)
    shape = (x.shape[0], *initial.shape)
    found = cast(
        "tuple[Tensor, Tensor | None, Tensor]",
        _NativeScan.apply(  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
            _number(cell),
            lengths,
            x,
            *weights,
            initial,
            *(None if value is None else value.expand(shape) for value in coefficients),
        ),
    )
    return Trajectory(*found)


def _number(cell: Transition) -> int | None:
    """Return the number of a cell in cells.h; None for others, subclasses among them."""
    if type(cell) is ElmanCell:
        return ELMAN[cell.nonlinearity]
    return {GRUCell: GRU, LSTMCell: LSTM}.get(type(cell))


class _Padding:
    """The lengths of sequences, laid out for C; kept by the autograd node."""

    def __init__(self, lengths: Sequence[int], steps: int) -> None:
        counts = running_sequences(lengths)[:steps]
        counts += [0] * (steps - len(counts))
        offsets = list(accumulate(counts, initial=0))
        self.rows = offsets.pop()
        self.lengths, self.counts, self.offsets = (
            (ctypes.c_int64 * len(values))(*values) for values in (lengths, counts, offsets)
        )

    def addresses(self) -> dict[str, int]:
        """Name of an argument -> where it lies."""
        names = ("lengths", "counts", "offsets")
        return {name: ctypes.addressof(getattr(self, name)) for name in names}


class _NativeScan(torch.autograd.Function):
    """All steps as one node of the autograd graph."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: int,
        lengths: Sequence[int] | None,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        initial: Tensor,
        *coefficients: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        ctx.set_materialize_grads(False)
        steps, batch, _ = x.shape
        width, hidden = weight_hh.shape
        padding = None if lengths is None else _Padding(lengths, steps)
        rows = steps * batch if padding is None else padding.rows
        blank = x.new_empty if rows == steps * batch else x.new_zeros
        keeps = coefficients[3] is not None
        shape = (steps, *initial.shape)
        path = blank((steps + 1, *initial.shape))
        path[0] = initial
        gap = blank(shape) if keeps else None
        mu = blank(shape) if ctx.needs_input_grad[8] else None
        output = blank((steps, batch, hidden))
        acts = x.new_empty((rows, KEPT.get(cell, 1) * hidden))
        by_gap = cell in {ELMAN["tanh"], ELMAN["sigmoid"]}
        gates = x.new_empty((rows, width)) if keeps and not by_gap else None
        ctx.cell, ctx.padding = cell, padding
        ctx.strides = [
            0 if c is None or c.stride(0) == 0 else c.shape[1] * c.shape[2] for c in coefficients
        ]
        given = [_dense(value) for value in (x, weight_ih, weight_hh, bias_ih, bias_hh)]
        maps = [
            None if c is None else _dense(c[:1] if not s else c)
            for c, s in zip(coefficients, ctx.strides, strict=True)
        ]
        saved = (*given, *maps, path, acts, gates, gap, mu)
        _call("forward", ctx, saved, output=output)
        ctx.save_for_backward(*saved)
        return path[1:], gap, output

    @staticmethod
    @first_order
    def backward(
        ctx: Any, d_states: Tensor | None, d_gap: Tensor | None, d_output: Tensor | None
    ) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        x, weight_ih, weight_hh, bias, *_ = saved
        path = saved[9]
        needs_x, needs_A, needs_B, needs_C, needs_keep = (
            ctx.needs_input_grad[index] for index in (2, 8, 9, 10, 11)
        )
        blank = x.new_empty if ctx.padding is None else x.new_zeros
        d_path = torch.empty_like(path)
        fresh = d_states is None and ctx.padding is None
        if not fresh:
            d_path[0] = 0
            d_path[1:] = 0 if d_states is None else d_states
        d_x = blank(x.shape) if needs_x else None
        d_A, d_C, d_keep = (
            blank(path[1:].shape) if needed else None for needed in (needs_A, needs_C, needs_keep)
        )
        d_weight_ih, d_weight_hh = torch.empty_like(weight_ih), torch.empty_like(weight_hh)
        d_bias_ih, d_bias_hh = x.new_empty((2, weight_hh.shape[0]))
        gradients = {
            "d_path": d_path,
            "d_output": _dense(d_output),
            "d_gap": _dense(d_gap),
            "d_x": d_x,
            "d_A": d_A,
            "d_C": d_C,
            "d_keep": d_keep,
            "d_weight_ih": d_weight_ih,
            "d_weight_hh": d_weight_hh,
            "d_bias_ih": d_bias_ih,
            "d_bias_hh": d_bias_hh,
        }
        _call("backward", ctx, saved, fresh, **gradients)
        return (
            None,
            None,
            d_x,
            d_weight_ih,
            d_weight_hh,
            None if bias is None else d_bias_ih,
            None if bias is None else d_bias_hh,
            d_path[0],
            d_A,
            d_path[1:] if needs_B else None,
            d_C,
            d_keep,
        )


SAVED = (
    *("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "A", "B", "C", "keep"),
    *("path", "acts", "gates", "gap", "mu"),
)
"""Names of what the forward pass saves, in order."""


def _dense(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.contiguous()


def _call(
    name: str,
    ctx: Any,
    saved: Sequence[Tensor | None],
    fresh: bool = False,
    **more: Tensor | None,
) -> None:
    """Call "forward" or "backward" of the library.

    Raises:
        MemoryError: if there is no memory for what it works on.
    """
    x, weight_hh = saved[0], saved[2]
    functions = library()
    assert x is not None  # noqa: S101  (as the next two: `usable` saw to it)
    assert weight_hh is not None  # noqa: S101
    assert functions is not None  # noqa: S101
    tensors = {**dict(zip(SAVED, saved, strict=True)), **more}
    arguments = Arguments(
        ctx.cell,
        *x.shape,
        weight_hh.shape[1],
        torch.get_num_threads(),
        fresh,
        *ctx.strides,
        **{name: value.data_ptr() for name, value in tensors.items() if value is not None},
        **({} if ctx.padding is None else ctx.padding.addresses()),
    )
    if not getattr(functions, name)(ctypes.byref(arguments)):
        raise MemoryError("no memory for the scan of a recurrent layer")
