"""How one layer runs: through time, by one step, by torch's own kernel, and what it puts out.

Cells that are not of `torch.nn` say here what is different about them; see `vand_robot.nn.cells`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.functional import linear

from vand_robot.nn.kernel.fused import prefers_fused, run_fused
from vand_robot.nn.kernel.scan import scan
from vand_robot.nn.parameters import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.kernel.affine import AffineMap
    from vand_robot.nn.kernel.formula import Trajectory


class LayerPass(Parameters):
    """What a stack of layers does with each; `Recurrent` runs them one after the other."""

    def run_identity(self, layer: int, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor] | None:
        """Run one layer by torch's own kernel, where nothing acts on the state.

        Args:
            layer: which layer.
            x: (T, B, I) its inputs.
            start: (B, S) the state before the first step.

        Returns:
            (T, B, H) outputs and the (B, S) final state; None where there is no kernel, or the scan
            is faster.
        """
        weights = self.weights(layer)
        if not prefers_fused(self.cell, x, weights, start):
            return None
        return run_fused(self.cell, x, weights, start)

    def scan_layer(
        self,
        layer: int,
        x: Tensor,
        start: Tensor,
        affine: AffineMap,
        lengths: Tensor | None = None,
    ) -> Trajectory:
        """Run one layer through time; see `vand_robot.nn.kernel.scan.scan`."""
        return scan(self.cell, x, self.weights(layer), start, affine, lengths)

    def readout(self, layer: int, states: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002  (of most cells a part of the state)
        """Return a layer's output (..., H) for states (..., S) and its inputs (..., I)."""
        return states[..., : self.hidden_size]

    def answer(self, layer: int, x: Tensor, previous: Tensor) -> Tensor:
        """Return a layer's answer mu (B, S) for inputs (B, I) and the states before (B, S)."""
        weights = self.weights(layer)
        gates = linear(x, weights.ih, weights.bias_ih)
        recurrent = linear(previous[:, : self.hidden_size], weights.hh, weights.bias_hh)
        return self.cell.transition(gates, recurrent, previous)
