"""The linear recurrent unit: a diagonal complex state-space model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from torch.nn.functional import gelu, linear

from vand_robot.nn.cells.linear import LinearCell, LinearRecurrent, Recurrence
from vand_robot.nn.regularizers.options import require_known

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.regularizers.base import Regularizer

Readout = Literal["gelu", "linear"]


class LRU(LinearRecurrent):
    """h = lambda h + gamma (B x), complex; y = gelu(Re(C h) + D x + b).

    Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences". The factor is
    `lambda = exp(-exp(nu) + i exp(theta))`, so that it stays within the unit circle whatever is
    learned, and gamma starts at sqrt(1 - |lambda|^2), which keeps the state near unit variance. It
    starts uniform on the ring between the radii and up to the phase. The paper has a gated network
    after each layer; here it is a GELU, without which several layers would be linear like one.

    The state is [Re h; Im h], 2H wide, and a regularizer treats all of it alike, also where it is
    on the "hidden" part. The output is not the state: what is done to the state reaches it by C.

    Args:
        input_size: size of the input, I.
        hidden_size: complex units per layer, and size of the output, H.
        num_layers: layers, each fed by the one below.
        bias: whether the readout has a bias.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers.
        device: where the weights live.
        dtype: type of the weights, real.
        regularizer: recipe of the state's regularizer; None for none.
        min_radius: smallest |lambda| to begin with.
        max_radius: largest; nearer to 1 remembers longer.
        max_phase: largest phase of lambda to begin with [rad per step].
        readout: "gelu" or "linear", what y is of its argument.

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
        min_radius: float = 0.0,
        max_radius: float = 1.0,
        max_phase: float = 2 * math.pi,
        readout: Readout = "gelu",
    ) -> None:
        if not 0 <= min_radius < max_radius <= 1:
            raise ValueError(
                f"LRU expects 0 <= min_radius < max_radius <= 1; got {min_radius!r}, {max_radius!r}"
            )
        if not 0 < max_phase <= 2 * math.pi:
            raise ValueError(f"LRU expects max_phase in (0, 2 pi]; got {max_phase!r}")
        require_known("readout", readout, ("gelu", "linear"))
        self.radii, self.max_phase, self.readout_form = (min_radius, max_radius), max_phase, readout
        super().__init__(
            LinearCell(gates=2, parts=2),
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

    @property
    def regularized_hidden(self) -> int:
        """See `Parameters.regularized_hidden`: all of the state."""
        return self.state_size

    def weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """See `Parameters.weight_shapes`; complex matrices as [Re; Im]."""
        width = self.input_size if layer == 0 else self.hidden_size
        h = self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (2 * h, width),
            "weight_out": (h, 2 * h),
            "weight_skip": (h, width),
            "log_nu": (h,),
            "log_theta": (h,),
            "log_gamma": (h,),
        }
        return {**shapes, "bias_out": (h,)} if self.bias else shapes

    @torch.no_grad()
    def reset_weights(self) -> None:
        """See `Parameters.reset_weights`: as in the paper, and the bias zero."""
        low, high = (radius**2 for radius in self.radii)
        for layer in range(self.num_layers):
            part = {
                name: self.current_weight(f"{name}_l{layer}") for name in self.weight_shapes(layer)
            }
            nn.init.normal_(part["weight_ih"], std=(2 * part["weight_ih"].shape[1]) ** -0.5)
            nn.init.normal_(part["weight_out"], std=self.hidden_size**-0.5)
            nn.init.normal_(part["weight_skip"], std=part["weight_skip"].shape[1] ** -0.5)
            smallest = torch.finfo(torch.float32).eps
            square = part["log_nu"].uniform_().mul_(high - low).add_(low)  # |lambda|^2
            square.clamp_(smallest, 1 - smallest)
            part["log_gamma"].copy_((1 - square).log() / 2)
            square.log_().div_(-2).log_()  # in place of log_nu
            part["log_theta"].uniform_().mul_(self.max_phase).clamp_(smallest).log_()
            if self.bias:
                part["bias_out"].zero_()

    def recurrence(self, layer: int, x: Tensor) -> Recurrence:
        """See `LinearRecurrent.recurrence`."""
        radius = torch.exp(-self.current_weight(f"log_nu_l{layer}").exp())
        phase = self.current_weight(f"log_theta_l{layer}").exp()
        gamma = self.current_weight(f"log_gamma_l{layer}").exp().repeat(2)
        lead = (1,) * (x.dim() - 1)
        drive = gamma * linear(x, self.current_weight(f"weight_ih_l{layer}"))
        factor, turn = radius * torch.cos(phase), radius * torch.sin(phase)
        return Recurrence(factor.view(*lead, -1), turn.view(*lead, -1), drive)

    def readout(self, layer: int, states: Tensor, x: Tensor) -> Tensor:
        """See `LayerPass.readout`: the real part of C h, as [Re C, -Im C] [Re h; Im h]."""
        bias = self.current_weight(f"bias_out_l{layer}") if self.bias else None
        to_output = self.current_weight(f"weight_out_l{layer}")
        y = linear(states, to_output, bias) + linear(
            x, self.current_weight(f"weight_skip_l{layer}")
        )
        return gelu(y) if self.readout_form == "gelu" else y
