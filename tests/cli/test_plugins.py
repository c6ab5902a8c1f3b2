"""A plugin outside of the package: its task, expert, device, regularizer and robot."""

import json
import os
import subprocess
import sys

import pytest

from vand_demos import DemoDataset
from vand_demos.teleop.devices import register_device
from vand_envs.errors import UsageError
from vand_robot.nn import Dropout, register_regularizer

PLUGIN = """
from dataclasses import dataclass, replace

import torch

from vand_demos.experts import EXPERTS, register_expert
from vand_demos.teleop import Command, register_device
from vand_envs import get_task, register_task
from vand_envs.robot import VANDER, register_robot
from vand_robot.nn import AffineMap, Regularizer, register_regularizer

register_task(replace(get_task("wipe"), id="polish", env_id="Mine/Polish-v0", horizon_s=12.0))
register_expert("polish", EXPERTS["wipe"])
register_robot(replace(VANDER, name="vander-2"))


@dataclass(frozen=True)
class Shrink(Regularizer):
    share: float = 0.1

    def draw(self, steps, like):
        return AffineMap(A=torch.full((steps, *like.shape), 1.0 - self.share))


register_regularizer("shrink", Shrink)


class Script:
    def __init__(self):
        self.steps = 0

    def read(self):
        self.steps += 1
        events = {1: ("start",), 6: ("save",), 7: ("quit",)}.get(self.steps, ())
        return Command(base_twist=(0.5, 0.0, 0.0), events=events)

    def show(self, status, pose): ...

    def close(self): ...


register_device("mine/script", lambda options: Script())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "mine.py").write_text(PLUGIN)
    return folder


def vand(folder, *words, plugin="mine", code=0):
    """Run a command in a folder; what it prints."""
    before = ("--plugin", plugin) if plugin else ()
    done = subprocess.run(
        [sys.executable, "-m", "vand_robot", *before, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_plugins_task_is_recorded_trained_with_its_regularizer_and_evaluated(folder):
    vand(folder, "record", "polish", "--episodes", "4", "--out", "polish.hdf5")
    small = ("policy.hidden_size=8", "batch_size=2", "rollouts.interval=0", "rollouts.episodes=1")
    vand(
        folder,
        *("train", "gru-vand", "data=polish.hdf5", "tasks=polish", "updates=2", "--out", "run"),
        *("policy.regularizer={name: shrink, share: 0.2}", *small),
    )
    assert "name: shrink" in (folder / "run" / "config.yaml").read_text()
    printed = vand(folder, "evaluate", "run", "--episodes", "2", "--json")
    assert "polish" in json.loads(printed[printed.index("{") :])["tasks"]
    refused = vand(folder, "evaluate", "run", "--force", plugin=None, code=1)
    assert "shrink" in refused


def test_a_plugins_device_records_and_its_data_set_is_read_without_it(folder):
    vand(
        folder,
        *("record", "wipe", "--device", "mine/script", "--keep-failures"),
        *("--episodes", "1", "--out", "hand.hdf5"),
    )
    with DemoDataset.open(folder / "hand.hdf5") as dataset:
        assert [episode.device for episode in dataset] == ["mine/script"]
    assert "mine/script" in vand(folder, "demos", "info", "hand.hdf5", plugin=None)


def test_a_plugins_robot_is_known_in_environments(folder):
    code = (
        "import vand_envs; vand_envs.load_plugins(['mine']); import gymnasium;"
        "print(gymnasium.make('VandRobot/Wipe-v0', robot='vander-2').unwrapped.spec.kwargs)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "vander-2" in done.stdout, done.stderr


def test_the_option_belongs_before_the_command_and_names_a_module(folder):
    wrong = vand(folder, "tasks", "--plugin", "mine", plugin=None, code=2)
    assert wrong.splitlines() == [
        "error: --plugin stands before the command: vand-robot --plugin mine COMMAND ..."
    ]
    missing = vand(folder, "tasks", plugin="nowhere", code=2)
    assert missing == "error: plugin 'nowhere': there is no module 'nowhere'\n"


def test_names_that_are_taken_or_without_a_namespace_are_refused():
    with pytest.raises(UsageError, match="expected NAMESPACE/NAME, such as 'mine/pedals'"):
        register_device("pedals", lambda options: None)
    with pytest.raises(ValueError, match="'vand' is registered already"):
        register_regularizer("vand", Dropout)
    with pytest.raises(TypeError, match="expected a dataclass derived from Regularizer"):
        register_regularizer("mine", int)
