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

    scale: Tensor
    """(D,) one over the standard deviation; 1 where a number passes unscaled."""
    offset: Tensor
    """(D,) minus the mean over the standard deviation; 0 where a number passes unscaled."""
    noise: Tensor
    """(D,) 1 where input noise may act, 0 where a number passes unscaled."""

    def __init__(self, size: int, clip: float) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("noise", torch.ones(size))

    def fit(self, samples: Tensor, unscaled: Tensor, std_floor: float) -> None:
        """Takes the statistics of a set of observations.

        Args:
            samples: (M, D) observations.
            unscaled: (D,) bool, which numbers pass as they are (one-hot codes).
            std_floor: No number is divided by less than this [its own unit].
        """
        mean, std = samples.double().mean(0), samples.double().std(0, correction=0)  # (D,)
        scale = std.clamp_min(std_floor).reciprocal().masked_fill(unscaled, 1.0)
        self.scale.copy_(scale)
        self.offset.copy_((-mean * scale).masked_fill(unscaled, 0.0))
        self.noise.copy_(~unscaled)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises observations (..., D)."""
        return torch.addcmul(self.offset, x, self.scale).clamp(-self.clip, self.clip)
