"""Brings every observation to a common scale, with statistics of the training data."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """`clip((x - mean) / std)`, the statistics stored as buffers; relative positions twice.

    A gripper that is a centimetre off misses, and a centimetre is a hundredth of the standard
    deviation of where a cube may be: too little for a network to act on. So relative positions are
    seen once more through `asinh(x / close_range)`, which is linear below the close range and
    logarithmic above: it resolves millimetres near by and still tells metres.

    Until `fit` is called, or a state is loaded, it neither shifts nor scales.

    Args:
        size: Numbers in an observation, D.
        clip: Bound of the result [standard deviations]: a sensor fault or a place far from every
            demonstration must not drive the network's units anywhere it has never been.
        close: Indices of the numbers that are seen at close range too, F of them.
        close_range: Where asinh turns from linear to logarithmic [the numbers' unit].
    """

    scale: Tensor
    """(D + F,) one over the standard deviation."""
    offset: Tensor
    """(D + F,) minus the mean over the standard deviation."""
    noise: Tensor
    """(D + F,) 1 where input noise may act, else 0."""
    close: Tensor
    """(F,) indices of the numbers that are seen at close range too."""

    def __init__(
        self, size: int, clip: float, close: Sequence[int] = (), close_range: float = 1.0
    ) -> None:
        super().__init__()
        self.clip = clip
        self.close_range = close_range
        self.width = size + len(close)
        self.register_buffer("scale", torch.ones(self.width))
        self.register_buffer("offset", torch.zeros(self.width))
        self.register_buffer("noise", torch.ones(self.width))
        self.register_buffer("close", torch.tensor(close, dtype=torch.long), persistent=False)

    def fit(self, samples: Tensor, exact: Tensor, std_floor: float) -> None:
        """Takes the statistics of a set of observations.

        Args:
            samples: (M, D) observations.
            exact: (D,) bool, which numbers get no input noise (one-hot codes).
            std_floor: No number is divided by less than this [its own unit].
        """
        seen = self._see(samples.double())  # (M, D + F)
        self.scale.copy_(seen.std(0, correction=0).clamp_min(std_floor).reciprocal())
        self.offset.copy_(-seen.mean(0) * self.scale)
        self.noise.copy_(torch.cat([~exact, ~exact[self.close]]))

    def forward(self, x: Tensor) -> Tensor:
        """Normalises observations, (..., D) -> (..., D + F)."""
        return torch.addcmul(self.offset, self._see(x), self.scale).clamp(-self.clip, self.clip)

    def _see(self, x: Tensor) -> Tensor:
        """Observations with the close-range view appended, (..., D + F)."""
        if not len(self.close):
            return x
        near = torch.asinh(x.index_select(-1, self.close) / self.close_range)
        return torch.cat([x, near], -1)
