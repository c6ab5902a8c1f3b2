"""Actions become motion."""

import numpy as np
import pytest

from vand_envs import TaskBatch
from vand_envs.errors import UsageError

LINEAR, ANGULAR = 0.5, 1.5  # speeds of the built-in robot at action 1 [m/s, rad/s]


def _still(n=1, mode_size=10):
    action = np.zeros((n, mode_size), np.float32)
    action[:, -1] = 1.0
    return action


def _batch(mode="ee_twist", seed=0):
    batch = TaskBatch("stow-cube", 1, action_mode=mode)
    batch.reset([seed])
    return batch


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_end_effector_twist_moves_the_hand_along_its_axis_only(axis):
    batch = _batch()
    action = _still()
    for _ in range(3):
        before = batch.step(action)
    action[0, 3 + axis] = 0.4
    for _ in range(8):
        after = batch.step(action)
    moved = after["ee_pos"][0] - before["ee_pos"][0]
    expected = 0.4 * LINEAR * 0.8
    assert moved[axis] == pytest.approx(expected, rel=0.15)
    assert np.abs(np.delete(moved, axis)).max() < 0.1 * expected
    turned = after["ee_rot"][0] - before["ee_rot"][0]
    assert np.abs(turned).max() < 0.03


def test_angular_twist_turns_the_hand_in_place():
    batch = _batch()
    before = batch.step(_still())
    action = _still()
    action[0, 8] = 0.5  # about the vertical
    for _ in range(6):
        after = batch.step(action)
    finger = after["ee_rot"][0, 3:5]
    start = before["ee_rot"][0, 3:5]
    angle = np.arctan2(finger[1], finger[0]) - np.arctan2(start[1], start[0])
    assert angle == pytest.approx(0.5 * ANGULAR * 0.6, rel=0.2)
    assert np.abs(after["ee_pos"] - before["ee_pos"]).max() < 0.015


def test_base_twist_is_in_the_base_frame():
    batch = _batch()
    action = _still()
    action[0, 2] = 1.0
    for _ in range(12):
        turned = batch.step(action)
    for _ in range(10):
        turned = batch.step(_still())
    start = turned["base_pose"][0]
    action = _still()
    action[0, 0] = 0.8
    for _ in range(10):
        after = batch.step(action)
    moved = after["base_pose"][0, :2] - start[:2]
    heading = start[2:] / np.linalg.norm(start[2:])
    assert moved @ heading > 0.3
    assert abs(moved @ np.array([-heading[1], heading[0]])) < 0.02


def test_a_saturated_lift_does_not_swallow_the_command():
    batch = _batch()
    action = _still()
    action[0, 5] = 0.3
    for _ in range(12):
        high = batch.step(action)  # raises the hand: the lift reaches its limit or the arm unfolds
    action[0, 5] = -0.3
    for _ in range(12):
        low = batch.step(action)
    assert high["ee_pos"][0, 2] - low["ee_pos"][0, 2] == pytest.approx(0.18, abs=0.04)


def test_targets_stay_on_their_leash_when_the_hand_is_blocked():
    batch = _batch()
    action = _still()
    action[0, 5] = -1.0
    for _ in range(60):  # down to the floor or to the end of the arm's reach
        observation = batch.step(action)
    assert np.abs(observation["ee_lag"]).max() < 0.15
    assert np.isfinite(batch.state).all()


def test_joint_targets_of_a_twist_reach_the_same_place_in_joint_mode():
    twist, joint = _batch("ee_twist", 3), _batch("joint", 3)
    rng = np.random.default_rng(0)
    direction = rng.uniform(-0.3, 0.3, (1, 6))
    for _ in range(15):
        action = _still()
        action[0, 3:9] = direction
        parts = twist.controller.parts(action)
        command = np.concatenate(
            [parts["base_twist"], parts["joint_targets"], parts["gripper"]], axis=1
        )
        a, b = twist.step(action), joint.step(command)
    assert np.abs(a["ee_pos"] - b["ee_pos"]).max() < 1e-4


def test_parts_of_an_action_contain_it():
    batch = _batch()
    action = np.random.default_rng(1).uniform(-1, 1, (1, 10)).astype(np.float32)
    parts = batch.controller.parts(action)
    same = np.concatenate([parts["base_twist"], parts["ee_twist"], parts["gripper"]], axis=1)
    assert np.array_equal(same, action)
    assert all(np.abs(part).max() <= 1 for part in parts.values())


def test_gripper_opens_and_closes():
    batch = _batch()
    for _ in range(8):
        opened = batch.step(_still())
    action = _still()
    action[0, -1] = -1.0
    for _ in range(8):
        closed = batch.step(action)
    assert opened["gripper"][0, 0] == pytest.approx(0.084, abs=0.003)
    assert closed["gripper"][0, 0] < 0.004


@pytest.mark.parametrize("mode", ["ee_twist", "joint"])
def test_the_arm_still_follows_after_an_action_that_was_refused(mode):
    batch = _batch(mode)
    action = _still(mode_size=batch.action_size)
    with pytest.raises(UsageError, match="expected finite numbers"):
        batch.step(np.full_like(action, np.nan))
    before = batch.step(action)
    action[0, 3:-1] = 0.3
    for _ in range(5):
        after = batch.step(action)
    assert np.isfinite(batch.state).all()
    assert np.abs(after["ee_pos"] - before["ee_pos"]).max() > 0.02
