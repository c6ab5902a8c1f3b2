"""Output heads and their likelihoods: values, values of several modes, classes, flags, counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from vand_robot.nn.kernel.random_mask import require_mask, require_shape

if TYPE_CHECKING:
    from collections.abc import Callable

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


class CategoricalHead(nn.Module):
    """One of K classes at every step.

    Args:
        in_features: size of the input, F.
        classes: number of classes, K.
    """

    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(in_features, classes)

    def forward(self, h: Tensor) -> Tensor:
        """Predict the logits (..., K) from features (..., F)."""
        logits: Tensor = self.linear(h)
        return logits

    def mean(self, h: Tensor) -> Tensor:
        """Return the most likely class (...): the deterministic answer."""
        return self.forward(h).argmax(-1)

    def sample(self, h: Tensor) -> Tensor:
        """Draw classes (...)."""
        probabilities = self.forward(h).softmax(-1).flatten(0, -2)
        return torch.multinomial(probabilities, 1).view(h.shape[:-1])

    def nll(self, h: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Negative log likelihood.

        Args:
            h: (..., F) features.
            target: (...) integers in 0..K-1.
            mask: (...) booleans, which steps count; None for all.

        Returns:
            Scalar [nats per step], the mean over the steps that count.

        Raises:
            TypeError: if the target is not of integers, or the mask not of booleans.
            ValueError: if a shape does not fit, or no step counts.
        """
        logits = self.forward(h)
        if target.dtype.is_floating_point or target.dtype == torch.bool:
            raise TypeError(f"CategoricalHead expects target: integers; got {target.dtype}")
        require_shape("target", target, logits.shape[:-1])
        if mask is not None:
            require_mask(mask, target.shape)
            logits, target = logits[mask], target[mask]
        return cross_entropy(logits.reshape(-1, self.classes), target.reshape(-1).long())


class BernoulliHead(nn.Module):
    """Independent flags, of A at every step.

    Args:
        in_features: size of the input, F.
        out_features: flags, A.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, h: Tensor) -> Tensor:
        """Predict the logits (..., A) from features (..., F)."""
        logits: Tensor = self.linear(h)
        return logits

    def mean(self, h: Tensor) -> Tensor:
        """Return the probabilities (..., A)."""
        return torch.sigmoid(self.forward(h))

    def sample(self, h: Tensor) -> Tensor:
        """Draw flags (..., A), 0 or 1."""
        return torch.bernoulli(self.mean(h))

    def nll(self, h: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Negative log likelihood of flags in [0, 1], (..., A); see `GaussianHead.nll`.

        Raises:
            TypeError: if the mask is not of booleans.
            ValueError: if a shape does not fit, or no step counts.
        """

        def per_step(logits: Tensor, target: Tensor) -> Tensor:
            flags = target.to(logits.dtype)
            return binary_cross_entropy_with_logits(logits, flags, reduction="none").sum(-1)

        return _mean_nll(self.forward(h), target, mask, per_step)


class PoissonHead(nn.Module):
    """Independent counts, of A at every step.

    Args:
        in_features: size of the input, F.
        out_features: counts, A.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, h: Tensor) -> Tensor:
        """Predict the log rates (..., A) from features (..., F)."""
        log_rate: Tensor = self.linear(h)
        return log_rate

    def mean(self, h: Tensor) -> Tensor:
        """Return the rates (..., A)."""
        return self.forward(h).exp()

    def sample(self, h: Tensor) -> Tensor:
        """Draw counts (..., A)."""
        return torch.poisson(self.mean(h))

    def nll(self, h: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Negative log likelihood of counts (..., A); see `GaussianHead.nll`.

        Raises:
            TypeError: if the mask is not of booleans.
            ValueError: if a shape does not fit, or no step counts.
        """

        def per_step(log_rate: Tensor, target: Tensor) -> Tensor:
            counts = target.to(log_rate.dtype)
            return (log_rate.exp() - counts * log_rate + torch.lgamma(counts + 1)).sum(-1)

        return _mean_nll(self.forward(h), target, mask, per_step)


