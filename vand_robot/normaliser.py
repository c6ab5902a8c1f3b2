"""Brings every observation to a common scale, with statistics of the training data."""

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """`clip((x - mean) / std)`, the statistics stored as buffers.

    Until `fit` is called, or a state is loaded, it only clips.

    Args:
        size: Numbers in an observation, D.
        clip: Bound of the result [standard deviations]: a sensor fault or a place far from every
            demonstration must not drive the network's units anywhere it has never been.
    """

    mean: Tensor
    """(D,) what is subtracted; zero where a number passes unscaled."""
    scale: Tensor
    """(D,) what is multiplied by: one over the standard deviation."""
    noise: Tensor
    """(D,) 1 where input noise may act, 0 where a number passes unscaled."""

    def __init__(self, size: int, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("noise", torch.ones(size))

    def fit(self, samples: Tensor, unscaled: Tensor, std_floor: float) -> None:
        """Takes the statistics of a set of observations.

        Args:
            samples: (M, D) observations.
            unscaled: (D,) bool, which numbers pass as they are (one-hot codes).
            std_floor: No number is divided by less than this [its own unit].
        """
        mean, std = samples.double().mean(0), samples.double().std(0, correction=0)  # (D,)
        self.mean.copy_(mean.masked_fill(unscaled, 0.0))
        self.scale.copy_(std.clamp_min(std_floor).reciprocal().masked_fill(unscaled, 1.0))
        self.noise.copy_(~unscaled)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises observations (..., D)."""
        return ((x - self.mean) * self.scale).clamp(-self.clip, self.clip)
