"""Standard normal draws: in C where that is, else torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vand_robot.nn.kernel.native import native_draws

if TYPE_CHECKING:
    from torch import Tensor


def draw_normals(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Draw standard normals of a shape, of the type and on the device of `like`."""
    if native_draws.usable(like):
        return native_draws.draw_normals(shape)
    return torch.randn(shape, dtype=like.dtype, device=like.device)
