"""The walk-through of data of others in demos/README.md runs as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from vand_robot.policies.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]


def walk(command, tmp_path, monkeypatch, updates: str) -> dict[str, object]:
    """Runs the commands and the Python of the walk-through; names that the Python leaves."""
    section = (ROOT / "demos/README.md").read_text("utf-8").partition("## Data of others")[2]
    (shell,) = re.findall(r"```sh\n(vand-robot demos import.*?)```", section, re.DOTALL)
    python = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    monkeypatch.chdir(tmp_path)
    for line in shell.splitlines():
        words = shlex.split(line.replace("tests/fixtures", str(ROOT / "tests/fixtures")))
        assert words[0] == "vand-robot"
        words = [f"updates={updates}" if w.startswith("updates=") else w for w in words[1:]]
        code, out, err = command(*words)
        assert code == 0, err
        assert "train" not in words[:1] or "the validation loss chooses the checkpoint" in err
        assert "check" not in words[:2] or "sound" in out
    names: dict[str, object] = {}
    exec(compile(python, "demos/README.md", "exec"), names)
    return names


def test_the_walk_through_runs(command, tmp_path, monkeypatch):
    names = walk(command, tmp_path, monkeypatch, "4")
    assert names["action"].shape == (4,)
    assert (tmp_path / "figures/open-the-drawer.png").stat().st_size > 10_000


REACH = """
import numpy as np
def expert():
    return lambda seen: np.clip(-seen["point"] / 0.3, -1, 1)
"""


def test_the_walk_in_a_world_of_others_runs(command, tmp_path, monkeypatch):
    """In a small world that stands for Meta-World, which has an environment of its own."""
    section = (ROOT / "demos/README.md").read_text("utf-8").partition("### Any environment")[2]
    shell = re.search(r"```sh\n(.*?)```", section, re.DOTALL)[1].replace("\\\n", " ")
    (tmp_path / "drawer.py").write_text(REACH)
    monkeypatch.chdir(tmp_path)
    for old, new in (
        ("metaworld:Meta-World/MT1", "tests.helpers.reach_env:VandTests/OwnSeed-v0"),
        ("--env-arg env_name=drawer-open-v3", ""),
        ("~/metaworld/bin/python", sys.executable),
        ("updates=400", "updates=4"),
        ("--out runs/drawer/metaworld", "--episodes 2 --jobs 1 --out runs/drawer/metaworld"),
    ):
        assert old in shell
        shell = shell.replace(old, new)
    record, train, evaluate = map(shlex.split, shell.strip().splitlines())
    for words in (record, train, evaluate):
        code, _, err = command(*words[1:])
        assert (code, "cannot be repeated" in err) == (0, False), err
    rows = (tmp_path / "runs/drawer/metaworld/episodes.csv").read_text().splitlines()
    assert len(set(rows)) == 3


@pytest.mark.slow
def test_the_walk_through_learns_to_open_the_drawer(command, tmp_path, monkeypatch):
    walk(command, tmp_path, monkeypatch, "400")
    saved = load_checkpoint(tmp_path / "runs/drawer")
    assert saved.metrics["valid/nll"] < -3  # an untrained one: above 1
    assert np.isfinite(list(saved.metrics.values())).all()
