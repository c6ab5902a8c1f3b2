"""The optimizer and its learning rate."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vand_envs.errors import VandError
from vand_robot.config.schema import OptimizerConfig
from vand_robot.nn import parameter_groups
from vand_robot.policies.checkpoint import require_tensors
from vand_robot.policies.recurrent import RecurrentPolicy

STEP, MOMENTS = "step", ("exp_avg", "exp_avg_sq")
"""Parts of the trainer's tensors: what the optimizer knows of each parameter."""

WEIGHTS = "weights"
"""Part of the trainer's tensors: the weights themselves, where the policy is their average."""


def make_optimizer(policy: RecurrentPolicy, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over `vand_robot.nn.parameter_groups`: weight matrices decay, and nothing else."""
    groups = parameter_groups(
        policy,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        strength_rate=config.strength_rate,
    )
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an update in every group, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def require_training_tensors(
    file: Path,
    tensors: Mapping[str, Tensor],
    policy: RecurrentPolicy,
    weights: Mapping[str, Tensor],
) -> None:
    """Checks the tensors that training goes on from: names, shapes, types, finite numbers.

    Args:
        file: Where they are from, for error messages.
        tensors: `exp_avg/<parameter>` and so on.
        policy: The policy that is trained; a parameter that never had a gradient has no entry.
        weights: Its state where it must be among the tensors, or empty.

    Raises:
        VandError: A tensor does not belong to this policy and optimizer.
    """
    expected = {
        f"{part}/{name}": torch.zeros(()) if part == STEP else parameter
        for name, parameter in policy.named_parameters()
        for part in (STEP, *MOMENTS)
        if any(f"{one}/{name}" in tensors for one in (STEP, *MOMENTS))
    }
    require_tensors(
        file, tensors, expected | {f"{WEIGHTS}/{name}": t for name, t in weights.items()}
    )
    for name, tensor in tensors.items():
        if name.startswith((f"{STEP}/", f"{MOMENTS[-1]}/")) and bool((tensor < 0).any()):
            raise VandError(f"{file}: tensor {name!r}: expected no number below 0")


def learning_rate(update: int, updates: int, config: OptimizerConfig) -> float:
    """Learning rate of an update, counted from 1: linear warm-up, then a cosine down."""
    warmup = min(config.warmup_updates, updates)
    if update <= warmup:
        return config.learning_rate * update / warmup
    cosine = (1 + math.cos(math.pi * (update - warmup) / (updates - warmup))) / 2
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * cosine)
