"""Random draws in C, and the sums of gradients that go back through them.

Numbers come from a generator of their own, whose seed is drawn from torch's: so `torch.manual_seed`
governs them, and a generator's saved state goes on with the same ones. They are others than those
of torch, so a seed means the same on one back end only; see `draws.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vand_robot.nn.kernel.first_order import first_order
from vand_robot.nn.kernel.formula import in_transform
from vand_robot.nn.kernel.native.library import Library, library
from vand_robot.nn.kernel.random_mask import RESOLUTION, drawn_probability

if TYPE_CHECKING:
    from collections.abc import Sequence


def usable(like: Tensor) -> bool:
    """Tell whether numbers for tensors like this one, float32 on the CPU, can be drawn here."""
    return (
        like.device.type == "cpu"
        and like.dtype == torch.float32
        and like.numel() > 0
        and not in_transform()
        and library() is not None
    )


def draw_normals(shape: Sequence[int]) -> Tensor:
    """Draw standard normals, float32; call it where `usable`."""
    normals = torch.empty(*shape, device="cpu")
    _library().normals(_seed(), normals.numel(), normals.data_ptr())
    return normals


def draw_mixture(
    sigma: Tensor | None,
    scale: Tensor,
    drop: Tensor,
    shares: Tensor,
    steps: tuple[int, int],
    like: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Draw kept and dropped units, and their noise; call it where `usable`.

    Args:
        sigma: (S,) scale of a kept unit's noise; None for no noise.
        scale: (S,) or scalar, scale of a dropped unit's noise.
        drop: (S,) ratio d.
        shares: (2, S) or (2, 1) weights of what kept and dropped samples say of d.
        steps: T, and the steps of the mask: T, or 1 for one mask per sequence.
        like: (B, S) gives batch and size.

    Returns:
        (T or 1, B, S) keep, of zeros and ones, and (T, B, S) noise or None; their gradients go
        straight through the mask to d.
    """
    shape = (*steps, *like.shape)
    keep, noise = _Mixture.apply(sigma, scale, drop, shares, shape)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    return keep, noise


class _Mixture(torch.autograd.Function):
    """keep = 1 - dropped, with the derivative of 1 - d, and keep sigma eps + (1 - keep) s eps."""

    @staticmethod
    def forward(
        ctx: Any,
        sigma: Tensor | None,
        scale: Tensor,
        drop: Tensor,
        shares: Tensor,
        shape: tuple[int, int, int, int],
    ) -> tuple[Tensor, Tensor | None]:
        steps, mask_steps, batch, size = shape
        ctx.set_materialize_grads(False)
        levels = (drawn_probability(drop) * RESOLUTION).int()
        keep = torch.empty(mask_steps, batch, size, device="cpu")
        noise = None if sigma is None else torch.empty(steps, batch, size, device="cpu")
        scales = scale.expand(size).contiguous()
        _library().mixture(
            _seed(),
            steps * batch,
            mask_steps * batch,
            size,
            levels.data_ptr(),
            None if sigma is None else sigma.contiguous().data_ptr(),
            scales.data_ptr(),
            keep.data_ptr(),
            None if noise is None else noise.data_ptr(),
        )
        ctx.save_for_backward(sigma, scale, shares, keep, noise)
        return keep, noise

    @staticmethod
    @first_order
    def backward(ctx: Any, d_keep: Tensor | None, d_noise: Tensor | None) -> tuple[Any, ...]:
        sigma, scale, (share_kept, share_dropped), keep, noise = ctx.saved_tensors
        by_drop, by_sigma, by_scale = None, None, None
        if d_keep is not None:  # d keep / d d = -1
            every, dropped = _split_sums(d_keep, None, keep)
            by_drop = -(share_kept * (every - dropped) + share_dropped * dropped)
        if d_noise is not None and noise is not None:
            every, dropped = _split_sums(d_noise, noise, keep)
            by_sigma, by_scale = (every - dropped) / sigma, dropped / scale
            # d noise / d keep = (sigma - s) eps, where eps is noise / sigma or noise / s
            mean = (scale - sigma) * (share_kept * by_sigma + share_dropped * by_scale)
            by_drop = mean if by_drop is None else by_drop + mean
        if not ctx.needs_input_grad[1]:
            by_scale = None
        return by_sigma, by_scale, by_drop, None, None


def _split_sums(a: Tensor, b: Tensor | None, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Sum a, or a b, (T, B, S), over steps and batch: all of it, and where keep is 0; (S,) each."""
    size = a.shape[-1]
    sums = torch.empty(2, size, dtype=torch.float64, device="cpu")
    a = a.contiguous()
    done = _library().split_sums(
        a.numel() // size,
        keep.numel() // size,
        size,
        a.data_ptr(),
        None if b is None else b.data_ptr(),
        keep.data_ptr(),
        sums.data_ptr(),
    )
    if not done:
        raise MemoryError("no memory for the sums of a regularizer's gradients")
    every, dropped = sums.float()
    return every, dropped


def _seed() -> int:
    """Draw a seed of 63 bits from torch's generator."""
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_())


def _library() -> Library:
    found = library()
    assert found is not None  # noqa: S101  (as `usable` saw)
    return found
