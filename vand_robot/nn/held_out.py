"""Held-out adaptation: strengths that follow the loss on data which the weights do not learn from.

A strength that descends the training loss is silenced as the weights learn their data by heart: the
better they know it, the more noise costs. With fixed weights noise can only raise the loss on
other data too. What counts is what noise does to the *next step of the weights*. After a step
w' = w - eta D g(w, s), where g is the training gradient under noise of strength s and D what the
optimizer scales it by, the held-out loss changes with s by the hypergradient

    d L_held(w') / d s = -eta (D grad L_held(w')) . d g(w, s) / d s,    v = D grad L_held(w').

(Luketina et al., "Scalable gradient-based tuning of continuous regularization hyperparameters",
ICML 2016, called T1-T2 there; Lorraine et al., "Optimizing millions of hyperparameters by implicit
differentiation", AISTATS 2020.) It looks one step ahead. What a strength does to later steps is
not counted, so it tends to be too small rather than too large (Wu et al., "Understanding
short-horizon bias in stochastic meta-optimization", ICLR 2018).

**The mixed derivative** v . d g / d s is d/ds of the slope of the training loss along v. Two passes
give it, without a second derivative through the scan, for any cell and regularizer:

    (d/ds L_train(w + r v, s) - d/ds L_train(w - r v, s)) / (2 r),

both with the same random numbers, and each as the mean of a pass and of its mirror image, whose
noise has the other sign. For noise of scale s a single pass gives a derivative of order s and of
either sign, which says nothing, and one of order s^2, which is the regularization. The mirror image
cancels the former. L_train is the part of the loss that the weights descend.

**The optimizer.** Adam's D is 1 / (sqrt(second moment) + eps). D depends on past gradients and is
taken as a constant; momentum spreads the effect of g over later steps, whose weights sum to 1, and
so changes nothing here. Without D the directions in which Adam moves most would count least.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from vand_robot.nn.regularizers.base import Sampler, mirrored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

RADIUS = 1e-3
"""Length of the displacement r v over that of the weights: small beside what bends the loss, large
beside the rounding of float32."""

LARGEST = 3.0
"""Bound of each element of v over their root mean square. A weight that the training data hardly
move, and the held-out ones do, would outweigh all others."""


def held_out_samplers(module: nn.Module) -> list[Sampler]:
    """The samplers in a model whose strengths follow the held-out loss."""
    found = [child for child in module.modules() if isinstance(child, Sampler)]
    return [sampler for sampler in found if sampler.held_out_parameters()]


def sampler_parameters(module: nn.Module) -> set[nn.Parameter]:
    """The parameters in a model that regularizers own."""
    samplers = (child for child in module.modules() if isinstance(child, Sampler))
    return {parameter for sampler in samplers for parameter in sampler.parameters()}


def preconditioned(
    optimizer: torch.optim.Optimizer, weights: Sequence[Tensor], gradients: Sequence[Tensor]
) -> list[Tensor]:
    """Scale gradients as Adam scales those that it steps along.

    Args:
        optimizer: torch's Adam or AdamW; of another, or before its first step, nothing is scaled.
        weights: its parameters.
        gradients: one for each.

    Returns:
        gradient / (sqrt(second moment) + eps) for each.
    """
    options = {p: group for group in optimizer.param_groups for p in group["params"]}
    scaled = []
    for weight, gradient in zip(weights, gradients, strict=True):
        state = optimizer.state.get(weight, {})
        if "exp_avg_sq" in state:
            group = options[weight]
            unbiased = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])
            gradient = gradient / (unbiased.sqrt() + group["eps"])  # noqa: PLW2901
        scaled.append(gradient)
    return scaled


def mixed_derivatives(
    loss: Callable[[], Tensor],
    weights: Sequence[Tensor],
    direction: Sequence[Tensor],
    strengths: Sequence[Tensor],
    radius: float = RADIUS,
) -> list[Tensor]:
    """Differentiate the slope of a loss along a direction of the weights by strengths.

    Args:
        loss: makes a pass and returns a scalar; what is random in it must come from torch's default
            generators, which stand at the same place in all passes, and afterwards as before.
        weights: leaves, which are moved and put back.
        direction: v, a tensor for each weight.
        strengths: leaves.
        radius: length of the displacement over that of the weights.

    Returns:
        d/ds (v . d loss / d weights), for each strength a tensor of its shape.
    """
    length = torch.stack([v.norm() for v in direction]).norm()
    if not bool(length > 0):
        return [torch.zeros_like(strength) for strength in strengths]
    size = torch.stack([w.detach().norm() for w in weights]).norm()
    step = float(radius * size.clamp_min(1e-12) / length)
    devices = sorted({w.get_device() for w in weights if w.is_cuda})
    before = [weight.detach().clone() for weight in weights]
    found = [torch.zeros_like(strength) for strength in strengths]
    try:
        for signed, mirror in itertools.product((step, -step), (False, True)):
            with torch.no_grad():
                for weight, start, v in zip(weights, before, direction, strict=True):
                    weight.copy_(start + signed * v)
            with torch.random.fork_rng(devices), mirrored(mirror):
                slopes = torch.autograd.grad(loss(), list(strengths), allow_unused=True)
            for total, slope in zip(found, slopes, strict=True):
                if slope is not None:
                    total.add_(slope, alpha=1 / (4 * signed))
    finally:
        with torch.no_grad():
            for weight, start in zip(weights, before, strict=True):
                weight.copy_(start)
    return found


def adapt_held_out(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_loss: Callable[[], Tensor],
    held_out_loss: Callable[[], Tensor],
    *,
    direct: Sequence[Tensor] = (),
    radius: float = RADIUS,
) -> Tensor:
    """Step the strengths that follow the held-out loss: after `optimizer.step()`, now and then.

    Gradients in the model are dropped. Before each ordinary `optimizer.step()` drop those of
    `held_out_parameters()`, see `drop_gradients`, or the strengths descend the training loss too.

    Args:
        module: a model in training mode, its recurrent layers at any depth.
        optimizer: of all its parameters.
        train_loss: makes a pass over training data as in training, and returns what the *weights*
            descend: the loss without the penalty of an implicit regularizer.
        held_out_loss: makes a pass over held-out data as at inference, and returns its loss.
        direct: parameters, the spread of a head for instance, that the regularizer does not own and
            that descend the held-out loss itself.
        radius: see `mixed_derivatives`.

    Returns:
        Scalar, the held-out loss; detached.
    """
    samplers = held_out_samplers(module)
    others = sampler_parameters(module) | set(direct)
    weights = [p for p in module.parameters() if p.requires_grad and p not in others]
    loss = held_out_loss()
    found = torch.autograd.grad(loss, [*weights, *direct], allow_unused=True)
    used = [(w, g) for w, g in zip(weights, found, strict=False) if g is not None]
    optimizer.zero_grad()
    if samplers and used:
        weights = [weight for weight, _ in used]
        direction = preconditioned(optimizer, weights, [gradient for _, gradient in used])
        direction = _bounded(direction)
        strengths = [s for sampler in samplers for s in sampler.strengths()]
        mixed = iter(mixed_derivatives(train_loss, weights, direction, strengths, radius))
        for sampler in samplers:
            sampler.take_hypergradients([-next(mixed) for _ in sampler.strengths()], optimizer)
    for parameter, gradient in zip(direct, found[len(found) - len(direct) :], strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def _bounded(direction: Sequence[Tensor]) -> list[Tensor]:
    """The direction with a root mean square of 1, each element bounded by `LARGEST`."""
    square = torch.stack([v.square().sum() for v in direction]).sum()
    rms = (square / sum(v.numel() for v in direction)).sqrt().clamp_min(1e-30)
    return [(v / rms).clamp(-LARGEST, LARGEST) for v in direction]


def drop_gradients(module: nn.Module, direct: Sequence[Tensor] = ()) -> None:
    """Drop the training gradients of what follows the held-out loss; before `optimizer.step()`."""
    for sampler in held_out_samplers(module):
        for strength in sampler.held_out_parameters():
            strength.grad = None
    for parameter in direct:
        parameter.grad = None
