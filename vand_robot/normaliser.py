"""Brings every observation to a common scale, with statistics of the training data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """`clip((x - mean) / std)`; some numbers are seen a second time, magnified about zero.

    A hand that nears a cube from a metre away must not lose the last centimetre: by its spread
    over the demonstrations, that is a hundredth of a unit. So where zero means contact, as it
    does in relative positions, a second copy is divided by `fine_std` instead, and clipped as all
    are: a close look at what is close, and a constant for what is not.

    Until `fit` is called, or a state is loaded, numbers pass unscaled.

    Args:
        size: Numbers in an observation, D.
        clip: Bound of the result [standard deviations]: a sensor fault or a place far from every
            demonstration must not drive the network's units anywhere it has never been.
        fine: Which of the D are seen a second time, F of them.
        fine_std: What these are divided by [their own unit].
    """

    scale: Tensor
    """(D + F,) one over the standard deviation; 1 where a number passes unscaled."""
    offset: Tensor
    """(D + F,) minus the mean over the standard deviation; 0 where a number passes unscaled."""
    spread: Tensor
    """(D,) standard deviation [own unit]; 0 where a number passes unscaled."""

    def __init__(self, size: int, clip: float, fine: Sequence[int], fine_std: float) -> None:
        super().__init__()
        self.clip = clip
        self.fine_std = fine_std
        self.out_features = size + len(fine)
        columns = torch.tensor([*range(size), *fine])
        self.register_buffer("columns", columns, persistent=False)  # known from the configuration
        self.register_buffer("scale", torch.ones(self.out_features))
        self.register_buffer("offset", torch.zeros(self.out_features))
        self.register_buffer("spread", torch.ones(size))

    def fit(self, samples: Tensor, unscaled: Tensor, std_floor: float) -> None:
        """Takes the statistics of a set of observations.

        Args:
            samples: (M, D) observations.
            unscaled: (D,) bool, which numbers pass as they are (one-hot codes).
            std_floor: No number is divided by less than this [its own unit].
        """
        mean, std = samples.double().mean(0), samples.double().std(0, correction=0)  # (D,)
        scale = std.clamp_min(std_floor).reciprocal().masked_fill(unscaled, 1.0)
        fine = torch.ones(self.out_features - len(scale))  # (F,)
        self.scale.copy_(torch.cat([scale, fine / self.fine_std]))
        self.offset.copy_(torch.cat([(-mean * scale).masked_fill(unscaled, 0.0), 0 * fine]))
        self.spread.copy_(std.masked_fill(unscaled, 0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises observations (..., D) to (..., D + F)."""
        x = x.index_select(-1, self.columns)
        return torch.addcmul(self.offset, x, self.scale).clamp(-self.clip, self.clip)

    def perturb(self, x: Tensor, std: float) -> Tensor:
        """Adds noise to observations (..., D), not normalised yet.

        Args:
            x: The observations.
            std: Standard deviation of the noise [standard deviations of each number].
        """
        return x + std * self.spread * torch.randn_like(x)
