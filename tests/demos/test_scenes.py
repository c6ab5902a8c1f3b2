"""A robot in somebody's scene: recorded by hand, judged by a person, replayed, refused."""

import json
import os

import numpy as np
import pytest

import vand_demos.scenes as scenes
from tests.helpers.scenes import MAIN, Person, write_scene
from vand_demos import DemoDataset, check_file
from vand_demos.recording import record
from vand_demos.scenes import adopt_scene, get_scene, open_scene
from vand_demos.verify import load_verifiable, resimulate, restore
from vand_envs import TaskBatch
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import VANDER, get_robot
from vand_envs.scenes import SCENE_RECORD, SceneOptions, read_scene
from vand_envs.world import built_world, make_world

OPTIONS = SceneOptions("red-left", "push the red box to the left")


def drive(path, scene, *verdicts, robot=VANDER, **options):
    person = Person(verdicts)
    report = record(
        scene.task.id,
        path,
        episodes=len(verdicts),
        device="web",
        connect=lambda _: person,
        scene=scene,
        robot=robot,
        **options,
    )
    return report, person


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    write_scene(folder)
    return folder


@pytest.fixture(scope="module")
def scene(folder):
    return open_scene(folder / "kitchen.xml", OPTIONS)


@pytest.fixture(scope="module")
def recorded(scene, folder):
    path = folder / "mine.hdf5"
    return path, *drive(path, scene, "save", "fail", "discard", "save")


def forget(monkeypatch):
    """As in another process."""
    monkeypatch.setattr(scenes, "_ADOPTED", {})
    monkeypatch.setattr(scenes, "_TRIED", set())
    built_world.cache_clear()


def test_success_is_what_the_person_says(recorded):
    path, report, person = recorded
    assert (report.recorded, report.attempts) == (3, 4)
    assert check_file(path) == []
    with DemoDataset.open(path) as dataset:
        episodes = list(dataset)
    assert [episode.success for episode in episodes] == [True, False, True]
    assert [episode.rewards[-1] for episode in episodes] == [1, 0, 1]
    assert {episode.task for episode in episodes} == {"red-left"}
    assert episodes[0].instruction == "push the red box to the left"
    said = {status.next_step for status in person.seen if status.phase == "driving"}
    assert said == {"Is it done? Save if it is, Failed keeps it as a failure, Discard drops it."}


def test_bodies_that_can_move_are_observed_under_names_of_their_own(recorded):
    path, *_ = recorded
    with DemoDataset.open(path) as dataset:
        keys = dataset.observation_shapes("demo_0")
    bodies = {key.removesuffix("_rel") for key in keys if key.endswith("_rel")}
    assert bodies == {"red_box", "wedge", "object_2_ee"}
    assert keys["red_box_rot"] == (6,)
    assert keys["instruction"] == (1,)


def test_it_replays_exactly_in_another_process(recorded, monkeypatch):
    path, *_ = recorded
    forget(monkeypatch)
    episode = load_verifiable(path)
    assert episode.scene.startswith("kitchen@")
    restored = restore(episode)
    assert restored.exact
    assert restored.built_in_world
    assert resimulate(episode, "actions").exact


def test_files_that_changed_or_are_gone_are_one_line(tmp_path, monkeypatch):
    scene = open_scene(write_scene(tmp_path), SceneOptions("other", spread_m=0.01))
    path = tmp_path / "a.hdf5"
    drive(path, scene, "save")
    mesh = tmp_path / "meshes" / "wedge.obj"
    mesh.write_text(mesh.read_text().replace("0.04 0 0", "0.05 0 0"))
    forget(monkeypatch)
    with pytest.raises(VandError, match=r"meshes/wedge\.obj in .* has changed since"):
        restore(load_verifiable(path))
    mesh.unlink()
    with pytest.raises(VandError, match="there is no such file"):
        restore(load_verifiable(path))


