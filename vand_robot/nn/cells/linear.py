"""Layers whose state is a linear recurrence, with every regularizer, in parallel over time.

The gates of these cells see the input alone, never the state:

    mu_t = a_t h_{t-1} + b_t,    so that the response without memory is    m_t = b_t.

A regularizer's map of the state, `A (m + keep (mu - m)) + B + C h_{t-1}`, leaves the recurrence
linear, with the factor `A keep a + C` and the drive `A b + B`. So noise, dropout, zoneout and VAND
act on the state at each step here too, and no step waits for the one before.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from vand_robot.nn.cells.linear_scan import linear_scan
from vand_robot.nn.kernel.formula import HALF, Trajectory
from vand_robot.nn.layers import OneTensorState

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.kernel.affine import AffineMap


class Recurrence(NamedTuple):
    """Coefficients of mu_t = a_t h_{t-1} + b_t, of steps (..., B, .)."""

    factor: Tensor
    """(..., B or 1, N) the factor a; with `turn` its real part, of complex states [re; im]."""

    turn: Tensor | None
    """(..., B or 1, N) the imaginary part of a; None for a real one."""

    drive: Tensor
    """(..., B, S) b."""

    def remembered(self, state: Tensor) -> Tensor:
        """Return a h (..., B, S), what memory adds to the answer."""
        if self.turn is None:
            return self.factor * state
        re, im = state.chunk(2, -1)
        return torch.cat((self.factor * re - self.turn * im, self.turn * re + self.factor * im), -1)


@dataclass(frozen=True)
class LinearCell:
    """The formula of a linear cell, mu = gates + recurrent, once both are weighed by its factor."""

    gates: int
    """Numbers per unit that the input is projected to."""

    parts: int
    """State variables per unit."""

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  (as the protocol has it)
        """See `vand_robot.nn.Transition`."""
        return gates + recurrent


class LinearRecurrent(OneTensorState):
    """Base of the layers with a linear recurrence: `MinGRU` and `LRU`."""

    @abstractmethod
    def recurrence(self, layer: int, x: Tensor) -> Recurrence:
        """Return the coefficients of a layer for inputs (..., B, I)."""

    def answer(self, layer: int, x: Tensor, previous: Tensor) -> Tensor:
        """See `LayerPass.answer`."""
        found = self.recurrence(layer, x)
        return found.remembered(previous) + found.drive

    def run_identity(self, layer: int, x: Tensor, start: Tensor) -> None:
        """See `LayerPass.run_identity`: torch has no kernel for these cells."""

    def scan_layer(
        self,
        layer: int,
        x: Tensor,
        start: Tensor,
        affine: AffineMap,
        lengths: Tensor | None = None,
    ) -> Trajectory:
        """See `LayerPass.scan_layer`."""
        found = self.recurrence(layer, x)
        if x.dtype in HALF:  # products of hundreds of rounded factors would keep few digits
            found = Recurrence(*(None if c is None else c.float() for c in found))  # type: ignore[arg-type]  # None is in turn's place alone
        start = start.to(found.drive.dtype)
        padding = None
        if lengths is not None:
            padding = (torch.arange(len(x), device=x.device).unsqueeze(1) >= lengths).unsqueeze(-1)
        states = _scan_mapped(found, start, affine, padding)
        gap = None
        if affine.keep is not None:
            gap = found.remembered(torch.cat((start.unsqueeze(0), states[:-1])))
            gap = gap if padding is None else gap.masked_fill(padding, 0.0)
        return Trajectory(states.to(x.dtype), gap)


def _scan_mapped(
    found: Recurrence, start: Tensor, affine: AffineMap, padding: Tensor | None
) -> Tensor:
    """Run a recurrence with a map of the state: (T, B, S), zero at padding (T, B, 1).

    Complex factors stay complex while the map adds alone. What scales real and imaginary part of a
    state, each by its own number, makes a matrix of two by two of them.
    """
    through, drive = _product(affine.A, affine.keep), found.drive
    drive = drive if affine.A is None else affine.A * drive
    drive = drive if affine.B is None else drive + affine.B
    steps = drive.shape[0]
    if found.turn is None:
        a = found.factor if through is None else through * found.factor
        a = a if affine.C is None else a + affine.C
        first = a[0] * start
    elif through is None and affine.C is None:
        a = torch.complex(found.factor, found.turn)
        drive, start = _as_complex(drive), _as_complex(start)
        first = a[0] * start
    else:
        a = _matrices(found.factor, found.turn, through, affine.C, drive)  # (T or 1, 2, 2, B, N)
        drive = torch.stack(drive.chunk(2, -1), 1)  # (T, 2, B, N)
        first = (a[0] * torch.stack(start.chunk(2, -1))).sum(1)
    drive = torch.cat(((drive[0] + first).unsqueeze(0), drive[1:]))
    a = a.expand(steps, *a.shape[1:])
    if padding is not None:  # a state that ran on past its end might overflow there
        if a.dim() > 3:
            padding = padding[:, None]
        drive = drive.masked_fill(padding, 0.0)
        a = a.masked_fill(padding if a.dim() == 3 else padding[:, None], 0.0)
    states = linear_scan(a, drive)
    if states.is_complex():
        return torch.cat((states.real, states.imag), -1)
    return states if states.dim() == 3 else torch.cat(states.unbind(1), -1)


def _matrices(
    re: Tensor, im: Tensor, through: Tensor | None, C: Tensor | None, drive: Tensor
) -> Tensor:
    """Return diag(through) [[re, -im], [im, re]] + diag(C) for states [re; im]: (T, 2, 2, B, N)."""
    steps = max(c.shape[0] for c in (re, through, C) if c is not None)
    shape = (steps, *drive.shape[1:-1], drive.shape[-1] // 2)
    ones = torch.ones_like(drive[:1])
    to_re, to_im = (ones if through is None else through).chunk(2, -1)
    rows = [[to_re * re, -to_re * im], [to_im * im, to_im * re]]
    if C is not None:
        c_re, c_im = C.chunk(2, -1)
        rows = [[rows[0][0] + c_re, rows[0][1]], [rows[1][0], rows[1][1] + c_im]]
    entries = [entry.expand(shape) for row in rows for entry in row]
    stacked = torch.stack(entries, 1)  # (T or 1, 4, B, N)
    return stacked.view(stacked.shape[0], 2, 2, *stacked.shape[2:])


def _as_complex(value: Tensor) -> Tensor:
    """Turn [re; im] (..., 2N) into complex numbers (..., N)."""
    return torch.complex(*value.chunk(2, -1))


def _product(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Multiply, where None stands for 1."""
    return (b if a is None else a) if a is None or b is None else a * b
