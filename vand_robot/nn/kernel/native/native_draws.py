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

if TYPE_CHECKING:
    from collections.abc import Sequence


CPU = torch.device("cpu")

NO_MEMORY = "no memory for the sums of a regularizer"


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
    normals = torch.empty(shape, dtype=torch.float32, device=CPU)
    _library().normals(_seed(), normals.numel(), normals.data_ptr())
    return normals


def draw_mixture(
    sigma: Tensor | None,
    scale: Tensor,
    drop: Tensor,
    trapezoid: bool,
    steps: tuple[int, int],
    like: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Draw kept and dropped units, and their noise; call it where `usable`.

    Args:
        sigma: (S,) scale of a kept unit's noise; None for no noise.
        scale: (S,) or scalar, scale of a dropped unit's noise.
        drop: (S,) ratio d.
        trapezoid: whether kept and dropped samples each count half in the gradient of d.
        steps: T, and the steps of the mask: T, or 1 for one mask per sequence.
        like: (B, S) gives batch and size.

    Returns:
        (T or 1, B, S) keep, of zeros and ones, and (T, B, S) noise or None; their gradients go
        straight through the mask to d.
    """
    shape = (*steps, *like.shape)
    scale = scale.expand(drop.shape)
    keep, noise = _Mixture.apply(sigma, scale, drop, trapezoid, shape)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    return keep, noise


class _Mixture(torch.autograd.Function):
    """keep = 1 - dropped, with the derivative of 1 - d, and keep sigma eps + (1 - keep) s eps."""

    @staticmethod
    def forward(
        ctx: Any,
        sigma: Tensor | None,
        scale: Tensor,
        drop: Tensor,
        trapezoid: bool,
        shape: tuple[int, int, int, int],
    ) -> tuple[Tensor, Tensor | None]:
        steps, mask_steps, batch, size = shape
        ctx.set_materialize_grads(False)
        keep = drop.new_empty((mask_steps, batch, size))
        noise = None if sigma is None else drop.new_empty((steps, batch, size))
        given = [None if v is None else v.contiguous() for v in (drop, sigma, scale)]
        rows = (steps * batch, mask_steps * batch, size)
        addresses = map(_address, (*given, keep, noise))
        if not _library().mixture(_seed(), *rows, *addresses):
            raise MemoryError(NO_MEMORY)
        ctx.rows, ctx.trapezoid = rows, trapezoid
        ctx.save_for_backward(keep, noise, *given)
        return keep, noise

    @staticmethod
    @first_order
    def backward(ctx: Any, d_keep: Tensor | None, d_noise: Tensor | None) -> tuple[Any, ...]:
        incoming = [None if v is None else v.contiguous() for v in (d_keep, d_noise)]
        saved = ctx.saved_tensors
        by_drop, by_sigma, by_scale = torch.zeros(3, ctx.rows[2], dtype=torch.float32, device=CPU)
        addresses = map(_address, (*incoming, *saved, by_drop, by_sigma, by_scale))
        if not _library().mixture_backward(*ctx.rows, ctx.trapezoid, *addresses):
            raise MemoryError(NO_MEMORY)
        noisy = saved[1] is not None
        return by_sigma if noisy else None, by_scale if noisy else None, by_drop, None, None


def _address(value: Tensor | None) -> int | None:
    return None if value is None else value.data_ptr()


def mean_square(values: Tensor) -> Tensor:
    """Average squares of values (T, B, S), without a gradient, to (S,); call it where `usable`."""
    size = values.shape[-1]
    rows = values.numel() // size
    sums = torch.empty(size, dtype=torch.float64, device=CPU)
    values = values.contiguous()
    _library().square_sums(rows, size, values.data_ptr(), sums.data_ptr())
    return (sums / rows).float()


def _seed() -> int:
    """Draw a seed of 63 bits from torch's generator."""
    return int(torch.empty((), dtype=torch.int64, device=CPU).random_())


def _library() -> Library:
    found = library()
    assert found is not None  # noqa: S101  (as `usable` saw)
    return found
