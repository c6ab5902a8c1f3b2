"""Output heads: a Gaussian with its own spread for every dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vand_robot.nn.kernel.random_mask import require_mask, require_shape

MIN_STD = 0.01
"""Smallest standard deviation by default [units of the target]: 1 % of a target scaled to 1."""

MAX_STD = 2.0
"""Largest standard deviation by default: the whole range of a target in [-1, 1]."""

HALF_LN_2PI = 0.5 * math.log(2 * math.pi)
"""Entropy's constant of the unit Gaussian [nats]."""


class GaussianHead(nn.Module):
    """Linear mean, and a log standard deviation that is bounded smoothly.

    The deterministic answer at inference is the mean.

    A predicted spread weighs each error by the inverse of its own variance: what the mean does not
    fit yet, the spread explains away, and the mean then learns it last (Seitzer et al. 2022, "On
    the pitfalls of heteroscedastic uncertainty estimation"). A shared spread, one learned number
    for each dimension, weighs all inputs alike; choose it where the mean is what counts.

    Args:
        in_features: size of the input, F.
        out_features: size of the target, A.
        min_std: lower bound of the standard deviation [units of the target].
        max_std: upper bound.
        shared_std: whether the standard deviation is one learned number for each dimension,
            instead of predicted from the input.

    Raises:
        ValueError: unless 0 < min_std < max_std.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        min_std: float = MIN_STD,
        max_std: float = MAX_STD,
        *,
        shared_std: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < min_std < max_std:
            raise ValueError(
                f"GaussianHead expects 0 < min_std < max_std; got {min_std!r} and {max_std!r}"
            )
        self.out_features = out_features
        self.low, self.high = math.log(min_std), math.log(max_std)
        self.linear = nn.Linear(in_features, out_features if shared_std else 2 * out_features)
        self.raw_std = nn.Parameter(torch.zeros(out_features)) if shared_std else None

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            h: (..., F) features.

        Returns:
            (..., A) mean and (..., A) log standard deviation, strictly inside its bounds.
        """
        if self.raw_std is None:
            mean, raw = self.linear(h).chunk(2, -1)
        else:
            mean = self.linear(h)
            raw = self.raw_std.expand_as(mean)
        return mean, self.low + (self.high - self.low) * torch.sigmoid(raw)

    def mean(self, h: Tensor) -> Tensor:
        """Predict the mean (..., A) alone: the deterministic answer."""
        mean = self.linear.forward(h)  # no hooks: this is on the path of control
        return mean if self.raw_std is not None else mean[..., : self.out_features]

    def sample(self, h: Tensor) -> Tensor:
        """Draw (..., A) from the prediction."""
        mean, log_std = self.forward(h)
        return mean + log_std.exp() * torch.randn_like(mean)

    def nll(self, h: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Negative log likelihood.

        Args:
            h: (..., F) features.
            target: (..., A).
            mask: (...) booleans, which steps count; None for all.

        Returns:
            Scalar [nats per step]: sum over dimensions, mean over the steps that count.

        Raises:
            TypeError: if the mask is not of booleans.
            ValueError: if a shape does not fit, or no step counts.
        """
        mean, log_std = self.forward(h)
        return gaussian_nll(mean, log_std, target, mask)


def gaussian_nll(
    mean: Tensor, log_std: Tensor, target: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Negative log likelihood of independent Gaussians.

    Args:
        mean: (..., A).
        log_std: (..., A), or (A,) for all steps.
        target: (..., A).
        mask: (...) booleans, which steps count; None for all. What the others hold, even NaN, is
            ignored.

    Returns:
        Scalar [nats per step]: sum over dimensions, mean over the steps that count.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if a shape does not fit, or no step counts.
    """
    if log_std.shape == mean.shape[-1:]:
        log_std = log_std.expand_as(mean)
    require_shape("log_std", log_std, mean.shape)
    require_shape("target", target, mean.shape)
    if mask is not None:
        require_mask(mask, mean.shape[:-1])
        mean, log_std, target = mean[mask], log_std[mask], target[mask]  # (N, A)
    error = (target - mean) * torch.exp(-log_std)
    per_step = (error.square() / 2 + log_std + HALF_LN_2PI).sum(-1)
    return per_step.mean()
