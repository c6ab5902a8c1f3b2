"""Noisin: unbiased noise on the hidden state, in eight distributions; and what goes with it.

Source: Dieng, Ranganath, Altosaar & Blei, "Noisin: Unbiased Regularization for Recurrent Neural
Networks", ICML 2018: the unbiased injection, weak and strong, additive and multiplicative, the
table of distributions, and the dropout-LSTM it is put on top of.

The noise is standardized so that the spread alone sets its amount. The deterministic state that
stands for it is the noiseless one: weakly unbiased noise enters the recurrence, and it is
E[h_t | h_{t-1}] that equals the cell's answer; strongly unbiased noise touches the last layer's
output alone, and E[h_t] is the deterministic state itself, at every t. What the noise amounts to as
a term of the loss is in `explicit.py`.

**Oddities of the paper's table.** Its scaled noise does not have one variance for one gamma: that
is gamma^2 for normal, gamma, Gumbel, Laplace and logistic noise, but gamma for beta and chi-square,
and (1 - gamma) / gamma for Bernoulli, whose gamma is the probability to keep, so that noise *falls*
as gamma rises and is none at 1. Bernoulli noise alone is scaled to mean 1, the others to mean 0.
Gamma's and beta's alpha does not touch the variance; it sets the shape, and gamma, Gumbel, beta and
chi-square noise are skewed. The paper says that only the variance matters; `Noisin.of_variance`
compares distributions at one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from vand_robot.nn.kernel.affine import IDENTITY, AffineMap
from vand_robot.nn.kernel.random_mask import draw_mask
from vand_robot.nn.regularizers.base import Mask, Part, Regularizer
from vand_robot.nn.regularizers.classic import drop_elements
from vand_robot.nn.regularizers.options import Range, require_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Distribution = Literal[
    "normal", "bernoulli", "gamma", "gumbel", "laplace", "logistic", "beta", "chi_square"
]

EULER_MASCHERONI = 0.5772156649015329
"""Mean of the standard Gumbel distribution."""


class Scaled(NamedTuple):
    """A distribution scaled to zero mean."""

    draw: Callable[[float, float, Tensor], Tensor]
    """draw(spread, alpha, like): as many draws as `like` has elements, in its shape."""

    variance: Callable[[float], float]
    """variance(spread) of a draw."""

    spread: Callable[[float], float]
    """spread(variance), the inverse."""


def _uniform(like: Tensor) -> Tensor:
    """Draw from (0, 1), open on both sides so that logarithms are finite.

    torch draws multiples of 2^-24 (of 2^-53 in float64), 0 among them. A 0 stands for all that is
    below the next multiple, so it becomes the middle of that: the smallest positive number in its
    place would be an outlier of 87 scales, once in 2^24 draws.
    """
    step = 2.0**-53 if like.dtype == torch.float64 else 2.0**-24
    return torch.rand_like(like).clamp_(step / 2, 1 - step)


def _normal(spread: float, _: float, like: Tensor) -> Tensor:
    return spread * torch.randn_like(like)


def _bernoulli(spread: float, _: float, like: Tensor) -> Tensor:
    return (torch.rand_like(like) < spread).to(like.dtype) / spread - 1


def _gamma(spread: float, alpha: float, like: Tensor) -> Tensor:
    eta = spread * torch.distributions.Gamma(torch.full_like(like, alpha), 1.0).sample()
    return (eta - alpha * spread) / math.sqrt(alpha)


def _gumbel(spread: float, _: float, like: Tensor) -> Tensor:
    eta = -spread * torch.log(-torch.log(_uniform(like)))
    return math.sqrt(6) / math.pi * (eta - EULER_MASCHERONI * spread)


def _laplace(spread: float, _: float, like: Tensor) -> Tensor:
    sign = torch.sign(torch.rand_like(like) - 0.5)
    return -spread / math.sqrt(2) * sign * torch.log(_uniform(like))


def _logistic(spread: float, _: float, like: Tensor) -> Tensor:
    return math.sqrt(3) / math.pi * spread * torch.logit(_uniform(like))


def _beta(spread: float, alpha: float, like: Tensor) -> Tensor:
    total = alpha + spread
    eta = torch.distributions.Beta(torch.full_like(like, alpha), spread).sample()
    return total * math.sqrt((total + 1) / alpha) * (eta - alpha / total)


def _chi_square(spread: float, _: float, like: Tensor) -> Tensor:
    eta = torch.distributions.Chi2(torch.full_like(like, spread)).sample()
    return (eta - spread) / math.sqrt(2)


DISTRIBUTIONS: Mapping[Distribution, Scaled] = {
    "normal": Scaled(_normal, lambda spread: spread**2, math.sqrt),
    "bernoulli": Scaled(
        _bernoulli, lambda spread: (1 - spread) / spread, lambda variance: 1 / (1 + variance)
    ),
    "gamma": Scaled(_gamma, lambda spread: spread**2, math.sqrt),
    "gumbel": Scaled(_gumbel, lambda spread: spread**2, math.sqrt),
    "laplace": Scaled(_laplace, lambda spread: spread**2, math.sqrt),
    "logistic": Scaled(_logistic, lambda spread: spread**2, math.sqrt),
    "beta": Scaled(_beta, lambda spread: spread, float),
    "chi_square": Scaled(_chi_square, lambda spread: spread, float),
}
"""The paper's table. Its Bernoulli noise, of mean 1, is shifted to mean 0 like the others."""


