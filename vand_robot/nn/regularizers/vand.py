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
unit kept and dropped. "trapezoid", the default, weighs samples so that both ends count half, which
is exact for a quadratic loss (Liu et al., "Bridging Discrete and Backpropagation", NeurIPS 2023,
call it second-order). "straight-through" takes the slope where the sample is, so for small d the
slope at "kept", and is blind to curvature: near an optimum, where slopes vanish, dropping seems
nearly free. Measured by `tests/benchmarks/estimators.py` at nine trained networks of 16 units (GRU
and LSTM, recall and sine, d of 0.02 or 0.1), beside finite differences of the loss in the logit of
d with common random numbers: straight-through sees -12 to 46 % of the derivative, the trapezoid
92 to 105 % at seven of them, 64 % and 158 % at two (recall). Of five pairs of trainings that
differ in the estimator alone, the trapezoid ended with the lower bound in four; it was worse in
recall with an LSTM. The trapezoid's standard deviation at batch 32 is 0.07 to 2.9 times its mean.
Other masks change that by a factor (median of the nine; range): antithetic ones 0.89 (0.23 to
1.5), as many dropped in every draw 0.96 (0.36 to 1.7), one mask for the whole batch 2.2 (0.22 to
2.8). None is better for certain, so masks are drawn independently.
"relaxed" makes soft masks (a concrete distribution), whose gradient is exact but belongs to
another, soft, network.

**One draw of noise.** A unit is kept or dropped, never both, so one eps serves both components.
The distribution is the same, a draw is saved, and in the straight-through gradient of d the two
components share their noise, which lowers its variance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor, nn

from vand_robot.nn.held_out import preconditioned
from vand_robot.nn.kernel.affine import IDENTITY, AffineMap
from vand_robot.nn.kernel.formula import HALF
from vand_robot.nn.kernel.normals import draw_normals
from vand_robot.nn.regularizers.base import (
    Mask,
    Regularizer,
    RegularizerTerms,
    Sample,
    Sampler,
    is_mirrored,
)
from vand_robot.nn.regularizers.options import Range
from vand_robot.nn.regularizers.vand_posterior import (
    draw_mixture,
    formula_noise,
    kl_bound,
    mean_square,
    relaxed_bernoulli,
    wide,
)
from vand_robot.nn.shards import whole_mean, whole_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Estimator = Literal["straight-through", "trapezoid", "relaxed"]
Adaptation = Literal["training", "held_out", "held_out_beta"]

BETA_RANGE = (1e-6, 1e2)
"""Where dual ascent keeps beta: below, memory is free; above, nothing else counts."""

DAMPING = 2.0
"""Proportional part of dual ascent: beta is scaled by (KL / budget)^DAMPING. Ascent alone, an
integrator, swings about the budget for hundreds of updates; this makes it settle. Stooke et al.,
"Responsive Safety in Reinforcement Learning by PID Lagrangian Methods", ICML 2020."""

