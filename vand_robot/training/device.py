"""The device of a training run: chosen where the configuration leaves it open."""

import copy
import dataclasses

from rich.console import Console

from vand_robot.config.schema import AUTO, TrainConfig
from vand_robot.layout import RunFolder
from vand_robot.nn import backend
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.device import choose_device, is_available
from vand_robot.policies.provenance import SCAN, read_provenance
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


def note_other_scan(folder: RunFolder, device: str, console: Console | None) -> None:
    """Say that a run goes on with another scan on the CPU than the one it was trained by so far.

    The scans draw other random numbers, so the rest of the run is not what it would have been. It
    may go on all the same, as on another device: the machine that it began on may be gone.

    Args:
        folder: The run.
        device: Where it goes on.
        console: Where to say it.

    Raises:
        VandError: `provenance.json` cannot be read.
    """
    sessions = read_provenance(folder)
    before = sessions[-1].machine.get(SCAN, "") if sessions else ""
    now = backend()
    if console is None or device != "cpu" or before in ("", now):
        return
    console.print(
        f"warning: the run was trained with the scan {before} and goes on with {now}, so not as if"
        f" it had not been stopped; VAND_BACKEND={before} goes on exactly",
        highlight=False,
        soft_wrap=True,
    )
