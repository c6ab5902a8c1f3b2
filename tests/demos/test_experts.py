"""Experts succeed, vary, recover, and leave labels clean."""

from functools import cache

import numpy as np
import pytest

from vand_demos.experts import EXPERTS, Disturbance, DisturbanceProcess, make_expert
from vand_demos.experts.circles import over_ground
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.experts.skills import OPEN
from vand_envs import TaskBatch, task_ids
from vand_envs.errors import UsageError
from vand_envs.tasks.buttons import BUTTON_HEIGHT_M, PRESSED_M
from vand_envs.tasks.drawer_stow import CLOSED_KNOB_M, CLOSED_M, OPEN_M

every_task = pytest.mark.parametrize("task_id", task_ids())


def test_every_task_has_an_expert():
    assert set(EXPERTS) == set(task_ids())


@cache
def undisturbed(task_id):
    """Ten demonstrations, which several tests look at."""
    return tuple(demonstrate(task_id, range(1000, 1010), parallel=10))


@cache
def disturbed(task_id):
    """Six demonstrations with the usual disturbance."""
    return tuple(demonstrate(task_id, range(6), disturbance=Disturbance(), parallel=6))


@every_task
def test_experts_succeed_in_10_seeds_but_one(task_id):
    assert sum(episode.success for episode in undisturbed(task_id)) >= 9


@pytest.mark.slow
@every_task
def test_experts_succeed_in_98_of_100_seeds(task_id):
    episodes = demonstrate(task_id, range(1000, 1100), parallel=32)
    assert sum(episode.success for episode in episodes) >= 98


@every_task
def test_disturbed_demonstrations_succeed_too_but_one(task_id):
    assert sum(episode.success for episode in disturbed(task_id)) >= 5


@pytest.mark.slow
@every_task
def test_most_of_many_disturbed_demonstrations_succeed_too(task_id):
    episodes = list(demonstrate(task_id, range(16), disturbance=Disturbance()))
    assert sum(episode.success for episode in episodes) >= 13


@every_task
def test_experts_succeed_at_twenty_hertz(task_id):
    episodes = list(demonstrate(task_id, range(2), control_dt_s=0.05, parallel=2))
    assert all(episode.success for episode in episodes)


@every_task
def test_the_gripper_does_not_tell_the_task_on_the_way(task_id):
    """It is open until the base has all but come to a stand for the first time."""
    for episode in undisturbed(task_id):
        speed = np.linalg.norm(episode.observations["base_twist"][:, :2], axis=1)
        closes = episode.actions[:, -1] != OPEN
        assert not closes.any() or speed[closes.argmax()] < 0.2


@every_task
def test_demonstrations_vary_in_length_and_path(task_id):
    episodes = undisturbed(task_id)
    assert len({len(episode) for episode in episodes}) >= 5
    shortest = min(len(episode) for episode in episodes)
    paths = np.stack([episode.observations["ee_pos"][:shortest] for episode in episodes])
    assert paths.std(axis=0).mean() > 0.01


def test_presses_go_well_beyond_where_they_count():
    """A copy that falls short by a few millimeters still presses."""
    for episode in undisturbed("press-caba"):
        seen = episode.observations
        rest = BUTTON_HEIGHT_M - seen["ee_pos"][:, 2]
        for letter, presses in (("a", 2), ("b", 1), ("c", 1)):
            depth = rest - seen[f"button_{letter}_rel"][:, 2]
            down = depth >= PRESSED_M
            begins = np.flatnonzero(down[1:] & ~down[:-1]) + 1
            deepest = [depth[begin : begin + 5].max() for begin in begins]
            assert len(begins) == presses
            assert min(deepest) >= PRESSED_M + 0.003


def test_the_drawer_is_pulled_and_pushed_to_its_stops():
    for episode in undisturbed("drawer-stow"):
        x, _, cos, sin = episode.observations["base_pose"].T
        ahead, left = episode.observations["drawer_pos"].T
        opening = CLOSED_KNOB_M[0] - (x + cos * ahead - sin * left)
        assert opening.max() > OPEN_M + 0.025
        assert opening[-1] < CLOSED_M - 0.005


