"""The scan over time on a GPU: the same function as `scan`, in a few launches instead of thousands.

Matrix products over all steps (the input's part of the pre-activations, the gradients of weights
and inputs) are cuBLAS's. The recurrence is one Triton kernel for the forward and one for the
backward pass, with or without a map of the state; see `gpu_tiles`. Without one, cuDNN's kernels
would do for the Elman network and the GRU (of an LSTM's cell they return the last state alone). But
they are two launches for every step, and on an H100 slower, except for an Elman network of up to a
few hundred units.

Products are rounded as cuDNN's recurrent kernels round theirs: to TF32 where
`torch.backends.cudnn.allow_tf32` is set, as it is by default, and in three TF32 products, close to
float32, where it is not. `torch.backends.cuda.matmul.allow_tf32` has no say.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from warnings import warn

import torch
from torch import Tensor

from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell
from vand_robot.nn.kernel.first_order import first_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vand_robot.nn.kernel.affine import AffineMap
    from vand_robot.nn.kernel.cells import Cell, Transition, Weights

COUNTER_STRIDE = 32
"""Counters per tile of the batch, of which one is used: each gets a cache line of its own."""

MIN_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs with TF32."""


class Tiling(NamedTuple):
    """How the state (B, H) is cut into tiles, one per program of the kernels."""

    rows: int
    """Sequences of a tile."""

    units: int
    """Units of a tile."""

    depth: int
    """Terms of a matrix product that are loaded at once."""

    stages: int
    """Loads that are in flight, in a pipeline."""

    warps: int
    """Warps of a program."""

    one_launch: bool
    """Whether one launch does all steps. Its programs wait for each other, so all must be resident
    on the GPU; otherwise every step is a launch."""

    def grid(self, batch: int, hidden: int) -> tuple[int, int]:
        """Number of tiles along the batch and along the units."""
        return -(-batch // self.rows), -(-hidden // self.units)


_LARGE = (
    Tiling(32, 16, 64, 3, 4, one_launch=True),
    Tiling(64, 16, 64, 3, 8, one_launch=True),
    Tiling(128, 16, 64, 2, 8, one_launch=True),
)
FORWARD = (
    Tiling(16, 8, 128, 2, 4, one_launch=True),
    Tiling(16, 16, 64, 4, 4, one_launch=True),
    *_LARGE,
)
BACKWARD = (Tiling(16, 16, 64, 4, 4, one_launch=True), *_LARGE)
"""Tilings to choose from, smallest first: the fastest of some, on an H100. None needs more than the
96 KiB of shared memory that every GPU since compute capability 8.0 has."""

STEPWISE = Tiling(64, 32, 64, 2, 8, one_launch=False)
"""For states too large for all tiles to be on the GPU at once."""


def usable(cell: Transition, x: Tensor) -> bool:
    """Tell whether a scan over x can run here.

    Args:
        cell: the transition.
        x: (T, B, I) inputs.

    Returns:
        Whether the kernels know the cell, x is float32 and not empty, and `missing` finds nothing
        missing on its device.
    """
    return (
        x.is_cuda
        and x.dtype == torch.float32
        and x.shape[1] > 0
        and _name(cell) is not None
        and _works(x.device)
    )


def missing(device: torch.device) -> str | None:
    """Tell what a CUDA device lacks for this scan; None where it lacks nothing."""
    if torch.version.hip is not None:
        return "PyTorch is built for ROCm and not for CUDA"
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_CAPABILITY:
        came, least = (".".join(map(str, version)) for version in (capability, MIN_CAPABILITY))
        return f"the GPU's compute capability is {came}, below {least}"
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if not ("CC" in os.environ or which("gcc") or which("clang")):
        return "Triton finds no C compiler (gcc, clang or $CC)"
    return None


@cache
def _works(device: torch.device) -> bool:
    """Tell whether `missing` finds nothing missing; warn once if it does."""
    lacks = missing(device)
    if lacks:
        text = f"recurrent layers run step by step on the GPU, many times slower: {lacks}"
        warn(text, stacklevel=2)
    return lacks is None


def gpu_scan(
    cell: Cell,
    x: Tensor,
    weights: Weights,
    initial: Tensor,
    affine: AffineMap,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run a cell through time; see `scan`. Nothing is copied to the host.

    Args:
        cell: the transition.
        x: (T, B, I) inputs, float32.
        weights: of the layer.
        initial: (B, S) the state before the first step.
        affine: the map of the state; coefficients (T or 1, B, S).
        lengths: (B,) valid steps of each sequence; None for all.

    Returns:
        States (T, B, S), and mu - m (T, B, S) if the map drops memory.
    """
    coefficients = (affine.A, affine.B, affine.C, affine.keep)
    shape = (x.shape[0], *initial.shape)
    return cast(
        "tuple[Tensor, Tensor | None]",
        _GpuScan.apply(  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
            cell,
            None if lengths is None else lengths.to(x.device),
            x,
            *weights,
            initial,
            *(None if value is None else value.expand(shape) for value in coefficients),
        ),
    )


class _GpuScan(torch.autograd.Function):
    """All steps as one node of the autograd graph."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        lengths: Tensor | None,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        initial: Tensor,
        *coefficients: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        from vand_robot.nn.kernel import gpu_forward  # noqa: PLC0415  (there may be no Triton)

        ctx.set_materialize_grads(False)
        steps, batch, _ = x.shape
        hidden = weight_hh.shape[1]
        A, B, C, keep = coefficients
        blank = x.new_empty if lengths is None else x.new_zeros
        path = blank((steps + 1, *initial.shape))  # (T + 1, B, S) from h_0 on
        path[0] = initial
        gap = None if keep is None else blank((steps, *initial.shape))  # (T, B, S)
        gru = isinstance(cell, GRUCell)
        inner = blank((steps, batch, hidden)) if gru else None
        bias = None if bias_ih is None or bias_hh is None else bias_ih + bias_hh
        inner_bias = None
        if gru and bias is not None and bias_ih is not None and bias_hh is not None:
            bias[2 * hidden :] = bias_ih[2 * hidden :]
            inner_bias = bias_hh[2 * hidden :].contiguous()
        weight_hh = weight_hh.contiguous()
        with _on(x):
            gates = _project(x, weight_ih, bias)  # (T, B, G)
            if keep is None:
                trace = gates if lengths is None else torch.zeros_like(gates)
            else:  # the backward pass needs both
                trace = blank(gates.shape)
            _launch(
                gpu_forward.forward_steps,
                cell,
                _tiling(x.device, batch, hidden, backwards=False),
                backwards=False,
                gates=gates,
                trace=trace,
                inner=inner,
                path=path,
                gap=gap,
                **_coefficients(A=A, B=B, C=C, keep=keep),
                weight=weight_hh,
                inner_bias=inner_bias,
                lengths=lengths,
            )
        ctx.cell, ctx.has_bias = cell, bias is not None
        ctx.save_for_backward(
            x,
            weight_ih,
            weight_hh,
            inner_bias,
            lengths,
            None if keep is None else gates,
            trace,
            inner,
            path,
            A,
            C,
            keep,
        )
        return path[1:], gap

    @staticmethod
    @first_order
    def backward(ctx: Any, d_states: Tensor | None, d_gap: Tensor | None) -> tuple[Any, ...]:
        from vand_robot.nn.kernel import gpu_backward  # noqa: PLC0415  (as above)

        x, weight_ih, weight_hh, inner_bias, lengths, *buffers = ctx.saved_tensors
        gates, trace, inner, path, A, C, keep = buffers
        cell: Cell = ctx.cell
        steps, batch, width = trace.shape
        hidden = weight_hh.shape[1]
        shape = (steps, *path.shape[1:])  # (T, B, S)
        blank = x.new_empty if lengths is None else x.new_zeros
        d_states = x.new_zeros(shape) if d_states is None else d_states.contiguous()
        d_pre = blank((steps + 1, batch, width))
        d_pre[steps] = 0
        gru = isinstance(cell, GRUCell)
        d_gates = blank(trace.shape) if gru or keep is not None else None
        d_A, d_B, d_C, d_keep = (
            blank(shape) if needed else None for needed in ctx.needs_input_grad[8:]
        )
        d_initial = torch.zeros_like(path[0])
        tiling = _tiling(x.device, batch, hidden, backwards=True)
        d_bias = x.new_zeros((4, tiling.grid(batch, hidden)[0], hidden))
        with _on(x):
            _launch(
                gpu_backward.backward_steps,
                cell,
                tiling,
                backwards=True,
                gates=gates,
                trace=trace,
                inner=inner,
                path=path,
                d_states=d_states,
                d_gap=None if d_gap is None else d_gap.contiguous(),
                **_coefficients(A=A, C=C, keep=keep),
                weight=weight_hh.t().contiguous(),
                inner_bias=inner_bias,
                lengths=lengths,
                d_pre=d_pre,
                d_gates=d_gates,
                d_A=d_A,
                d_B=d_B,
                d_C=d_C,
                d_keep=d_keep,
                carry=d_initial,
                d_bias=d_bias,
            )
            d_initial[:, :hidden].addmm_(d_pre[0], weight_hh)
            d_pre = d_pre[:steps].flatten(0, 1)  # (T B, G)
            d_gates = d_pre if d_gates is None else d_gates.flatten(0, 1)
            before = path[:steps, :, :hidden].flatten(0, 1)  # (T B, H)
            d_weight_hh = d_pre.t() @ before
            d_weight_ih = d_gates.t() @ x.flatten(0, 1)
            d_x = (d_gates @ weight_ih).view_as(x) if ctx.needs_input_grad[2] else None
        d_bias_ih = d_bias_hh = None
        if ctx.has_bias:
            sums = d_bias.sum(1)  # (4, H)
            d_bias_ih = d_bias_hh = sums[: cell.gates].flatten()
            if gru:
                d_bias_hh = torch.cat((sums[:2], sums[3:])).flatten()
        return (
            *(None, None, d_x, d_weight_ih, d_weight_hh, d_bias_ih, d_bias_hh, d_initial),
            *(d_A, d_B, d_C, d_keep),
        )


def _coefficients(**values: Tensor | None) -> dict[str, Tensor | int | None]:
    """Return coefficients (T, B, S) as kernels take them, each with a flag.

    The flag tells whether steps have their own (1) or share (1, B, S).
    """
    arguments: dict[str, Tensor | int | None] = {}
    for name, value in values.items():
        shared = value is not None and value.stride(0) == 0
        if value is not None:
            value = (value[:1] if shared else value).contiguous()  # noqa: PLW2901
        arguments |= {name: value, f"{name}_moves": int(not shared)}
    return arguments


def _project(x: Tensor, weight_ih: Tensor, bias: Tensor | None) -> Tensor:
    """Return the input's part of the pre-activations: x (T, B, I) -> (T, B, G)."""
    rows = x.flatten(0, 1)
    to_gates = weight_ih.t()
    gates = rows @ to_gates if bias is None else torch.addmm(bias, rows, to_gates)
    return gates.view(*x.shape[:2], weight_ih.shape[0])


def _launch(
    kernel: Any,
    cell: Cell,
    tiling: Tiling,
    *,
    backwards: bool,
    path: Tensor,
    **arguments: Tensor | int | None,
) -> None:
    """Do all steps by a kernel; path (T + 1, B, S), and its other arguments."""
    steps, batch, hidden = path.shape[0] - 1, path.shape[1], path.shape[2] // cell.parts
    grid = tiling.grid(batch, hidden)
    at_once = steps if tiling.one_launch else 1
    starts = range(0, steps, at_once)
    options: dict[str, Any] = {"num_warps": tiling.warps, "num_stages": 1}
    if path.is_cuda:  # the interpreter does not know it
        options["launch_cooperative_grid"] = tiling.one_launch
    arrivals = torch.zeros((grid[0], COUNTER_STRIDE), dtype=torch.int32, device=path.device)
    for first in reversed(starts) if backwards else starts:
        kernel[grid](
            path=path,
            **arguments,
            arrivals=arrivals,
            first=first,
            last=first + at_once,
            batch=batch,
            CELL=_name(cell),
            GATES=cell.gates,
            PARTS=cell.parts,
            H=hidden,
            ROWS=tiling.rows,
            UNITS=tiling.units,
            DEPTH=tiling.depth,
            STAGES=tiling.stages,
            PRECISION="tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3",
            **options,
        )


def _name(cell: Transition) -> str | None:
    """Name a cell as the kernels do; None for one that they do not know."""
    if isinstance(cell, ElmanCell):
        return cell.nonlinearity if cell.nonlinearity in ("tanh", "relu") else None
    if isinstance(cell, GRUCell):
        return "gru"
    return "lstm" if isinstance(cell, LSTMCell) else None


def _tiling(device: torch.device, batch: int, hidden: int, *, backwards: bool) -> Tiling:
    """Choose the smallest tiles that are on the GPU all at once, or large ones if none are."""
    for tiling in BACKWARD if backwards else FORWARD:
        tiles = tiling.grid(batch, hidden)
        if tiles[0] * tiles[1] <= _multiprocessors(device):
            return tiling
    return STEPWISE


@cache
def _multiprocessors(device: torch.device) -> int:
    """Return how many programs a GPU runs at once at the least."""
    return torch.cuda.get_device_properties(device).multi_processor_count


@contextmanager
def _on(like: Tensor) -> Iterator[None]:
    """Work on a tensor's device, and let products be rounded as cuDNN would round them."""
    before = torch.get_float32_matmul_precision()
    wanted = "high" if torch.backends.cudnn.allow_tf32 else "highest"
    device = torch.cuda.device_of(like)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    with device, torch.autocast(like.device.type, enabled=False):
        if (before == "highest") == (wanted == "highest"):
            yield
            return
        torch.set_float32_matmul_precision(wanted)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
