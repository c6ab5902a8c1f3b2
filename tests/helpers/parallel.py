"""The work of one of two processes, which a test starts by `torchrun`: `parallel.py FOLDER DATA`.

Everything that is tested is done in one launch: to start PyTorch takes longer than all of it.
"""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from tests.helpers.runs import override, small_config
from vand_envs.errors import VandError
from vand_robot.config.schema import TrainConfig
from vand_robot.training.loop import OnUpdate
from vand_robot.training.processes import TrainingProcesses, joined_processes
from vand_robot.training.trainer import train

SHARED = ("batch_size=4", "updates=8", "validation_interval=4", "trackers=[]")
MEMBERS = "{name: vand, beta: 0.01}, {name: zoneout}, {name: noisin, unbiased: strong}"
VARIANTS = {
    "budget": (
        "policy.regularizer={name: vand, budget: 3.0}",
        "policy.num_layers=2",
        "input_noise_std=0.1",
        "truncate_steps=3",
    ),
    "chain": (
        f"policy.regularizer={{name: chain, regularizers: [{MEMBERS}]}}",
        "policy.future_actions.horizons_s=[0.2]",
    ),
}
"""Overrides of runs in which all that is drawn matters."""


def config_of(data: Path, variant: str) -> TrainConfig:
    return small_config(data, *SHARED, *VARIANTS[variant])


def _fault_of(
    config: TrainConfig, out: Path, processes: TrainingProcesses, on_update: OnUpdate | None = None
) -> tuple[str, int]:
    """The message and the exit code with which this process fails."""
    try:
        train(config, out, processes=processes, on_update=on_update)
    except VandError as error:
        return str(error), error.exit_code
    return "no error", 0


def _scenes(folder: Path, data: Path, processes: TrainingProcesses) -> dict[str, object]:
    """Run all that is tested, and tell what came of it in this process."""
    told: dict[str, object] = {}
    for variant in VARIANTS:
        curve: list[Mapping[str, float]] = []
        train(
            config_of(data, variant),
            folder / variant,
            processes=processes,
            on_update=lambda _, metrics, curve=curve: curve.append(dict(metrics)),
        )
        told[variant] = curve
    pids = torch.zeros(processes.count, dtype=torch.float64)
    pids[processes.index] = os.getpid()
    other = int(processes.total(pids)[1])

    def stop_other(update: int, _: Mapping[str, float]) -> None:
        if update == 2:
            os.kill(other, signal.SIGTERM)

    config = config_of(data, "budget")
    told["stopped"] = _fault_of(config, folder / "stopped", processes, stop_other)
    train(config, folder / "stopped", processes=processes, resume=True)
    missing = override(config, [f"data=[{folder}/none.hdf5]"])
    theirs = missing if processes.index == 1 else config
    told["missing"] = _fault_of(theirs, folder / "missing", processes)
    told["uneven"] = _fault_of(override(config, ["batch_size=5"]), folder / "uneven", processes)
    return told


def main(folder: Path, data: Path) -> None:
    """Write what this process tells to FOLDER/<index>.json."""
    torch.set_num_threads(1)
    with joined_processes() as processes:
        assert processes is not None
        told = _scenes(folder, data, processes)
        (folder / f"{processes.index}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
