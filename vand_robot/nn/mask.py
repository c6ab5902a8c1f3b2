"""Random masks, four for every 64 random bits: a mask needs no more than 16 of them."""

from __future__ import annotations

import torch
from torch import Tensor

RESOLUTION = 2**16
"""Probabilities are rounded to multiples of 1 / RESOLUTION, and kept below 1."""


def draw_mask(probability: Tensor | float, steps: int, like: Tensor) -> Tensor:
    """Draw independent masks.

    Drawing uniform floats would cost three times as much, more than the noise itself.

    Args:
        probability: (S,) or number, the probability of True.
        steps: T.
        like: (B, S) gives batch, size and device.

    Returns:
        (T, B, S) booleans.
    """
    count = steps * like.numel()
    bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device)
    bits.random_(-(2**63), None)
    drawn = bits.view(torch.int16)[:count].view(steps, *like.shape)  # uniform in -2^15 .. 2^15 - 1
    level = torch.as_tensor(probability, device=like.device).detach().double() * RESOLUTION
    threshold = level.round() - RESOLUTION // 2
    return drawn < threshold.clamp_max(RESOLUTION // 2 - 1).to(torch.int16)
