"""`vand-robot record --env`: an environment of Gymnasium, and a policy in a file beside."""

import json

import pytest

from vand_demos import DemoDataset, check_file

DRIVER = """
import numpy as np

def build():
    return lambda seen: np.array([2.0 * np.sign(seen[2] or 1.0)])
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "swinging.py").write_text(DRIVER)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_environment_is_recorded_and_added_to(command, here):
    options = ("--env", "gymnasium:Pendulum-v1", "--policy", "swinging:build", "--episodes", 1)
    options += ("--env-arg", "g=9.5", "--instruction", "swing up", "--out", "a.hdf5", "--json")
    code, out, err = command("record", *options)
    assert code == 0, err
    assert json.loads(out)["recorded"] == 1
    code, out, err = command("record", *options, "--resume")
    assert code == 0, err
    assert json.loads(out)["total"] == 2
    assert check_file(here / "a.hdf5") == []
    with DemoDataset.open(here / "a.hdf5") as dataset:
        assert dataset.env_args["env_kwargs"]["source_env"]["env_kwargs"] == {"g": 9.5}
        assert [dataset.attribute(name, "seed") for name in dataset.names] == [0, 1]
        assert dataset.tasks == ("swing-up",)


def test_mistakes_are_one_line(fails, here):
    env = ("--env", "gymnasium:Pendulum-v1")
    for options, code, words in (
        (env, 2, "--env needs --policy MODULE:FACTORY"),
        ((*env, "--policy", "swinging:none"), 1, "no attribute 'none'"),
        ((*env, "--policy", "absent:build"), 1, "No module named 'absent'"),
        ((*env, "--policy", "swinging:build", "--env-arg", "g"), 2, "expected KEY=VALUE, got 'g'"),
        ((*env, "--policy", "swinging:build", "wipe"), 2, "without tasks, got ['wipe']"),
        ((*env, "--policy", "swinging:build", "--python", "/none"), 2, "cannot start /none"),
        (("wipe", "--policy", "swinging:build"), 2, "--policy is for --env alone"),
        ((), 2, "expected at least one task id, or --env"),
    ):
        exit_code, line = fails("record", *options, "--out", "a.hdf5")
        assert (exit_code, words in line) == (code, True), line
    assert not (here / "a.hdf5").exists()
