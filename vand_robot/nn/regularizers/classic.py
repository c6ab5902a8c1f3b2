"""The classical regularizers: fixed noise on state or input, dropout, zoneout.

Sources: dropout on the recurrent state, one mask per sequence: Gal & Ghahramani, "A Theoretically
Grounded Application of Dropout in Recurrent Neural Networks", NeurIPS 2016. Zoneout: Krueger et
al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations", ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch

from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.normals import draw_normals
from vand_robot.nn.kernel.random_mask import draw_mask
from vand_robot.nn.regularizers.base import Mask, Regularizer
from vand_robot.nn.regularizers.options import Range

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GaussianNoise(Regularizer):
    """h = mu + scale * eps: noise of one fixed scale on every unit, B = scale * eps."""

    scale: Annotated[float, Range(0)] = 0.05
    """Standard deviation of the noise [units of the state]."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        eps = draw_normals((steps, *like.shape), like)
        return AffineMap(B=eps.mul_(self.scale))


@dataclass(frozen=True)
class InputNoise(Regularizer):
    """x + scale * eps: noise of one fixed scale on the network's input; the state is untouched."""

    scale: Annotated[float, Range(0)] = 0.05
    """Standard deviation of the noise [units of the input]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on != "state":
            raise ValueError('InputNoise is on the input alone; leave on="state"')

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:
        """See `Regularizer.perturb_input`."""
        return x if layer else x + self.scale * torch.randn_like(x)


@dataclass(frozen=True)
class Dropout(Regularizer):
    """h = mask / (1 - p) * mu: a dropped unit is zero, A = mask / (1 - p)."""

    p: Annotated[float, Range(0, 1)] = 0.1
    """Probability that a unit is dropped."""

    mask: Mask = "step"
    """Draw a mask for every "step", or one for the whole "sequence" (Gal & Ghahramani)."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        keep = draw_mask(1 - self.p, steps if self.mask == "step" else 1, like).to(like.dtype)
        return AffineMap(A=keep.div_(1 - self.p))


@dataclass(frozen=True)
class Zoneout(Regularizer):
    """A unit keeps its previous value with probability z: A = 1 - mask, C = mask.

    The deterministic state is the expected one, (1 - z) mu + z h, as in Krueger et al.: zoneout
    slows the state down in training, and only the expectation runs at the same pace.
    """

    z: Annotated[float, Range(0, 1)] = 0.1
    """Probability that a unit keeps its previous value."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        zoned = draw_mask(self.z, steps, like).to(like.dtype)
        return AffineMap(A=1 - zoned, C=zoned)

    def expected(self, like: Tensor) -> AffineMap:
        """See `Regularizer.expected`."""
        zoned = torch.full_like(like, self.z)[None]
        return AffineMap(A=1 - zoned, C=zoned)
