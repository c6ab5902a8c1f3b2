"""Brings every observation to a common scale, with statistics of the training data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalizer(nn.Module):
    """`clip((x - mean) / std)`, the statistics stored as buffers; relative positions close up too.

    A gripper that is a centimeter off misses, and a centimeter is a hundredth of the standard
    deviation of where a cube may be: too little for a network to act on. So relative positions are
    seen once more through `tanh(x / range)` for a few ranges: the shortest resolves millimeters
    near by, and whatever is far from what is being done saturates, and keeps out of the way. They
    are neither shifted nor scaled: their bounds are known.

    Until `fit` is called, or a state is loaded, nothing is shifted or scaled.

    Args:
        size: Numbers in an observation, D.
        clip: Bound of the result [standard deviations]: a sensor fault or a place far from every
            demonstration must not drive the network's units anywhere it has never been.
        close: Indices of the numbers that are seen at close range too, F of them.
        ranges: The ranges, R of them [the numbers' unit].
    """

    scale: Tensor
    """(D,) one over the standard deviation."""
    offset: Tensor
    """(D,) minus the mean over the standard deviation."""
    noise: Tensor
    """(D + R F,) 1 where input noise may act, else 0."""
    close: Tensor
    """(F,) indices of the numbers that are seen at close range too."""
    ranges: Tensor
    """(R, 1) the ranges."""

    def __init__(
        self, size: int, clip: float, close: Sequence[int] = (), ranges: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.clip = clip
        self.width = size + len(close) * len(ranges)
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("offset", torch.zeros(size))
        self.register_buffer("noise", torch.ones(self.width))
        self.register_buffer("close", torch.tensor(close, dtype=torch.long), persistent=False)
        self.register_buffer("ranges", torch.tensor(ranges)[:, None], persistent=False)

    def fit(self, mean: Tensor, std: Tensor, exact: Tensor, std_floor: float) -> None:
        """Take the statistics of a set of observations.

        Args:
            mean: (D,) float64, their mean.
            std: (D,) float64, their standard deviation.
            exact: (D,) bool, which numbers get no input noise (one-hot codes).
            std_floor: No number is divided by less than this [its own unit].
        """
        self.scale.copy_(std.clamp_min(std_floor).reciprocal())
        self.offset.copy_(-mean * self.scale)
        self.noise.copy_(torch.cat([~exact, *[~exact[self.close]] * len(self.ranges)]))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize observations, (..., D) -> (..., D + R F)."""
        normalized = torch.addcmul(self.offset, x, self.scale).clamp(-self.clip, self.clip)
        if self.width == x.shape[-1]:
            return normalized
        near = x.index_select(-1, self.close).unsqueeze(-2) / self.ranges  # (..., R, F)
        return torch.cat([normalized, torch.tanh(near).flatten(-2)], -1)