@dataclass(frozen=True)
class Noisin(Regularizer):
    """h = mu + eps (additive, eps of mean 0) or h = mu (1 + eps) (multiplicative, of mean 1)."""

    distribution: Distribution = "normal"
    """Distribution of the noise; see `DISTRIBUTIONS`."""

    spread: Annotated[float, Range(0, open_low=True)] = 0.1
    """The table's gamma, which sets the variance: gamma^2; for "beta" and "chi_square" gamma; for
    "bernoulli", where it is the probability to keep, (1 - gamma) / gamma."""

    form: Literal["additive", "multiplicative"] = "additive"
    """Whether the noise is added to the state or scales it."""

    unbiased: Literal["weak", "strong"] = "weak"
    """"weak": into the recurrence of every layer; "strong": on the last layer's output alone."""

    alpha: Annotated[float, Range(0, open_low=True)] = 1.0
    """Shape of the "gamma" and "beta" distributions."""

    on: Part = field(default="hidden", kw_only=True)
    """The paper's noise is on the hidden units; "state" takes the LSTM's cell too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unbiased == "strong" and self.on != "hidden":
            raise ValueError('Noisin that is strongly unbiased is on the output; leave on="hidden"')
        if self.distribution == "bernoulli" and self.spread > 1:
            raise ValueError(f"spread must lie in (0, 1] for bernoulli; got {self.spread!r}")

    @classmethod
    def of_variance(cls, distribution: Distribution, variance: float, **options: Any) -> Noisin:
        """Make noise of a given variance: by the paper all that matters of a distribution.

        The table's gamma is a standard deviation for most distributions, a variance for "beta" and
        "chi_square", and for "bernoulli" a probability; so one gamma for all compares unlike noise.

        Args:
            distribution: see `DISTRIBUTIONS`.
            variance: of the noise eps, above 0.
            **options: all options but the spread.

        Returns:
            The recipe, with the spread that gives this variance.

        Raises:
            ValueError: if the variance is not above 0, or an option is bad.
        """
        require_known("distribution", distribution, DISTRIBUTIONS)
        if not variance > 0:
            raise ValueError(f"variance must be above 0; got {variance!r}")
        return cls(distribution, DISTRIBUTIONS[distribution].spread(variance), **options)

    @property
    def variance(self) -> float:
        """Variance of the noise eps."""
        return DISTRIBUTIONS[self.distribution].variance(self.spread)

    def noise(self, like: Tensor) -> Tensor:
        """Draw eps, of mean 0, in the shape of `like`."""
        # Not in half precision: a uniform draw is 0 there once in 2^8 or 2^11, whose logarithm is
        # not finite, and half of the distributions have no draws of it at all.
        wide = like.to(torch.promote_types(like.dtype, torch.float32))
        return DISTRIBUTIONS[self.distribution].draw(self.spread, self.alpha, wide).to(like.dtype)

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        if self.unbiased == "strong":
            return IDENTITY
        eps = self.noise(like.new_empty((steps, *like.shape)))
        return AffineMap(B=eps) if self.form == "additive" else AffineMap(A=1 + eps)

    def perturb_output(self, output: Tensor) -> Tensor:
        """See `Regularizer.perturb_output`."""
        if self.unbiased == "weak":
            return output
        eps = self.noise(output.detach())
        return output + eps if self.form == "additive" else output * (1 + eps)


@dataclass(frozen=True)
class DropoutLSTM(Regularizer):
    """Dropout of inputs, recurrent state and output: the study's dropout-LSTM, for any cell.

    Inputs of every layer and the last output are masked too. The recurrent mask is on the hidden
    state itself, so that the layer above sees what the recurrence sees.
    """

    input: Annotated[float, Range(0, 1)] = 0.5
    """Probability that an element of a layer's input is dropped."""

    recurrent: Annotated[float, Range(0, 1)] = 0.4
    """Probability that a unit of the state is dropped, at each step."""

    output: Annotated[float, Range(0, 1)] = 0.5
    """Probability that an element of the last layer's output is dropped."""

    mask: Mask = "step"
    """Draw all masks for every "step", or one each for the whole "sequence" (Gal & Ghahramani)."""

    on: Part = field(default="hidden", kw_only=True)
    """Whether the recurrent mask spares the LSTM's cell ("hidden") or not ("state")."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        keep = draw_mask(1 - self.recurrent, steps if self.mask == "step" else 1, like)
        return AffineMap(A=keep.to(like.dtype).div_(1 - self.recurrent))

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:  # noqa: ARG002  (all layers alike)
        """See `Regularizer.perturb_input`."""
        return self._dropped(x, self.input)

    def perturb_output(self, output: Tensor) -> Tensor:
        """See `Regularizer.perturb_output`."""
        return self._dropped(output, self.output)

    def _dropped(self, x: Tensor, p: float) -> Tensor:
        if self.mask == "sequence":
            return drop_elements(x, p, self.mask)
        return torch.nn.functional.dropout(x, p)
