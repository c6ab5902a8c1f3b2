"""A task of one's own: by the README to the letter, from plugins, and without registration."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_envs import Cycle, Task, TaskBatch, get_task, task_ids
from vand_envs.errors import UsageError
from vand_robot.evaluation.rollout import make_batch
from vand_robot.interface import PolicySpec

README = Path(__file__).parents[2] / "envs" / "README.md"


@pytest.fixture
def readme(tmp_path):
    """The README's own task in a file, its commands, and its program."""
    section = README.read_text(encoding="utf-8").split("## A task of your own")[1]
    section = section.split("\n## ")[0]
    module, program = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    (console,) = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    (tmp_path / "drop_cube.py").write_text(module)
    commands = [line.removeprefix("$ ") for line in console.splitlines()]
    return commands, program


def _python(code, folder, *arguments, **variables):
    """What a fresh process in a folder prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_readme_know_its_task(readme, tmp_path):
    commands, _ = readme
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "vand-robot"
        code = "import sys; from vand_robot.cli.main import main; main(sys.argv[1:])"
        printed = _python(code, tmp_path, *arguments)
        assert arguments[:2] == ["--plugin", "drop_cube"]
        if arguments[2] == "tasks":
            assert "drop-cube" in printed
    with DemoDataset.open(tmp_path / "drop.hdf5") as dataset:
        instructions = dataset.env_args["env_kwargs"]["instructions"]
        assert instructions == [*task_ids(), "drop-cube"]
        episodes = list(dataset)
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.success
        assert episode.task == "drop-cube"
        assert episode.rewards.sum() == 2  # its stages
        assert episode.observations["instruction"][0].argmax() == len(task_ids())


def test_the_program_of_the_readme_runs(readme, tmp_path):
    _, program = readme
    assert _python(program, tmp_path).startswith("True ")


ORDER = """
import vand_envs
vand_envs.load_plugins(["zebra", "drop_cube"])
print(*vand_envs.task_ids())
vand_envs.load_plugins(["zebra", "drop_cube"])
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.apply(vand_envs.task_ids))
"""


def test_tasks_of_plugins_come_by_id_in_every_process(readme, tmp_path):
    (tmp_path / "zebra.py").write_text(
        "from dataclasses import replace\n"
        "from vand_envs import get_task, register_task\n"
        "register_task(replace(get_task('wipe'), id='zebra', env_id='Mine/Zebra-v0'))\n"
    )
    here, there = _python(ORDER, tmp_path).splitlines()
    assert here.split() == there.split() == [*task_ids(), "drop-cube", "zebra"]


def test_an_installed_plugin_is_found_by_its_entry_point(readme, tmp_path):
    facts = tmp_path / "mine-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[vand_robot.tasks]\ndrop = drop_cube\n[vand_robot.experts]\ndrop = drop_cube\n"
    )
    code = (
        "from vand_demos.experts import make_expert; from vand_envs import task_ids\n"
        "make_expert('drop-cube', 0); print(*task_ids())"
    )
    assert _python(code, tmp_path).split() == [*task_ids(), "drop-cube"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "UsageError: plugin 'broken': there is no module 'broken'"),
        ("import nothing_of_the_kind", "VandError: plugin 'broken': No module named 'nothing_of_"),
        ("1 / 0", "VandError: plugin 'broken': ZeroDivisionError: division by zero"),
        (
            "from vand_envs import get_task, register_task; register_task(get_task('wipe'))",
            "UsageError: task 'wipe': environment 'VandRobot/Wipe-v0' is registered already",
        ),
        ("raise SystemExit(0)", "VandError: plugin 'broken': SystemExit: 0"),
        ("import sys; sys.exit('bye')", "VandError: plugin 'broken': SystemExit: bye"),
        ("raise BaseException('x')", "VandError: plugin 'broken': BaseException: x"),
        ("raise GeneratorExit", "VandError: plugin 'broken': GeneratorExit"),
        (
            "class Odd(Exception):\n    __str__ = None\nraise Odd",
            "VandError: plugin 'broken': Odd",
        ),
        ("raise ValueError('a\\nb')", "VandError: plugin 'broken': ValueError: a b"),
    ],
)
def test_a_plugin_that_fails_is_named(text, message, tmp_path):
    if text is not None:
        (tmp_path / "broken.py").write_text(text)
    code = (
        "import vand_envs\n"
        "try: vand_envs.load_plugins(['broken'])\n"
        "except Exception as error: print(f'{type(error).__name__}: {error}')"
    )
    assert _python(code, tmp_path).startswith(message)


def test_a_policy_of_other_instructions_goes_on_working_and_refuses_what_it_was_not_taught():
    known = PolicySpec("vander", "ee_twist", 10, 0.1, ("stir", "wipe"), {"instruction": 2})
    batch = make_batch(known, "wipe", 1)
    assert batch.reset([0])["instruction"][0].tolist() == [0.0, 1.0]
    for refuse in (lambda: batch.instruct("patrol"), lambda: make_batch(known, "patrol", 1)):
        with pytest.raises(UsageError, match="unknown task 'patrol'; known: stir, wipe"):
            refuse()
    more = replace(known, instructions=("stir", "drop-cube", "wipe"))
    batch = make_batch(more, "wipe", 1)
    assert batch.reset([0])["instruction"][0].tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(UsageError, match="unknown task 'drop-cube'"):
        batch.instruct("drop-cube")


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        (["stir"], "unknown task 'wipe'; known: stir"),
        (["wipe", "stir", "wipe"], "instructions: expected each once, got wipe, stir, wipe"),
        ("wipe", "instructions: expected a list of task ids, got 'wipe'"),
    ],
)
def test_impossible_instructions_are_usage_errors(instructions, message):
    with pytest.raises(UsageError, match=message):
        TaskBatch("wipe", 1, instructions=instructions)


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
