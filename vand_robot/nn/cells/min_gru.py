"""The minimal GRU: gates that see the input alone, so that time runs in parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

from vand_robot.nn.cells.linear import LinearCell, LinearRecurrent, Recurrence

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.regularizers.base import Regularizer


class MinGRU(LinearRecurrent):
    """z = sigmoid(W_z x + b_z); h = (1 - z) h + z (W_h x + b_h).

    Feng et al. 2024, "Were RNNs All We Needed?": the GRU without the state in its gates and
    without the tanh of the candidate. What it remembers, and when, the input decides; several
    layers let it depend on the past. Weights are drawn as those of a GRU are.

    Args:
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.

    Raises:
        ValueError: if an option does not fit.
        TypeError: if an option is of another type.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        regularizer: Regularizer | None = None,
    ) -> None:
        super().__init__(
            LinearCell(gates=2, parts=1),
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=False,
            device=device,
            dtype=dtype,
            regularizer=regularizer,
        )

    def weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """See `Parameters.weight_shapes`: z before the candidate, no weights of the state."""
        shapes = super().weight_shapes(layer)
        return {name: shape for name, shape in shapes.items() if "_ih" in name}

    def recurrence(self, layer: int, x: Tensor) -> Recurrence:
        """See `LinearRecurrent.recurrence`."""
        bias = self.current_weight(f"bias_ih_l{layer}") if self.bias else None
        z, candidate = linear(x, self.current_weight(f"weight_ih_l{layer}"), bias).chunk(2, -1)
        return Recurrence(torch.sigmoid(-z), None, torch.sigmoid(z) * candidate)
