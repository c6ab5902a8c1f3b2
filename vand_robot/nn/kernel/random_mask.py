"""Masks: drawn, four for every 64 random bits (one needs no more than 16), and checked."""

from __future__ import annotations

import torch
from torch import Tensor

RESOLUTION = 2**16
"""Probabilities are rounded to multiples of 1 / RESOLUTION; only 1 itself is rounded to 1."""


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
    level = drawn_probability(torch.as_tensor(probability, device=like.device)) * RESOLUTION
    threshold = (level - RESOLUTION // 2).clamp_max(RESOLUTION // 2 - 1)
    mask = drawn < threshold.to(torch.int16)
    return mask.logical_or_(level >= RESOLUTION)  # which no threshold of 16 bits is above


def drawn_probability(probability: Tensor) -> Tensor:
    """Round probabilities to those that masks are drawn with.

    Args:
        probability: in [0, 1], of any shape.

    Returns:
        The same in float64, detached; multiples of 1 / RESOLUTION, and 1 for 1 alone.
    """
    level = probability.detach().double() * RESOLUTION
    rounded = level.round().clamp_max(RESOLUTION - 1)
    return torch.where(level >= RESOLUTION, level, rounded) / RESOLUTION


def require_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless a tensor is of a shape: broadcasting would give a wrong number.

    Args:
        name: of the tensor, for the message.
        value: the tensor.
        shape: what it should be.
    """
    if value.shape != shape:
        raise ValueError(f"{name} must be of shape {tuple(shape)}; got {tuple(value.shape)}")


def require_mask(mask: Tensor, shape: tuple[int, ...]) -> None:
    """Raise unless a mask tells which steps count, and some do.

    Numbers, even 0 and 1, would be taken for indices of steps.

    Args:
        mask: booleans, True where a step counts.
        shape: of the steps.

    Raises:
        TypeError: if it is not of booleans.
        ValueError: if it is of another shape, or no step counts.
    """
    if mask.dtype != torch.bool:
        raise TypeError(f"a mask must be of torch.bool, True where a step counts; got {mask.dtype}")
    if mask.shape != shape:
        raise ValueError(
            f"a mask must have the steps' shape {tuple(shape)}; got {tuple(mask.shape)}"
        )
    if not mask.any():
        raise ValueError("a mask must count at least one step; got none")