def test_a_circling_hand_moves_against_the_motion_of_its_base():
    """What is commanded, and what the base does at the hand, are together what is wanted."""
    view = {
        "base_twist": np.array([0.02, -0.01, 0.05], np.float32),
        "ee_pos": np.array([0.5, 0.1, 0.9], np.float32),
    }
    carried = np.array([0.02 - 0.05 * 0.1, -0.01 + 0.05 * 0.5])  # velocity of the base there [m/s]
    wanted = np.array([0.2, -0.1])
    assert over_ground(wanted, view) + carried == pytest.approx(wanted)
    at_rest = view | {"base_twist": np.zeros(3, np.float32)}
    assert over_ground(wanted, at_rest) == pytest.approx(wanted)


def test_a_demonstration_does_not_depend_on_its_neighbors():
    together = list(demonstrate("wipe", [5, 6, 7], disturbance=Disturbance(), parallel=3))
    alone = next(demonstrate("wipe", [6], disturbance=Disturbance(), parallel=1))
    assert np.array_equal(together[1].states, alone.states)
    assert np.array_equal(together[1].actions, alone.actions)


def test_states_restore_what_was_observed():
    episode = next(demonstrate("stow-cube", [3], parallel=1))
    batch = TaskBatch("stow-cube", 1)
    batch.reset([3])
    for t in (0, 60, len(episode) - 1):
        batch.simulation.restore(episode.states[t : t + 1])
        observation = batch.observe()
        for key, value in observation.items():
            assert np.array_equal(value[0], episode.observations[key][t]), key


def test_clean_demonstrations_replay_exactly_from_their_actions():
    episode = next(demonstrate("stow-cube", [4], parallel=1))
    batch = TaskBatch("stow-cube", 1)
    batch.reset([4])
    for t, action in enumerate(episode.actions):
        assert np.array_equal(batch.state[0], episode.states[t])
        batch.step(action[None])
    assert batch.progress.success[0]


def test_labels_are_clean_while_what_is_executed_is_disturbed():
    """The expert's own answer to each observation is what was recorded."""
    noisy = next(demonstrate("wipe", [8], disturbance=Disturbance(rate_hz=2.0), parallel=1))
    expert = make_expert("wipe", 8)
    views = [{k: v[t] for k, v in noisy.observations.items()} for t in range(len(noisy))]
    labels = np.stack([expert.act(view) for view in views])
    assert np.allclose(labels, noisy.actions, atol=1e-6)
    clean = next(demonstrate("wipe", [8], parallel=1))
    assert not np.allclose(
        clean.observations["ee_pos"][40], noisy.observations["ee_pos"][40], atol=1e-3
    )


def test_steps_count_as_disturbed_in_a_burst_and_for_the_time_of_recovery_after_it():
    noise = Disturbance(rate_hz=0.4)
    process = DisturbanceProcess(noise, 3, 0.1, lambda view: False)
    action = np.zeros(10)
    executed, disturbed = [], []
    for _ in range(400):
        executed.append(bool(process.apply(action, {}).any()))
        disturbed.append(process.disturbed)
    recovery = round(noise.recovery_s / 0.1)
    expected = [any(executed[max(0, t - recovery) : t + 1]) for t in range(400)]
    assert disturbed == expected
    assert 0 < sum(executed) < sum(disturbed) < 400


def test_a_demonstration_says_which_of_its_steps_are_disturbed():
    noisy = next(demonstrate("wipe", [8], disturbance=Disturbance(at_start=1.0), parallel=1))
    clean = next(demonstrate("wipe", [8], parallel=1))
    assert noisy.disturbed[0]
    assert not noisy.disturbed.all()
    assert not clean.disturbed.any()


def test_joint_mode_records_joint_targets_as_actions():
    episode = next(demonstrate("wipe", [1], parallel=1, action_mode="joint"))
    assert episode.actions.shape[1] == 12
    assert np.array_equal(episode.actions[:, 3:-1], episode.action_parts["joint_targets"])


def test_an_unknown_task_is_a_usage_error():
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        make_expert("wip", 0)
