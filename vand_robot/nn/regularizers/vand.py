"""VAND: variational adaptive noise and dropout of the internal state.

From Kobayashi & Murata, "Variational Adaptive Noise and Dropout towards Stable Recurrent Neural
Networks", arXiv 2506.01350, are the idea and the bound: the internal state is a latent variable,
and per step, in nats,

    ln p(y_t | x_<=t)  >=  E_q[ln p(y_t | h_t)]  -  KL(q(h_t | x_t, h_{t-1}) || p(h_t | x_t)),

where the posterior q sees the past through `h_{t-1}` and the prior p does not, so that the KL is
what memory costs. Everything below is our own derivation from that bound, not the paper's text.

With `mu_t = f(x_t, h_{t-1})` and the memoryless response `m_t = f(x_t, 0)`, per unit

    p = N(m, s^2),    q = (1 - d) N(mu, sigma^2) + d N(m, s^2).

Sampling q is noise of scale sigma on the state and dropout of its memory at ratio d: a dropped
unit forgets `h_{t-1}` and answers as the prior does. The KL is convex, hence

    KL(q || p) <= (1 - d) k,    k = ln(s / sigma) + (sigma^2 + (mu - m)^2) / (2 s^2) - 1/2.

sigma and d are parameters, one per unit. They descend the whole bound: the data term through the
samples, and beta times the KL in closed form. So a unit's noise grows, and its memory is dropped,
just until that costs the data term more than it saves. The weights see the data term alone (mu
and m are detached in k), which is what makes the regularization implicit; `explicit=True` lets
the KL reach them too.

**One mask per sequence.** Then q is a mixture over whole paths, kept or dropped, and convexity
over paths gives, for T steps, KL <= E[sum_t keep * k_t]: a kept unit pays at every step of the
sequence, a dropped one at none, and per step the bound reads `(1 - d) E[k | kept]`. The
expectation matters: a unit's path depends on its own mask, so k is averaged over the sequences
that kept the unit. With a mask per step the present mask is independent of the present mu, and k
is averaged over all. A sequence is one call of `run`: truncated sequences draw anew.

**Estimators of d.** What dropping a unit costs is a finite difference of the loss, between the
unit kept and dropped. "straight-through" takes the slope where the sample is, so for small d the
slope at "kept", and is blind to curvature: near an optimum, where slopes vanish, dropping seems
nearly free. "trapezoid" weighs samples so that both ends count half, which is exact for a quadratic
loss, at more variance for small d (Liu et al., "Bridging Discrete and Backpropagation", NeurIPS
2023, call it second-order). "relaxed" makes soft masks (a concrete distribution), whose gradient is
exact but belongs to another, soft, network.

**One draw of noise.** A unit is kept or dropped, never both, so one eps serves both components.
The distribution is the same, a draw is saved, and in the straight-through gradient of d the two
components share their noise, which lowers its variance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from vand_robot.nn.kernel.affine import IDENTITY, AffineMap
from vand_robot.nn.kernel.first_order import first_order
from vand_robot.nn.kernel.random_mask import draw_mask
from vand_robot.nn.regularizers.base import (
    Mask,
    Regularizer,
    RegularizerTerms,
    Sample,
    Sampler,
)
from vand_robot.nn.regularizers.options import Range

Estimator = Literal["straight-through", "trapezoid", "relaxed"]

BETA_RANGE = (1e-6, 1e2)
"""Where dual ascent keeps beta: below, memory is free; above, nothing else counts."""

STEPS_AT_ONCE = 32
"""Steps that are squared at once: a matter of speed alone."""

DAMPING = 2.0
"""Proportional part of dual ascent: beta is scaled by (KL / budget)^DAMPING. Ascent alone, an
integrator, swings about the budget for hundreds of updates; this makes it settle. Stooke et al.,
"Responsive Safety in Reinforcement Learning by PID Lagrangian Methods", ICML 2020."""

FORGOTTEN_PASSES = 1000
"""Passes in training mode without a `dual_step` after which a warning says so."""


@dataclass(frozen=True)
class Vand(Regularizer):
    """Adaptive noise and dropout of the state; see the module's text for the mathematics."""

    sigma: Annotated[float, Range(0, open_low=True)] = 0.05
    """Initial scale of the noise, every unit [units of the state]."""

    drop: Annotated[float, Range(0, 1, open_low=True)] = 0.02
    """Initial ratio at which a unit's memory is dropped."""

    beta: Annotated[float, Range(0)] = 1e-3
    """Weight of the KL [per nat]; with a budget, where dual ascent starts."""

    budget: Annotated[float | None, Range(0, open_low=True)] = None
    """Nats of memory per step, all units and layers together, that dual ascent on beta holds."""

    dual_rate: Annotated[float, Range(0)] = 0.02
    """Step of dual ascent: ln beta moves by this times ln(KL / budget), clamped to [-1, 1]."""

    mask: Mask = "step"
    """Draw a mask for every "step", or one for the whole "sequence"."""

    estimator: Estimator = "straight-through"
    """How the data term's gradient reaches d; see `Estimators of d` in the module's text."""

    temperature: Annotated[float, Range(0, open_low=True)] = 0.5
    """Temperature of the relaxed Bernoulli masks; towards 0 they harden."""

    prior: Literal["unit", "learned"] = "unit"
    """The prior's scale s: 1 for every unit, or learned, one per unit, starting at 1."""

    noise: bool = True
    """Whether there is noise. Without it the masks are all that is random: a dropped unit is m
    itself, and k = (mu - m)^2 / (2 s^2), what is left of it for equal scales."""

    dropout: bool = True
    """Whether memory is dropped. Without it d = 0."""

    explicit: bool = False
    """Let the KL's gradient reach the weights too (for the ablation)."""

    adaptive: bool = True
    """Learn sigma and d; otherwise they stay as they start."""

    sigma_min: Annotated[float, Range(0)] = 1e-3
    """Floor of sigma: keeps the KL finite."""

    drop_min: Annotated[float, Range(0, 0.5)] = 1e-4
    """Floor of d, and its distance from 1: keeps its logit finite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on != "state":
            raise ValueError('Vand acts on the whole state; leave on="state"')
        if not (self.noise or self.dropout):
            raise ValueError("Vand needs noise or dropout; for neither use NoRegularizer")
        for name, low, high in (
            ("sigma", self.sigma_min, math.inf),
            ("drop", self.drop_min, 1 - self.drop_min),
        ):
            value, bounds = getattr(self, name), Range(low, high, open_low=True)
            if value not in bounds:
                raise ValueError(f"{name} must lie in {bounds}, by {name}_min; got {value!r}")
        if self.budget is not None and self.beta not in Range(*BETA_RANGE, open_high=False):
            low, high = BETA_RANGE
            raise ValueError(
                f"beta must lie in [{low:g}, {high:g}] with a budget; got {self.beta!r}"
            )

    def bind(self, num_layers: int, hidden_size: int, state_size: int) -> VandSampler:
        """Make the sampler of one network."""
        return VandSampler(self, num_layers, hidden_size, state_size)


class VandSampler(Sampler):
    """The adaptive scales and ratios of one network, (num_layers, S) each.

    Args:
        recipe: the options.
        num_layers: number of layers.
        hidden_size: units per layer, H.
        state_size: state variables per layer, S.
    """

    beta: Tensor
    """Scalar, the weight of the KL."""

    def __init__(self, recipe: Vand, num_layers: int, hidden_size: int, state_size: int) -> None:
        super().__init__(recipe, hidden_size, state_size)
        self.vand = recipe
        shape = (num_layers, state_size)

        def per_unit(value: float) -> nn.Parameter:
            return nn.Parameter(torch.full(shape, value), requires_grad=recipe.adaptive)

        spread = math.log(recipe.sigma - recipe.sigma_min)
        share = (recipe.drop - recipe.drop_min) / (1 - 2 * recipe.drop_min)
        self.log_sigma = per_unit(spread) if recipe.noise else None
        self.drop_logit = per_unit(math.log(share / (1 - share))) if recipe.dropout else None
        self.log_prior = per_unit(0.0) if recipe.prior == "learned" else None
        self.register_buffer("beta", torch.tensor(recipe.beta))
        self._paid: list[tuple[Tensor, Tensor | int]] = []  # KL and steps, for `dual_step`

    @property
    def sigma(self) -> Tensor | None:
        """(num_layers, S) scale of the noise; None without noise."""
        if self.log_sigma is None:
            return None
        return self.vand.sigma_min + self.log_sigma.exp()

    @property
    def drop(self) -> Tensor | None:
        """(num_layers, S) ratio at which memory is dropped; None without dropout."""
        if self.drop_logit is None:
            return None
        low = self.vand.drop_min
        return low + (1 - 2 * low) * torch.sigmoid(self.drop_logit)

    @property
    def prior_scale(self) -> Tensor | None:
        """(num_layers, S) scale of the prior; None stands for 1."""
        return None if self.log_prior is None else self.log_prior.exp()

    def sample(self, layer: int, steps: int, like: Tensor) -> Sample:
        """See `Sampler.sample`."""
        sigma, drop, scale = (
            None if value is None else value[layer]
            for value in (self.sigma, self.drop, self.prior_scale)
        )  # (S,) each
        keep, noise = self._draw(sigma, drop, scale, steps, like)

        def kl(gap: Tensor, valid: Tensor | None) -> Tensor:
            gap = gap if self.vand.explicit else gap.detach()
            kept = keep.detach() if keep is not None and self.vand.mask == "sequence" else None
            return kl_bound(mean_square(gap, valid, kept), sigma, drop, scale).sum()

        if keep is None:
            # The KL needs m all the same; a mask of ones makes the scan give it.
            keep = like.new_ones((1, *like.shape))
        return Sample(AffineMap(B=noise, keep=keep), kl)

    def expected(self, like: Tensor) -> AffineMap:  # noqa: ARG002  (whatever the state)
        """See `Sampler.expected`: the most likely component, memory kept, h = mu.

        Not the mixture's mean: as a running state its memory would decay as (1 - d)^t.
        """
        return IDENTITY

    def _draw(
        self,
        sigma: Tensor | None,
        drop: Tensor | None,
        scale: Tensor | None,
        steps: int,
        like: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Draw what is kept of the memory and the noise to add, (T or 1, B, S) and (T, B, S)."""
        options: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        mask_steps = steps if self.vand.mask == "step" else 1
        scale = torch.ones((), **options) if scale is None else scale
        eps = None if sigma is None else torch.randn(steps, *like.shape, **options)
        if drop is None:
            return None, None if sigma is None or eps is None else sigma * eps
        if self.vand.estimator == "relaxed":
            # In half precision a uniform draw has too few values, 0 and 1 among them.
            options["dtype"] = torch.promote_types(like.dtype, torch.float32)
            uniform = torch.rand(mask_steps, *like.shape, **options)
            keep = relaxed_bernoulli(1 - drop, uniform, self.vand.temperature).to(like.dtype)
            if sigma is None or eps is None:
                return keep, None
            return keep, (scale + keep * (sigma - scale)) * eps
        dropped = draw_mask(drop, mask_steps, like)
        # Weights of what kept and dropped samples say of d, (2, S) or (2, 1).
        if self.vand.estimator == "trapezoid":
            shares = 0.5 / torch.stack((1 - drop.detach(), drop.detach()))
        else:
            shares = like.new_ones((2, 1))
        keep = _StraightThrough.apply(drop, dropped, shares)  # type: ignore[no-untyped-call]  # torch leaves Function.apply untyped
        if sigma is None:
            return keep, None
        noise = _MixtureNoise.apply(sigma, scale, drop, dropped, shares, eps)  # type: ignore[no-untyped-call]  # as above
        return keep, noise

    def terms(self, kl: Tensor) -> RegularizerTerms:
        """See `Sampler.terms`; with a budget, the KL weighs more the further it is above it."""
        beta = self.beta.clone()
        if self.vand.budget is not None and self.training and torch.is_grad_enabled():
            beta = beta * torch.exp(DAMPING * self._excess(kl.detach(), self.vand.budget))
        stats = {**self.stats(), "beta": beta.item(), "memory_nats": kl.item()}
        return RegularizerTerms(kl=kl, penalty=beta * kl, stats=stats)

    def record(self, kl: Tensor, steps: Tensor | int) -> None:
        """See `Sampler.record`."""
        if self.vand.budget is None:
            return
        self._paid.append((kl.detach(), steps))
        if len(self._paid) == FORGOTTEN_PASSES:
            warnings.warn(
                f"Vand has a budget, and dual_step was not called in {FORGOTTEN_PASSES} passes:"
                " call vand_robot.nn.dual_step(model) after optimizer.step()",
                stacklevel=2,
            )
            del self._paid[:-1]

    @torch.no_grad()
    def dual_step(self) -> None:
        """Move beta towards the budget, by the mean KL of all passes since the last call.

        Passes count by their steps; whether a pass was made once or, by checkpointing, twice
        changes nothing, nor in how many pieces a batch was worked on.
        """
        budget, paid = self.vand.budget, self._paid
        if budget is None or not paid:
            return
        weights = torch.stack([torch.as_tensor(steps, dtype=kl.dtype) for kl, steps in paid])
        kls = torch.stack([kl for kl, _ in paid])
        mean = (weights.to(kls) * kls).sum() / weights.sum().clamp_min(1)
        self._paid = []
        self.beta.mul_(torch.exp(self.vand.dual_rate * self._excess(mean, budget)))
        self.beta.clamp_(*BETA_RANGE)

    @staticmethod
    def _excess(kl: Tensor, budget: float) -> Tensor:
        """Return ln(KL / budget), clamped; 0 for a KL that is not finite or not above zero."""
        usable = kl.isfinite() & (kl > 0)  # others would put a NaN into beta, for good
        return (kl / budget).log().clamp(-1, 1).where(usable, 0.0)

    def stats(self) -> dict[str, float]:
        """See `Sampler.stats`."""
        figures = {"sigma": self.sigma, "drop": self.drop, "prior": self.prior_scale}
        means = {key: value.mean().item() for key, value in figures.items() if value is not None}
        return {**means, "beta": self.beta.item()}


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
    every, where_dropped = a.new_zeros((2, a.shape[-1]))
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
        (S,) mean squares.
    """
    if valid is None and kept is None:
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
