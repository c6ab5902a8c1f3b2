"""The walk-throughs "on your robot" and "your policy in our suite" run as they are printed."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.foreign.test_evaluation import make_run
from vand_robot.runtime import RemotePolicy

ROOT = Path(__file__).parents[2]

MY_ROBOT = """
import numpy as np
class Driver:
    def connect(self, interface, instruction): self.sizes = interface.observations
    def observe(self): return {key: np.zeros(size) for key, size in self.sizes.items()}
    def act(self, action): pass
    def stop(self): pass
"""
SHORT = {"deploy": ["--steps", "4", "--on-late", "hold"], "evaluate": ["--episodes", "1"]}


def walk_through(heading: str) -> list[list[str]]:
    """The five lines below a heading, as words, without the installation of the board."""
    text = (ROOT / "README.md").read_text("utf-8").split(f"## {heading}\n")[1]
    lines = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].strip().splitlines()
    assert len(lines) == 5
    return [shlex.split(line, comments=True) for line in lines if not line.startswith("pip ")]


@pytest.fixture
def place(run, tmp_path: Path, monkeypatch) -> Path:
    """A folder that has what the lines name."""
    shutil.copytree(run, tmp_path / "runs" / "wipe-0")
    make_run(tmp_path / "runs" / "reach-0")
    (tmp_path / "demos" / "data").mkdir(parents=True)
    os.link(ROOT / "demos" / "data" / "workshop.hdf5", tmp_path / "demos/data/workshop.hdf5")
    (tmp_path / "my_robot.py").write_text(MY_ROBOT)
    shutil.copy(ROOT / "tests" / "helpers" / "reach_env.py", tmp_path / "reach_env.py")
    page = (ROOT / "envs" / "BENCHMARK.md").read_text("utf-8")
    policy = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    mapping = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "standing.py").write_text(policy.replace("\n   ", "\n").lstrip())
    (tmp_path / "mapping.yaml").write_text(mapping.replace("\n   ", "\n").lstrip())
    assert yaml.safe_load((tmp_path / "mapping.yaml").read_text())["execute"] == 2
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(tmp_path), *map(str, (ROOT, ROOT / "envs", ROOT / "demos"))])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_on_your_robot(place: Path, command):
    export, tried, board, back = walk_through("On your robot")
    for words in (export, tried):
        code, _, err = command(*words[1:], *SHORT.get(words[1], []))
        assert code == 0, err
    short = ["--steps", "4", "--on-late", "hold"]
    subprocess.run([sys.executable, *board[1:], *short], check=True, capture_output=True)
    assert command(*back[1:])[0] == 0
    for file in ("tried.hdf5", "deployed.hdf5"):
        assert command("demos", "check", file)[0] == 0


@pytest.mark.slow
def test_your_policy_in_our_suite(place: Path, command):
    export = walk_through("On your robot")[0]
    assert command(*export[1:])[0] == 0
    serve, *evaluations = walk_through("Your policy in our suite")
    program = [sys.executable, "-m", "vand_robot", *serve[1:-1]]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[0].rstrip(":")
        RemotePolicy(address).close()
        for line in evaluations:
            words = [sys.executable if word == "python3" else word for word in line]
            short = ["--episodes", "1", "--jobs", "1"]
            if "--env" not in words:
                short += ["--tasks", "stow-cube"]
            code, _, err = command(*words[1:], *short)
            assert code == 0, err
            assert (place / words[words.index("--out") + 1] / "report.html").exists()
    finally:
        process.kill()
        process.wait()
