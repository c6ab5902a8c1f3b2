"""A task of one's own runs like the others, without being registered anywhere."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vand_envs import Cycle, Task, TaskBatch, get_task, task_ids
from vand_envs.errors import UsageError

README = Path(__file__).parents[2] / "envs" / "README.md"


def test_the_readmes_task_is_demonstrated_and_judged():
    section = README.read_text(encoding="utf-8").split("## A task of your own")[1]
    section = section.split("\n## ")[0]
    assert section.count("\n") <= 60
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL):
        exec(compile(block, str(README), "exec"), names)
    episode, task = names["episode"], names["TASK"]
    assert episode.success
    assert episode.task == task.id
    assert episode.rewards.sum() == len(task.stages)
    assert episode.observations["instruction"][0].argmax() == len(task_ids())


def test_a_cycle_of_ones_own_is_counted():
    cycle = Cycle(
        name="turn",
        signal_names=("cos", "sin"),
        unit="",
        phase_plane=lambda o, _robot: np.asarray(o["base_pose"][..., 2:], np.float64),
        valid=lambda o, _robot: np.ones(o["base_pose"].shape[:-1], bool),
        radius=(0.9, 1.1),
        min_cycles=1,
    )
    spin = Task("spin", "VandRobot/Spin-v0", "turn on the spot", horizon_s=8.0, cycle=cycle)
    batch = TaskBatch(spin, 2)
    batch.reset([0, 1])
    actions = np.zeros((2, 10), np.float32)
    actions[:, 2] = 1.0, -1.0  # counter-clockwise, clockwise
    batch.step(actions)
    yaw = batch.simulation.base_qpos[2]
    heading = batch.qpos[:, yaw].copy()
    for _ in range(batch.horizon - 1):
        batch.step(actions)
    assert batch.progress.success.tolist() == [True, False]
    turns = (batch.qpos[:, yaw] - heading) / (2 * np.pi)
    assert batch.progress.cycles == pytest.approx(turns, abs=1e-6)


def test_the_instruction_grows_by_one_place_and_the_known_tasks_keep_theirs():
    spin = replace(get_task("wipe"), id="spin")
    batch = TaskBatch(spin, 1)
    assert batch.env_args["env_kwargs"]["instructions"] == [*task_ids(), "spin"]
    assert batch.reset([0])["instruction"][0].tolist() == [0.0] * len(task_ids()) + [1.0]
    assert batch.instruct("wipe")["instruction"][0].argmax() == task_ids().index("wipe")
    assert task_ids() == tuple(TaskBatch("wipe", 1).env_args["env_kwargs"]["instructions"])


def test_a_changed_task_stands_in_for_the_one_with_its_id():
    longer = replace(get_task("wipe"), horizon_s=99.0)
    batch = TaskBatch(longer, 1)
    assert batch.horizon == 990
    assert batch.reset([0])["instruction"][0].argmax() == task_ids().index("wipe")
    assert TaskBatch("wipe", 1).horizon != 990


def test_a_name_near_that_of_ones_own_task_is_met_with_it():
    batch = TaskBatch(replace(get_task("wipe"), id="polish"), 1)
    with pytest.raises(UsageError, match="did you mean 'polish'"):
        batch.instruct("polsh")
