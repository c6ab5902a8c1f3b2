"""What several test modules need: small real recordings, and a run trained on them."""

import pytest
import torch

from vand_demos.session import record
from vand_robot.configs import find_config
from vand_robot.experiment import run_training

torch.set_num_threads(1)  # tests run side by side

TINY = ["updates=4", "batch_size=4", "policy.hidden_size=16", "policy.encoder.sizes=[16]"]
TINY += ["validation_interval=2", "rollouts.interval=0", "rollouts.episodes=2", "threads=1"]


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers in every run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def demos(tmp_path_factory):
    """Four undisturbed demonstrations of each task in one data set."""
    path = tmp_path_factory.mktemp("demos") / "demos.hdf5"
    for task in ("stow-cube", "wipe"):
        record(task, path, episodes=4, seed=3, disturbance=None, resume=True)
    return path


@pytest.fixture(scope="session")
def run(tmp_path_factory, demos):
    """A policy that was trained for four updates."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run_training(find_config("quickstart"), [f"data=[{demos}]", *TINY], out)
    return out
