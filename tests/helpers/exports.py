"""Small policies as checkpoints and as exported files."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vand_robot.config import validation
from vand_robot.config.schema import PolicyConfig, TrainConfig
from vand_robot.interface import PolicySpec
from vand_robot.policies.checkpoint import Checkpoint, save_checkpoint
from vand_robot.policies.recurrent import RecurrentPolicy

TASKS = ("stow-cube", "wipe")
SEEN = {"ee_pos": 3, "cube_rel": 3, "bin_rel": 3, "instruction": 2}
CAMERA = {"wrist_rgb": (24, 32)}


def make_checkpoint(
    folder: Path, *, images: Mapping[str, Any] | None = None, dt: float = 0.1, **values: Any
) -> RecurrentPolicy:
    """An untrained policy whose actions reach the bounds now and then, saved in a folder."""
    torch.manual_seed(0)
    spec = PolicySpec("vander", "ee_twist", 10, dt, TASKS, SEEN, images or {})
    shape = {"hidden_size": 7, "encoder": {"sizes": [5]}, **values}
    config = validation.build(PolicyConfig, shape)
    policy = RecurrentPolicy(config, spec)
    policy.fit_normalizer(torch.randn(50, 11))
    with torch.no_grad():
        policy.head.linear.weight.mul_(3)
    train = validation.build(TrainConfig, {"data": ["demos.hdf5"]})
    policy.eval()
    saved = Checkpoint(policy, dataclasses.replace(train, policy=config), 1, {}, {})
    save_checkpoint(folder, saved, None)
    return policy
