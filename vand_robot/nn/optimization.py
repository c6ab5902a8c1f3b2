"""Training with regularizers: the dual step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vand_robot.nn.regularizers.base import Sampler

if TYPE_CHECKING:
    from torch import nn


def dual_step(module: nn.Module) -> None:
    """Make the dual step of every regularizer in a model: once, after `optimizer.step()`.

    It moves VAND's beta towards its budget, and does nothing where there is no budget.

    Args:
        module: a model, its recurrent layers at any depth.
    """
    for child in module.modules():
        if isinstance(child, Sampler):
            child.dual_step()
