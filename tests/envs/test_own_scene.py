"""A scene of one's own, by the README to the letter, but that a script drives instead of a hand."""

import re
import shlex
from pathlib import Path

import pytest

from tests.helpers.scenes import Person
from vand_demos import DemoDataset
from vand_demos.teleop import TELEOP_DEVICES, register_device
from vand_robot.policies.checkpoint import load_checkpoint

README = Path(__file__).parents[2] / "envs" / "README.md"
DEVICE = "tests/scripted"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """The README's commands, in a folder with its scene."""
    section = README.read_text("utf-8").split("## A scene of your own")[1].split("\n## ")[0]
    (scene,) = re.findall(r"```xml\n(.*?)```", section, flags=re.DOTALL)
    (console,) = re.findall(r"```console\n(.*?)```", section, flags=re.DOTALL)
    (tmp_path / "table.xml").write_text(scene)
    monkeypatch.chdir(tmp_path)
    if DEVICE not in TELEOP_DEVICES:
        register_device(DEVICE, lambda _: Person(["save", "fail", "save", "save", "save"], 8))
    return [
        shlex.split(line.removeprefix("$ ").replace("--device web", f"--device {DEVICE}"))[1:]
        for line in console.splitlines()
    ]


def test_the_readme_s_scene_is_recorded_checked_learnt_and_replayed(command, commands, tmp_path):
    said = []
    for words in commands:
        short = ["updates=4" if word.startswith("updates=") else word for word in words]
        code, out, err = command(*short)
        assert code == 0, err
        said.append(out + err)
    assert "5 episodes of push-red recorded" in said[0]
    assert "push the red box" in said[1]
    assert "sound" in said[2]
    assert "success after 0.8 s" in said[3]
    assert "the validation loss chooses the checkpoint" in said[4]
    assert "10 s, judged by nobody" in said[5]
    with DemoDataset.open(tmp_path / "push.hdf5") as dataset:
        assert [episode.success for episode in dataset] == [True, False, True, True, True]
    spec = load_checkpoint(tmp_path / "push").policy.spec
    assert spec.scene.startswith("table@")
    code, _, err = command("evaluate", "push")
    assert code == 1
    assert "what succeeded there is for a person to say" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--world", "table.xml"), "give --device web"),
        (("--world", "none.xml", "--device", "web"), "no scene file none.xml"),
        (("--world", "table.xml", "--device", "web", "--at", "0.75,0"), "no free space"),
        (("--world", "table.xml", "--device", "web", "--at", "9,0"), "expected a floor"),
        (("--world", "table.xml", "--device", "web", "--at", "here"), "expected X,Y or X,Y,YAW"),
        (("--world", "table.xml", "--device", "web", "--spread", "9"), "expected 0 to 1 m"),
        (("--world", "table.xml", "--device", "web", "--objects", "red"), "did you mean 'red_box'"),
        (("a", "b", "--world", "table.xml", "--device", "web"), "expected one task name"),
        (("stow-cube", "--at", "1,1"), "--at is for --world alone"),
        (("stow-cube", "--instruction", "x"), "--instruction is for --env alone"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_leaves_nothing(
    words, message, command, commands, tmp_path
):
    del commands
    before = sorted(tmp_path.iterdir())
    code, _, err = command("record", *words, "--out", "a.hdf5")
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