class GaussianMixtureHead(nn.Module):
    """A mixture of M Gaussians over A dimensions, for targets of several modes.

    The form that robomimic's recurrent policies have (Mandlekar et al. 2021, "What matters in
    learning from offline human demonstrations"): 5 modes, diagonal spreads with a floor. Here the
    spreads are bounded on both sides, as `GaussianHead`'s are.

    Args:
        in_features: size of the input, F.
        out_features: size of the target, A.
        modes: components, M.
        min_std: lower bound of the standard deviations [units of the target].
        max_std: upper bound.

    Raises:
        ValueError: unless 0 < min_std < max_std and there is a mode.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        modes: int = 5,
        min_std: float = MIN_STD,
        max_std: float = MAX_STD,
    ) -> None:
        super().__init__()
        if not 0 < min_std < max_std:
            raise ValueError(
                f"GaussianMixtureHead expects 0 < min_std < max_std; got {min_std!r} and"
                f" {max_std!r}"
            )
        if modes < 1:
            raise ValueError(f"GaussianMixtureHead expects modes >= 1; got {modes!r}")
        self.out_features, self.modes = out_features, modes
        self.low, self.high = math.log(min_std), math.log(max_std)
        self.linear = nn.Linear(in_features, modes * (1 + 2 * out_features))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict.

        Args:
            h: (..., F) features.

        Returns:
            (..., M) log weights, (..., M, A) means and (..., M, A) log standard deviations.
        """
        logits, rest = self.linear.forward(h).tensor_split([self.modes], -1)  # no hooks: control
        mean, raw = rest.view(*rest.shape[:-1], self.modes, 2 * self.out_features).chunk(2, -1)
        log_std = self.low + (self.high - self.low) * torch.sigmoid(raw)
        return logits.log_softmax(-1), mean, log_std

    def mean(self, h: Tensor) -> Tensor:
        """Return the mean (..., A) of the heaviest component: the deterministic answer.

        Not the mixture's mean, which may lie between two modes, where no target is.
        """
        log_weight, mean, _ = self.forward(h)
        return _pick(mean, log_weight.argmax(-1))

    def drawn_mean(self, h: Tensor, uniform: Tensor) -> Tensor:
        """Return the mean (..., A) of a component that is drawn by its weight.

        Args:
            h: (..., F) features.
            uniform: (...) in [0, 1), what decides which; two equal numbers choose alike.
        """
        log_weight, mean, _ = self.forward(h)
        passed = log_weight.exp().cumsum(-1) <= uniform.unsqueeze(-1)  # (..., M)
        return _pick(mean, passed.sum(-1).clamp_max(self.modes - 1))

    def sample(self, h: Tensor) -> Tensor:
        """Draw (..., A) from the prediction."""
        log_weight, mean, log_std = self.forward(h)
        weights = log_weight.exp().flatten(0, -2)
        chosen = torch.multinomial(weights, 1).view(log_weight.shape[:-1])
        drawn = _pick(mean, chosen)
        return drawn + _pick(log_std, chosen).exp() * torch.randn_like(drawn)

    def nll(self, h: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Negative log likelihood of targets (..., A); see `GaussianHead.nll`.

        Raises:
            TypeError: if the mask is not of booleans.
            ValueError: if a shape does not fit, or no step counts.
        """
        log_weight, mean, log_std = self.forward(h)
        require_shape("target", target, (*mean.shape[:-2], self.out_features))
        if mask is not None:
            require_mask(mask, target.shape[:-1])
            log_weight, mean, log_std = log_weight[mask], mean[mask], log_std[mask]
            target = target[mask]
        error = (target.unsqueeze(-2) - mean) * torch.exp(-log_std)  # (..., M, A)
        log_likelihood = -(error.square() / 2 + log_std + HALF_LN_2PI).sum(-1)  # (..., M)
        return -torch.logsumexp(log_weight + log_likelihood, -1).mean()


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """Pick from (..., M, A) the component chosen (...): (..., A)."""
    return values.gather(-2, chosen[..., None, None].expand(*chosen.shape, 1, values.shape[-1]))[
        ..., 0, :
    ]


def _mean_nll(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor | None,
    per_step: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Average what per_step makes of prediction and target, (..., A) both, over valid steps."""
    require_shape("target", target, prediction.shape)
    if mask is not None:
        require_mask(mask, prediction.shape[:-1])
        prediction, target = prediction[mask], target[mask]
    return per_step(prediction, target).mean()