_TINY = 1e-30
"""What nothing is divided by less than."""

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

    estimator: Estimator = "trapezoid"
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

    adaptation: Adaptation = "training"
    """What moves sigma and d: "training", the bound on the training data; "held_out", what they do
    to the held-out loss by way of the weights; "held_out_beta": the bound, whose beta follows the
    held-out loss. See `vand_robot.nn.held_out`."""

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
        if self.adaptation != "training" and (self.budget is not None or not self.adaptive):
            other = "a budget" if self.budget is not None else "adaptive=False"
            raise ValueError(f"adaptation={self.adaptation!r} does not go with {other}")
        if (
            self.budget is not None or self.adaptation == "held_out_beta"
        ) and self.beta not in Range(*BETA_RANGE, open_high=False):
            low, high = BETA_RANGE
            raise ValueError(
                f"beta must lie in [{low:g}, {high:g}] where it moves; got {self.beta!r}"
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

        def per_unit(present: bool) -> nn.Parameter | None:
            empty = torch.empty(num_layers, state_size)
            return nn.Parameter(empty, requires_grad=recipe.adaptive) if present else None

        self.log_sigma = per_unit(recipe.noise)
        self.drop_logit = per_unit(recipe.dropout)
        self.log_prior = per_unit(recipe.prior == "learned")
        follows = recipe.adaptation == "held_out_beta"
        self.log_beta = nn.Parameter(torch.empty(())) if follows else None
        # Only what dual ascent has found is worth keeping: a fixed beta is the recipe's.
        self.register_buffer("beta", torch.empty(()), persistent=recipe.budget is not None)
        self._paid: list[tuple[Tensor, Tensor | int]] = []  # KL and steps, for `dual_step`
        self._pulls: tuple[Tensor, ...] = ()  # dKL / d strength of the last pass
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """See `Sampler.reset_parameters`."""
        self._fill("sigma", "drop", "prior", "beta")
        self._paid = []

    def _fill(self, *names: str) -> None:
        """Put parameters of these names to where the recipe has them."""
        recipe = self.vand
        share = (recipe.drop - recipe.drop_min) / (1 - 2 * recipe.drop_min)
        for name, parameter, value in (
            ("sigma", self.log_sigma, math.log(recipe.sigma - recipe.sigma_min)),
            ("drop", self.drop_logit, math.log(share / (1 - share))),
            ("prior", self.log_prior, 0.0),
            ("beta", self.beta, recipe.beta),
            ("beta", self.log_beta, math.log(recipe.beta) if self.log_beta is not None else 0.0),
        ):
            if name in names and parameter is not None:
                parameter.fill_(value)

    def numbers(self) -> tuple[str, ...]:
        """See `Sampler.numbers`; floors are what the parameters are made with."""
        return tuple(name for name in super().numbers() if not name.endswith("_min"))

    @torch.no_grad()
    def set_option(self, name: str, value: float) -> bool:
        """See `Sampler.set_option`; what is learned, or set by dual ascent, cannot be set."""
        if name in ("sigma", "drop") and self.vand.adaptive:
            raise ValueError(f"{name} is learned: a schedule of it needs adaptive=False")
        if name == "beta" and self.vand.budget is not None:
            raise ValueError("beta is set by dual ascent: a schedule can be of the budget")
        if name == "budget" and self.vand.budget is None:
            raise ValueError("a schedule of the budget needs a budget to begin with")
        if not super().set_option(name, value):
            return False
        assert isinstance(self.recipe, Vand)  # noqa: S101  (narrows the type)
        self.vand = self.recipe
        self._fill(name)
        return True

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        """Load a beta only where dual ascent moves it; a fixed one is the recipe's own."""
        key = f"{prefix}beta"
        if self.vand.budget is None:
            state_dict.pop(key, None)
        else:
            state_dict.setdefault(key, self.beta)
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    @property
    def sigma(self) -> Tensor | None:
        """(num_layers, S) scale of the noise; None without noise."""
        if self.log_sigma is None:
            return None
        return self.vand.sigma_min + wide(self.log_sigma).exp()

    @property
    def drop(self) -> Tensor | None:
        """(num_layers, S) ratio at which memory is dropped; None without dropout."""
        if self.drop_logit is None:
            return None
        low = self.vand.drop_min
        return low + (1 - 2 * low) * torch.sigmoid(wide(self.drop_logit))

    @property
    def prior_scale(self) -> Tensor | None:
        """(num_layers, S) scale of the prior; None stands for 1."""
        return None if self.log_prior is None else wide(self.log_prior).exp()

    def sample(self, layer: int, steps: int, like: Tensor) -> Sample:
        """See `Sampler.sample`; of a layer in half precision, drawn in float32."""
        like = wide(like)
        sigma, drop, scale = (
            None if value is None else value[layer]
            for value in (self.sigma, self.drop, self.prior_scale)
        )  # (S,) each
        keep, noise = self._draw(sigma, drop, scale, steps, like)
        if noise is not None and is_mirrored():
            noise = -noise

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
        hard = drop is not None and self.vand.estimator != "relaxed"
        eps = None  # drawn with the mask where masks are hard
        if sigma is not None and not hard:
            eps = draw_normals((steps, *like.shape), like)
        if drop is None:
            return None, None if sigma is None or eps is None else sigma * eps
        mask_steps = steps if self.vand.mask == "step" else 1
        scale = torch.ones((), **options) if scale is None else scale
        if self.vand.estimator == "relaxed":
            uniform = torch.rand(mask_steps, *like.shape, **options)
            keep = relaxed_bernoulli(1 - drop, uniform, self.vand.temperature)
            return keep, formula_noise(sigma, scale, keep, eps)
        trapezoid = self.vand.estimator == "trapezoid"
        return draw_mixture(sigma, scale, drop, trapezoid, (steps, mask_steps), like)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VandSampler:
        """Move or convert the module; but beta not to half precision, where it could not move."""
        beta = self.beta
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.beta.dtype in HALF:
            self.beta = beta.to(self.beta.device)
        return self

    def terms(self, kl: Tensor) -> RegularizerTerms:
        """See `Sampler.terms`; with a budget, the KL weighs more the further it is above it."""
        beta = self._beta_now()
        if self.vand.budget is not None and self.training and torch.is_grad_enabled():
            beta = beta * torch.exp(DAMPING * self._excess(whole_mean(kl), self.vand.budget))
        if self.log_beta is not None and kl.requires_grad:
            self._pulls = torch.autograd.grad(kl, self.strengths(), retain_graph=True)
        metrics = {**self.metrics(), "beta": beta, "memory_nats": kl.detach()}
        return RegularizerTerms(kl=kl, penalty=beta * kl, metric_tensors=metrics)

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
        weights = torch.stack(
            [torch.as_tensor(steps, dtype=kl.dtype, device=kl.device) for kl, steps in paid]
        )
        kls = torch.stack([kl for kl, _ in paid])
        sums = whole_sums(torch.stack([(weights.to(kls) * kls).sum(), weights.sum().to(kls)]))
        mean = sums[0] / sums[1].clamp_min(1)
        self._paid = []
        self.beta.mul_(torch.exp(self.vand.dual_rate * self._excess(mean, budget)))
        self.beta.clamp_(*BETA_RANGE)

    @staticmethod
    def _excess(kl: Tensor, budget: float) -> Tensor:
        """Return ln(KL / budget), clamped; 0 for a KL that is not finite or not above zero."""
        usable = kl.isfinite() & (kl > 0)  # others would put a NaN into beta, for good
        return (kl / budget).log().clamp(-1, 1).where(usable, 0.0)

    @torch.no_grad()
    def metrics(self) -> dict[str, Tensor]:
        """See `Sampler.metrics`."""
        learned = {"sigma": self.sigma, "drop": self.drop, "prior": self.prior_scale}
        means = {key: value.mean() for key, value in learned.items() if value is not None}
        return {**means, "beta": self._beta_now()}

    def _beta_now(self) -> Tensor:
        """Scalar, the weight of the KL, detached."""
        if self.log_beta is None:
            return self.beta.clone()
        return wide(self.log_beta.detach()).exp().clamp(*BETA_RANGE)

    def strengths(self) -> Sequence[nn.Parameter]:
        """See `Sampler.strengths`."""
        return [p for p in (self.log_sigma, self.drop_logit) if p is not None]

    def held_out_parameters(self) -> Sequence[nn.Parameter]:
        """See `Sampler.held_out_parameters`."""
        if self.log_beta is not None:
            return [self.log_beta]
        return self.strengths() if self.vand.adaptation == "held_out" else []

    def take_hypergradients(
        self, gradients: Sequence[Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        """See `Sampler.take_hypergradients`.

        Now and then one is a hundred times the others: backpropagation over hundreds of steps has
        heavy tails. So each counts by its direction, with a mean square of 1 over the units. ln
        beta has no effect of its own on the weights: it moves the strengths, by -beta D dKL / ds
        for a learning rate of 1, and these the held-out loss; what counts is the cosine between
        that move and their hypergradients.
        """
        strengths = self.strengths()
        if self.log_beta is None:
            for strength, gradient in zip(strengths, gradients, strict=True):
                strength.grad = gradient / gradient.square().mean().sqrt().clamp_min(_TINY)
            return
        moves = [-pull for pull in preconditioned(optimizer, strengths, self._pulls)]
        joined = [torch.cat([x.flatten() for x in one]) for one in (gradients, moves)]
        length = (joined[0].norm() * joined[1].norm()).clamp_min(_TINY)
        self.log_beta.grad = (joined[0] @ joined[1]) / length