def test_a_record_cannot_bring_anything_that_a_world_may_not(scene, monkeypatch):
    forget(monkeypatch)
    record_of = json.loads(json.dumps(scene.record))
    outside = {**record_of, "assets": {"../../etc/passwd": "0" * 64}}
    with pytest.raises(VandError, match="is none of a scene's files"):
        adopt_scene(outside, "a.hdf5")
    deeper = {**record_of, "assets": {"robot-files/scene/../../x": "0" * 64}}
    with pytest.raises(VandError, match="expected a file inside"):
        get_scene(adopt_scene(deeper, "a.hdf5").id)
    for text in ('<extension><plugin plugin="x"/></extension>', '<include file="a.xml"/>'):
        hostile = {
            **record_of,
            "text": record_of["text"].replace("<worldbody>", text + "<worldbody>"),
        }
        with pytest.raises(VandError, match="is refused in a model from a data set"):
            get_scene(adopt_scene(hostile, "a.hdf5").id)
    for key, value in (("place", [0, 0]), ("task", 3), ("more", 1), ("spread_m", -1.0)):
        with pytest.raises(VandError, match=r"a\.hdf5: scene"):
            adopt_scene({**record_of, key: value}, "a.hdf5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ('<geom name="floor"', '<geom contype="1" pos="0 0 -0.3" name="floor"'),
            "at height -0.30 m",
        ),
        (("mesh name", "plugin x"), "no MJCF|<plugin> is refused"),
        (('file="wedge.obj"', 'file="../../wedge.obj"'), "expected a file inside"),
        (('file="parts/table.xml"', 'file="/etc/hostname"'), "expected a file inside"),
        (('file="wood.png"', 'file="none.png"'), "there is no such file"),
        (('<body name="ee"', '<body name="robot/ee"'), "names that begin with 'robot/'"),
        (("<mujoco model", "<!DOCTYPE x><mujoco model"), "<!DOCTYPE> is refused"),
        (("</mujoco>", ""), "expected MJCF"),
        (('type="slide"', 'type="slyde"'), "no MJCF model"),
        (("<option ", '<option gravity="nan 0 0" '), "<option>: expected numbers that are finite"),
    ],
)
def test_what_is_wrong_with_a_scene_is_one_line(change, message, tmp_path):
    assert change[0] in MAIN
    path = write_scene(tmp_path, MAIN.replace(*change))
    with pytest.raises(VandError, match=message) as error:
        make_world(VANDER, scene=open_scene(path, OPTIONS))
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="no scene file"):
        open_scene(tmp_path / "none.xml", OPTIONS)


def test_a_scene_that_is_no_text_or_no_file_is_refused(tmp_path):
    path = tmp_path / "a.xml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VandError, match="expected MJCF, text in UTF-8"):
        open_scene(path, OPTIONS)
    (tmp_path / "round.xml").symlink_to(tmp_path / "other.xml")
    (tmp_path / "other.xml").write_text("<mujoco/>")
    assert open_scene(tmp_path / "round.xml", OPTIONS).name == "round"
    write_scene(tmp_path)
    (tmp_path / "meshes" / "wedge.obj").unlink()
    (tmp_path / "meshes" / "wedge.obj").symlink_to(tmp_path / "meshes" / "wedge.obj")
    with pytest.raises(VandError, match="its links lead in a circle"):
        open_scene(tmp_path / "kitchen.xml", OPTIONS)
    os.mkfifo(tmp_path / "pipe.xml")
    with pytest.raises(VandError, match="there is no such file"):
        open_scene(tmp_path / "pipe.xml", OPTIONS)


def test_a_robot_needs_room_and_a_floor_where_it_starts(folder):
    path = folder / "kitchen.xml"
    for place, message in (
        ((0.75, 0.0, 0.0), "would be .* mm inside 'table'"),
        ((9.0, 0, 0), "floor"),
    ):
        with pytest.raises(UsageError, match=message):
            make_world(VANDER, scene=read_scene(path, SceneOptions("a", place=place)))
    with pytest.raises(
        UsageError, match=r"unknown body of kitchen 'red_box' \(did you mean 'red box'"
    ):
        make_world(VANDER, scene=read_scene(path, SceneOptions("a", objects=("red_box",))))


def test_starts_differ_by_seed_as_far_as_is_said_and_a_fixed_arm_stands_where_it_is_put(folder):
    options = SceneOptions("a", place=(0.1, 0.0, 0.3), spread_m=0.05)
    scene = read_scene(folder / "kitchen.xml", options)
    batch = TaskBatch("a", 2, scene=scene, num_threads=1)
    batch.reset([0, 1])
    first = batch.qpos.copy()
    assert not np.array_equal(first[0], first[1])
    assert np.abs(first[:, :2] - [0.62, 0.1]).max() <= 0.05  # the red box comes first
    batch.reset([1, 0])
    assert np.array_equal(batch.qpos, first[::-1])
    try:
        world = make_world(get_robot("panda-table"), scene=scene)
    except VandError as error:
        pytest.skip(str(error))
    assert world.robot.base.place == (0.1, 0.0, 0.3)


def test_sets_of_different_scenes_are_not_mixed(recorded, folder):
    path, *_ = recorded
    other = read_scene(folder / "kitchen.xml", SceneOptions("red-left", spread_m=0.1))
    with pytest.raises(VandError, match="does not fit: scene"):
        drive(path, other, "save", resume=True)
    with DemoDataset.open(path) as dataset:
        assert len(dataset) == 3
        assert dataset.env_args[SCENE_RECORD]["name"] == "kitchen"


def test_an_expert_does_not_know_a_scene(scene, tmp_path):
    with pytest.raises(UsageError, match="no expert knows the scene 'kitchen'"):
        record("red-left", tmp_path / "a.hdf5", episodes=1, scene=scene)
