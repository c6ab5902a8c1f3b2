"""Elman, GRU and LSTM layers whose pre-activations are normalized over units.

Ba, Kiros & Hinton 2016, "Layer Normalization": the input's part and the state's part of the
pre-activations are normalized apart, each with gains of its own, and of the LSTM the cell as it is
read. Here each gate is normalized over its own H units, as TensorFlow's layer-normalized LSTM does;
the paper's LSTM normalizes its four gates together. A regularizer acts on the state as everywhere,
so noise of a scale is noise of that scale on the state, not on what is normalized.

These cells have no backward pass of their own: they run step by step under autograd, several times
slower than the plain ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear

from vand_robot.nn.kernel.cells import Weights
from vand_robot.nn.kernel.formula import HALF, Trajectory, scan_by_formula
from vand_robot.nn.layers import GRU, LSTM, Elman

if TYPE_CHECKING:
    from vand_robot.nn.kernel.affine import AffineMap
    from vand_robot.nn.kernel.cells import Transition


@dataclass(frozen=True)
class NormalizedCell:
    """A cell's formula with normalized pre-activations, for the weights of one layer."""

    inner: Transition
    """The plain cell."""

    norm_ih: tuple[Tensor, Tensor | None]
    """Gain and bias (G,) of the input's part."""

    norm_hh: tuple[Tensor, Tensor | None]
    """Gain and bias (G,) of the state's part."""

    norm_c: tuple[Tensor, Tensor | None] | None
    """Gain and bias (H,) of the LSTM's cell as it is read; None for cells without."""

    @property
    def gates(self) -> int:
        """See `vand_robot.nn.Transition`."""
        return self.inner.gates

    @property
    def parts(self) -> int:
        """See `vand_robot.nn.Transition`."""
        return self.inner.parts

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """See `vand_robot.nn.Transition`; the pre-activations come without biases."""
        gates = _normalized(gates, self.gates, *self.norm_ih)
        recurrent = _normalized(recurrent, self.gates, *self.norm_hh)
        if self.norm_c is None:
            return self.inner.transition(gates, recurrent, state)
        i, f, g, o = (gates + recurrent).chunk(4, -1)
        c = torch.sigmoid(f) * state.chunk(2, -1)[1] + torch.sigmoid(i) * torch.tanh(g)
        read = torch.tanh(_normalized(c, 1, *self.norm_c))
        return torch.cat((torch.sigmoid(o) * read, c), -1)


class _LayerNorm:
    """What the normalized layers have in common; comes before the plain layer among the bases."""

    cell: Transition
    bias: bool
    hidden_size: int
    has_kernels = False
    """See `Parameters.has_kernels`: the plain cell's do not normalize."""

    def weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """See `Parameters.weight_shapes`: gains beside the weights of the plain layer."""
        shapes: dict[str, tuple[int, ...]] = super().weight_shapes(layer)  # type: ignore[misc]  # the plain layer's
        rows = shapes["weight_ih"][0]
        shapes |= {"gain_ih": (rows,), "gain_hh": (rows,)}
        if self.cell.parts == 2:
            shapes |= {"gain_c": (self.hidden_size,)}
            if self.bias:
                shapes |= {"bias_c": (self.hidden_size,)}
        return shapes

    def reset_weights(self) -> None:
        """See `Parameters.reset_weights`: gains are one, biases zero."""
        super().reset_weights()  # type: ignore[misc]  # the plain layer's
        for name, parameter in self.named_parameters():  # type: ignore[attr-defined]  # as above
            if name.startswith(("gain_", "bias_")):
                nn.init.constant_(parameter, float(name.startswith("gain_")))

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
        dtype = x.dtype
        single = torch.float32 if dtype in HALF else dtype
        cell, ih, hh = self._bound(layer, single)
        path = scan_by_formula(
            cell, x.to(single), Weights(ih, hh, None, None), start.to(single), affine, lengths
        )
        return Trajectory(path.states.to(dtype), path.gap)

    def answer(self, layer: int, x: Tensor, previous: Tensor) -> Tensor:
        """See `LayerPass.answer`."""
        cell, ih, hh = self._bound(layer, x.dtype)
        return cell.transition(
            linear(x, ih), linear(previous[..., : self.hidden_size], hh), previous
        )

    def _bound(self, layer: int, dtype: torch.dtype) -> tuple[NormalizedCell, Tensor, Tensor]:
        """Return the cell with a layer's gains and biases, and its weights of input and state."""

        def weight(name: str) -> Tensor:
            found: Tensor = self.current_weight(f"{name}_l{layer}")  # type: ignore[attr-defined]  # the plain layer's
            return found.to(dtype)

        def norm(part: str) -> tuple[Tensor, Tensor | None]:
            return weight(f"gain_{part}"), weight(f"bias_{part}") if self.bias else None

        norm_c = norm("c") if self.cell.parts == 2 else None
        cell = NormalizedCell(self.cell, norm("ih"), norm("hh"), norm_c)
        return cell, weight("weight_ih"), weight("weight_hh")


class LayerNormElman(_LayerNorm, Elman):
    """An `Elman` layer, same arguments, with layer normalization of both pre-activations."""


class LayerNormGRU(_LayerNorm, GRU):
    """A `GRU` layer, same arguments, with layer normalization of both pre-activations."""


class LayerNormLSTM(_LayerNorm, LSTM):
    """An `LSTM` layer, same arguments, with layer normalization, also of the cell as it is read."""


def _normalized(value: Tensor, gates: int, gain: Tensor, bias: Tensor | None) -> Tensor:
    """Normalize each gate of (..., G) over its own units."""
    units = value.shape[-1] // gates
    by_gate = value.view(*value.shape[:-1], gates, units)
    normalized = layer_norm(by_gate, (units,)).flatten(-2) * gain
    return normalized if bias is None else normalized + bias
