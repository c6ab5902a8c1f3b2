"""The walk-through of data of others in demos/README.md runs as it stands there."""

import re
import shlex
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


@pytest.mark.slow
def test_the_walk_through_learns_to_open_the_drawer(command, tmp_path, monkeypatch):
    walk(command, tmp_path, monkeypatch, "400")
    saved = load_checkpoint(tmp_path / "runs/drawer")
    assert saved.metrics["valid/nll"] < -3  # an untrained one: above 1
    assert np.isfinite(list(saved.metrics.values())).all()
