"""The optimizer and its learning rate."""

import math

import torch
from torch import Tensor

from vand_robot.config.schema import OptimizerConfig
from vand_robot.policies.recurrent import RecurrentPolicy


def make_optimizer(policy: RecurrentPolicy, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW that decays weight matrices only: learned noise must not drift to zero."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in policy.named_parameters():
        matrix = parameter.ndim >= 2 and "regularizer" not in name
        (decayed if matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def learning_rate(update: int, updates: int, config: OptimizerConfig) -> float:
    """Learning rate of an update, counted from 1: linear warm-up, then a cosine down."""
    warmup = min(config.warmup_updates, updates)
    if update <= warmup:
        return config.learning_rate * update / warmup
    cosine = (1 + math.cos(math.pi * (update - warmup) / (updates - warmup))) / 2
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * cosine)
