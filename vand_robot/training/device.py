"""The device of a training run: chosen where the configuration leaves it open."""

import copy
import dataclasses

from rich.console import Console

from vand_robot.config.schema import AUTO, TrainConfig
from vand_robot.layout import RunFolder
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.device import choose_device, is_available
from vand_robot.policies.recurrent import RecurrentPolicy


def on_cpu(policy: RecurrentPolicy) -> RecurrentPolicy:
    """The policy, or its copy on the CPU: few rows at a time are faster there than on a GPU."""
    return policy if policy.device.type == "cpu" else copy.deepcopy(policy).cpu()


def with_device(
    config: TrainConfig, folder: RunFolder, console: Console | None, *, resume: bool
) -> TrainConfig:
    """Choose a device where the configuration says `auto`, and say which.

    Args:
        config: The run.
        folder: Its folder.
        console: Where to say it.
        resume: Whether the run goes on: on the device that it had, if it is there.
    """
    if config.device != AUTO:
        return config
    name, reason = choose_device()
    if resume:
        before = load_checkpoint(folder.last).config.device
        if is_available(before):
            name, reason = before, "as before"
    if console is not None:
        console.print(f"device: auto took {name} ({reason})", highlight=False, soft_wrap=True)
    return dataclasses.replace(config, device=name)
