"""Training with regularizers: the penalty of a model, and the dual step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vand_robot.nn.recurrent import Recurrent
from vand_robot.nn.regularizers.base import Sampler

if TYPE_CHECKING:
    from torch import Tensor, nn


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
