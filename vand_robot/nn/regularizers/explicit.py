"""The explicit regularizer that unbiased noise on the state amounts to.

Dieng et al., "Noisin", ICML 2018, expand the expected loss of a noisy network around its answers.
With a likelihood of the exponential family, natural parameters `V h + b` and log-partition A, what
noise adds to the loss of a step is, for weak noise,

    1/2 tr( grad^2 A(V mu_t + b) V Cov(z_t | z_{t-1}) V^T ),

the curvature of the likelihood times the *conditional* covariance of the noisy state z_t: that of
the present step's noise alone, given the state before it, which the noise of earlier steps has
moved. `explicit_regularizer` computes it along one noisy path; its mean over paths is the paper's.

What the noise of all steps up to t does to a prediction is more: by the law of total variance, the
*marginal* covariance is the mean conditional one plus the covariance of the means. For a Gaussian
likelihood `marginal_regularizer` measures that, from many noisy runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vand_robot.nn.heads import BernoulliHead, CategoricalHead, GaussianHead, PoissonHead
from vand_robot.nn.kernel.random_mask import require_mask
from vand_robot.nn.regularizers.noisin import Noisin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vand_robot.nn.recurrent import Recurrent

    Head = BernoulliHead | CategoricalHead | GaussianHead | PoissonHead


def explicit_regularizer(
    layer: Recurrent[Any], head: Head, x: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return what Noisin's noise adds to the expected loss, by the paper's formula for weak noise.

    With noise in several layers, the conditional covariance is that of the last layer's noise,
    given all that is below it.

    Args:
        layer: a network with a `Noisin` regularizer; one noisy path is drawn.
        head: its likelihood. A Gaussian's spread is taken as it is at the mean.
        x: (T, B, I) inputs.
        mask: (T, B) booleans, which steps count; None for all.

    Returns:
        Scalar [nats per step], differentiable in the weights.

    Raises:
        TypeError: if the regularizer is not Noisin, the head has no such formula, or the mask is
            not of booleans.
        ValueError: if the layer's output is not a part of its state, the mask's shape does not
            fit, or no step counts.
    """
    recipe = layer.regularizer.recipe
    if not isinstance(recipe, Noisin):
        raise TypeError(f"explicit_regularizer expects Noisin; got {type(recipe).__name__}")
    if layer.regularized_hidden != layer.hidden_size:
        raise ValueError(
            f"explicit_regularizer expects an output that is part of the state; that of a"
            f" {type(layer).__name__} is not"
        )
    mean = _means(layer, x, noisy=recipe.unbiased == "weak")  # (T, B, H)
    variance = torch.full_like(mean, recipe.variance)
    if recipe.form == "multiplicative":
        variance = variance * mean.square()
    per_step = (variance * _curvature(head, mean)).sum(-1) / 2  # (T, B)
    return _mean_of_steps(per_step, mask)


def marginal_regularizer(
    predictions: Tensor, std: Tensor | float = 1.0, mask: Tensor | None = None
) -> Tensor:
    """Return what noise adds to the expected loss of a Gaussian likelihood, exactly, by sampling.

    With a fixed spread, the expected negative log likelihood of a noisy mean exceeds that of the
    mean's expectation by half the trace of the prediction's covariance, in units of the spread:
    `E[(y - f)^2] / (2 std^2) = (y - E f)^2 / (2 std^2) + Var(f) / (2 std^2)`.

    Args:
        predictions: (K, ..., A) means predicted under K draws of the noise, K > 1.
        std: (..., A) or number, the likelihood's standard deviation.
        mask: (...) booleans, which steps count; None for all.

    Returns:
        Scalar [nats per step].

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if there are fewer than two draws, if the mask's shape does not fit, or if no
            step counts.
    """
    if predictions.shape[0] < 2:
        raise ValueError(f"a covariance needs at least 2 draws; got {predictions.shape[0]}")
    variance = predictions.var(0)  # (..., A)
    return _mean_of_steps((variance / torch.as_tensor(std).square() / 2).sum(-1), mask)


def _means(layer: Recurrent[Any], x: Tensor, *, noisy: bool) -> Tensor:
    """Return E[h_t | state before], (T, B, H), of the last layer along one path."""
    steps, batch, _ = x.shape
    inputs = x
    for index in range(layer.num_layers):
        start = layer.initial_state(batch, dtype=x.dtype)[index]  # (B, S)
        if noisy:
            affine = layer.regularizer.sample(index, steps, start).affine
        else:
            affine = layer.regularizer.expected(start)
        states = layer.scan_layer(index, inputs, start, affine).states  # (T, B, S)
        before = torch.cat((start.unsqueeze(0), states[:-1]))
        mean = layer.answer(index, inputs.flatten(0, 1), before.flatten(0, 1))  # (T B, S)
        inputs = layer.readout(index, states, inputs)
    return mean[:, : layer.hidden_size].view(steps, batch, -1)


def _curvature(head: nn.Module, mean: Tensor) -> Tensor:
    """Return the diagonal of V^T grad^2 A V, (..., F): how a likelihood bends along each unit."""
    if isinstance(head, CategoricalHead):
        p, weight = head.forward(mean).softmax(-1), head.linear.weight
        return p @ weight.square() - (p @ weight).square()  # grad^2 A = diag(p) - p p^T
    if isinstance(head, GaussianHead):
        _, log_std = head.forward(mean)
        weight = head.linear.weight[: head.out_features]  # without the rows of the spread
        bends = torch.exp(-2 * log_std)
    elif isinstance(head, BernoulliHead):
        p, weight = head.mean(mean), head.linear.weight
        bends = p * (1 - p)
    elif isinstance(head, PoissonHead):
        bends, weight = head.mean(mean), head.linear.weight
    else:
        known = "BernoulliHead, CategoricalHead, GaussianHead or PoissonHead"
        raise TypeError(f"explicit_regularizer expects a {known}; got {type(head).__name__}")
    return bends @ weight.square()


def _mean_of_steps(per_step: Tensor, mask: Tensor | None) -> Tensor:
    """Average over the steps that count."""
    if mask is None:
        return per_step.mean()
    require_mask(mask, per_step.shape)
    return per_step[mask].mean()
