"""Draws from VAND's posterior, the estimators of the gradient of d, and the bound of the KL.

The mathematics is in the text of `vand.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vand_robot.nn.kernel.first_order import first_order
from vand_robot.nn.kernel.formula import HALF, in_transform
from vand_robot.nn.kernel.native import native_draws
from vand_robot.nn.kernel.normals import draw_normals
from vand_robot.nn.kernel.random_mask import draw_mask, drawn_probability

STEPS_AT_ONCE = 32
"""Steps that are squared at once: a matter of speed alone."""


def wide(value: Tensor) -> Tensor:
    """Return half precision as float32, whose digits sums and ratios need."""
    return value.float() if value.dtype in HALF else value


def trapezoid_shares(drop: Tensor) -> Tensor:
    """Weigh kept and dropped samples so that each end counts half, whatever their number.

    Args:
        drop: (S,) ratio d.

    Returns:
        (2, S) weights of kept and of dropped samples, 1 / (2 (1 - p)) and 1 / (2 p) with the p that
        masks are drawn with. Where only one end is ever drawn, it counts alone.
    """
    p = drawn_probability(drop)
    both = torch.stack((1 - p, p))
    return torch.where(both.min(0).values > 0, 0.5 / both.clamp_min(2**-17), both)


def draw_mixture(
    sigma: Tensor | None,
    scale: Tensor,
    drop: Tensor,
    trapezoid: bool,
    steps: tuple[int, int],
    like: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Draw which units are kept, and the noise of kept and dropped ones.

    Args:
        sigma: (S,) scale of a kept unit's noise; None for no noise.
        scale: (S,) or scalar, scale of a dropped unit's noise.
        drop: (S,) ratio d.
        trapezoid: whether kept and dropped samples each count half in the gradient of d.
        steps: T, and the steps of the mask: T, or 1 for one mask per sequence.
        like: (B, S) gives batch, size, type and device.

    Returns:
        (T or 1, B, S) keep, of zeros and ones, and (T, B, S) noise or None; their gradients go
        straight through the mask to d.
    """
    if native_draws.usable(like):
        return native_draws.draw_mixture(sigma, scale, drop, trapezoid, steps, like)
    count, mask_steps = steps
    shares = trapezoid_shares(drop).to(like.dtype) if trapezoid else like.new_ones((2, 1))
    eps = None if sigma is None else draw_normals((count, *like.shape), like)
    if in_transform():  # for which the functions below have no rules
        uniform = torch.rand(mask_steps, *like.shape, dtype=like.dtype, device=like.device)
        mask = uniform < drop
        share = torch.where(mask, shares[1], shares[0])
        hard = torch.logical_not(mask).to(like.dtype)
        kept = hard + share * (drop.detach() - drop)
        return kept, formula_noise(sigma, scale, kept, eps)
    dropped = draw_mask(drop, mask_steps, like)
    keep: Tensor = _StraightThrough.apply(drop, dropped, shares)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
    if sigma is None:
        return keep, None
    noise: Tensor = _MixtureNoise.apply(sigma, scale, drop, dropped, shares, eps)  # type: ignore[no-untyped-call]  # as above
    return keep, noise


def formula_noise(
    sigma: Tensor | None, scale: Tensor, keep: Tensor, eps: Tensor | None
) -> Tensor | None:
    """Return keep sigma eps + (1 - keep) s eps, (T, B, S); None without noise."""
    return None if sigma is None or eps is None else (scale + keep * (sigma - scale)) * eps


class _StraightThrough(torch.autograd.Function):
    """keep = 1 - dropped, (T or 1, B, S), as if it were 1 - d: d keep / d d = -1, times shares."""

    @staticmethod
    def forward(ctx: Any, drop: Tensor, dropped: Tensor, shares: Tensor) -> Tensor:
        ctx.save_for_backward(dropped, shares)
        return torch.logical_not(dropped).to(drop.dtype)

    @staticmethod
    @first_order
    def backward(ctx: Any, d_keep: Tensor) -> tuple[Tensor, None, None]:
        dropped, (share_kept, share_dropped) = ctx.saved_tensors
        every, by_dropped = _split_sums(d_keep, None, dropped)  # (S,) each
        return -(share_kept * (every - by_dropped) + share_dropped * by_dropped), None, None


