"""`vand-robot robots` and `--robot`: names, files, and mistakes in them."""

import json

import pytest

from vand_envs.errors import UsageError
from vand_envs.robot import VANDER, known_robots
from vand_robot.cli.main import main as run_main
from vand_robot.config.robots import field_help, find_robot, robot_yaml


def main(words):
    """The exit code of a command."""
    with pytest.raises(SystemExit) as ended:
        run_main(words)
    return ended.value.code


def test_robots_are_listed(capsys):
    assert main(["robots", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {"vander", "ur5e-2f85", "tiago-panda", "panda-table"} <= set(listed)
    assert listed["vander"]["tasks"] == "9 of 9"
    assert listed["panda-table"]["base"] == "fixed"


def test_the_yaml_of_a_robot_reads_back_to_it_and_explains_each_key(tmp_path):
    for robot in list(known_robots().values()):
        if robot.identity:
            continue
        text = robot_yaml(robot).replace(f'name: "{robot.name}"', 'name: "copy"', 1)
        path = tmp_path / f"{robot.name}.yaml"
        path.write_text(text)
        copy = find_robot(str(path))
        assert (copy.arm, copy.base, copy.parts) == (robot.arm, robot.base, robot.parts)
        assert copy.id.startswith("copy@")
    for part in (VANDER, VANDER.base, VANDER.arm, VANDER.gripper, VANDER.end_effector):
        assert all(len(line) > 6 for line in field_help(type(part)).values())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tasks", "--robot", "ur5e"], "unknown robot 'ur5e' (did you mean 'ur5e-2f85'?)"),
        (["tasks", "--robot", "none.yaml"], "no robot file none.yaml"),
        (["record", "stir", "--robot", "panda-table", "--out", "a.hdf5"], "the pot is 1.6 m away"),
        (["quickstart", "--robot", "panda-table", "--out", "q"], "the bin is 1.5 m away"),
        (["robots", "check", "tiago"], "did you mean 'tiago-panda'"),
    ],
)
def test_a_robot_that_is_not_there_or_cannot_is_one_line(
    words, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert "\n" not in printed
    assert list(tmp_path.iterdir()) == []


def test_tasks_that_are_not_offered_are_named_with_the_reason(capsys):
    assert main(["tasks", "--robot", "panda-table"]) == 0
    assert "not offered for panda-table: patrol: it does not drive" in capsys.readouterr().out


def test_a_mistake_in_a_file_names_file_and_key(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(robot_yaml(VANDER).replace("leash:", "leesh:"))
    with pytest.raises(UsageError, match=r"mine\.yaml 'arm\.leesh' .did you mean 'arm\.leash'"):
        find_robot(str(path))


def test_rates_have_an_interval_and_unseen_seeds_are_others(capsys):
    words = ["robots", "check", "vander", "--tasks", "knock-3", "--episodes", "1", "--threads", "1"]
    lines = []
    for more in ([], ["--unseen"]):
        assert main([*words, *more]) == 0
        lines.append(capsys.readouterr().out.splitlines()[-1])
    for line in lines:
        assert "the expert succeeded in 1 of 1 episodes" in line
        assert line.endswith("(95 % interval 21 to 100 %)")
    assert lines[0] != lines[1]  # they take other times
