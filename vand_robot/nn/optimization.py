"""Training with regularizers: groups of parameters, the penalty of a model, the dual step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vand_robot.nn.recurrent import Recurrent
from vand_robot.nn.regularizers.base import Sampler

if TYPE_CHECKING:
    from torch import Tensor


STRENGTH_RATE = 10.0
"""Learning rate of strengths over that of weights. A strength starts far from where it ends (its
logarithm or logit moves by several), and Adam moves every parameter by about its rate a step: with
one rate for all, a budget is missed for thousands of updates."""


def parameter_groups(
    module: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    strength_rate: float = STRENGTH_RATE,
) -> list[dict[str, Any]]:
    """Split a model's parameters into groups for an optimizer.

    What a regularizer has learned, its strengths, must not decay: decay drags VAND's sigma to 1 and
    d to 0.5, where log and logit are 0.

    Args:
        module: a model, its recurrent layers at any depth.
        learning_rate: of all that is no strength.
        weight_decay: of the weight matrices; biases, gains and strengths do not decay.
        strength_rate: the strengths' learning rate, as a multiple of `learning_rate`.

    Returns:
        Three groups, "weights", "biases" and "strengths" by their "name": without those that need
        no gradient, and without empty ones. "rate" of a group is the multiple of `learning_rate`
        that its "lr" is, for whoever sets "lr" at every step; torch's schedulers need it not.

    Raises:
        ValueError: if a rate or the decay is below 0.
    """
    for name, value in (("weight_decay", weight_decay), ("strength_rate", strength_rate)):
        if not value >= 0:
            raise ValueError(f"{name} must be >= 0; got {value!r}")
    strengths: set[Tensor] = set()
    for child in module.modules():
        if isinstance(child, Sampler):
            strengths |= set(child.parameters())
    groups: dict[str, list[Tensor]] = {"weights": [], "biases": [], "strengths": []}
    for parameter in module.parameters():
        matrix = "weights" if parameter.ndim >= 2 else "biases"
        if parameter.requires_grad:
            groups["strengths" if parameter in strengths else matrix].append(parameter)
    rates = {"strengths": strength_rate}
    decays = {"weights": weight_decay}
    return [
        {
            "name": name,
            "params": members,
            "lr": learning_rate * rates.get(name, 1.0),
            "rate": rates.get(name, 1.0),
            "weight_decay": decays.get(name, 0.0),
        }
        for name, members in groups.items()
        if members
    ]


def collect_penalty(module: nn.Module) -> Tensor:
    """Sum the penalties of all recurrent layers in a model, for its loss.

    Args:
        module: a model that has just made its forward pass, in `nn.Sequential` or however. Of a
            layer that made several passes, the last counts; add `run(...).terms.penalty` yourself
            where all should.

    Returns:
        Scalar; zero if there are none, or they made no pass in training mode.
    """
    layers = (child for child in module.modules() if isinstance(child, Recurrent))
    found = [layer.terms.penalty for layer in layers if layer.terms is not None]
    return torch.stack(found).sum() if found else torch.zeros(())


def dual_step(module: nn.Module) -> None:
    """Make the dual step of every regularizer in a model: once, after `optimizer.step()`.

    It moves VAND's beta towards its budget, and does nothing where there is no budget.

    Args:
        module: a model, its recurrent layers at any depth.
    """
    for child in module.modules():
        if isinstance(child, Sampler):
            child.dual_step()