class _MixtureNoise(torch.autograd.Function):
    """keep sigma eps + (1 - keep) s eps, (T, B, S), straight through the mask to d.

    What autograd would do, in fewer passes over fewer tensors: eps becomes the noise in place, and
    all gradients are sums of its product with the incoming one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        sigma: Tensor,
        scale: Tensor,
        drop: Tensor,  # noqa: ARG004  (it acts through `dropped`)
        dropped: Tensor,
        shares: Tensor,
        eps: Tensor,
    ) -> Tensor:
        noise = eps.mul_(torch.where(dropped, scale, sigma))
        ctx.save_for_backward(sigma, scale, dropped, noise, shares)
        return noise

    @staticmethod
    @first_order
    def backward(ctx: Any, d_noise: Tensor) -> tuple[Tensor | None, ...]:
        sigma, scale, dropped, noise, (share_kept, share_dropped) = ctx.saved_tensors
        every, by_dropped = _split_sums(d_noise, noise, dropped)  # (S,) each
        by_sigma, by_scale = (every - by_dropped) / sigma, by_dropped / scale
        # d noise / d keep = (sigma - s) eps, where eps is noise / sigma or noise / s
        by_drop = (scale - sigma) * (share_kept * by_sigma + share_dropped * by_scale)
        by_scale = by_scale if ctx.needs_input_grad[1] else None
        return by_sigma, by_scale, by_drop, None, None, None


def _split_sums(a: Tensor, b: Tensor | None, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """Sum a, or a b, (T, B, S), over steps and batch: all of it, and where dropped; (S,) each.

    In pieces small enough for the cache, so that no product needs memory of its own.
    """
    every, where_dropped = wide(a.new_zeros((2, a.shape[-1])))
    for start in range(0, a.shape[0], STEPS_AT_ONCE):
        now = slice(start, start + STEPS_AT_ONCE)
        piece = a[now] if b is None else a[now] * b[now]
        every += piece.sum((0, 1))
        where_dropped += (piece * (dropped[now] if len(dropped) > 1 else dropped)).sum((0, 1))
    return every, where_dropped


def relaxed_bernoulli(probability: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draw soft ones in (0, 1): sigmoid((logit p + logit u) / temperature).

    Maddison et al., "The Concrete Distribution", ICLR 2017.

    Args:
        probability: (S,) probability of a one.
        uniform: (..., S) uniform draws in [0, 1).
        temperature: above 0; the lower, the harder.

    Returns:
        (..., S) draws, differentiable in the probability.
    """
    tiny = torch.finfo(uniform.dtype).eps
    logits = torch.logit(probability) + torch.logit(uniform, eps=tiny)
    return torch.sigmoid(logits / temperature)


def kl_bound(
    square: Tensor, sigma: Tensor | None, drop: Tensor | None, scale: Tensor | None
) -> Tensor:
    """Bound KL(q || p) per unit in nats: (1 - d) k.

    k = ln(s / sigma) + (sigma^2 + (mu - m)^2) / (2 s^2) - 1/2; without noise (mu - m)^2 / (2 s^2).

    Args:
        square: (..., S) (mu - m)^2, or its mean over steps (the bound is linear in it).
        sigma: (S,) scale of the posterior's noise; None for no noise.
        drop: (S,) ratio d; None for 0.
        scale: (S,) scale s of the prior; None for 1.

    Returns:
        (..., S) nats per step.
    """
    inverse = None if scale is None else scale.reciprocal()
    k = (square if inverse is None else square * inverse.square()) / 2
    if sigma is not None:
        ratio = sigma if inverse is None else sigma * inverse
        k = k + (ratio.square() - 1) / 2 - ratio.log()
    return k if drop is None else (1 - drop) * k


def mean_square(gap: Tensor, valid: Tensor | None, kept: Tensor | None) -> Tensor:
    """Average a squared gap over steps and batch.

    Args:
        gap: (T, B, S).
        valid: (T, B) which steps count; None for all.
        kept: (1, B, S) weights of the sequences, unit by unit; None for equal ones. A unit kept
            by none is averaged over all.

    Returns:
        (S,) mean squares, of half precision in float32: its sums overflow, or lose digits.
    """
    gap, kept = wide(gap), None if kept is None else wide(kept)
    if valid is None and kept is None:
        if native_draws.usable(gap) and not gap.requires_grad:
            return native_draws.mean_square(gap)
        # In pieces small enough for the cache, of which no square needs memory of its own.
        total = torch.stack(
            [piece.square().sum((0, 1)) for piece in torch.split(gap, STEPS_AT_ONCE)]
        )
        return total.sum(0) / (gap.shape[0] * gap.shape[1])
    square = gap.square()
    if valid is None:
        per_sequence = square.sum(0)  # (B, S)
        count = square.new_full((gap.shape[1], 1), gap.shape[0])  # (B, 1)
    else:
        weight = valid.unsqueeze(-1).to(gap.dtype)  # (T, B, 1)
        per_sequence, count = (square * weight).sum(0), weight.sum(0)
    everyone = per_sequence.sum(0) / count.sum(0)  # (S,)
    if kept is None:
        return everyone
    total = (kept[0] * count).sum(0)  # (S,)
    return torch.where(total > 0, (kept[0] * per_sequence).sum(0) / total.clamp_min(1), everyone)
