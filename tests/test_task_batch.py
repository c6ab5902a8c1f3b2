"""Invariants that hold for every task."""

from itertools import combinations

import numpy as np
import pytest

from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import UsageError

STEPS = 25
every_task = pytest.mark.parametrize("task_id", task_ids())


def _run(task_id, seeds, actions, **options):
    """Observations (T + 1, n, .) and states (T + 1, n, S) of a run with given actions (T, n, A)."""
    batch = TaskBatch(task_id, len(seeds), **options)
    observations, states = [batch.reset(seeds)], [batch.state.copy()]
    for action in actions:
        observations.append(batch.step(action))
        states.append(batch.state.copy())
    return {k: np.stack([o[k] for o in observations]) for k in observations[0]}, np.stack(states)


def _actions(n, size=10, steps=STEPS, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, n, size)).astype(np.float32)


@every_task
@pytest.mark.parametrize("mode", ["ee_twist", "joint"])
def test_episodes_do_not_depend_on_batch_size_place_or_threads(task_id, mode):
    size = 10 if mode == "ee_twist" else 12
    actions = _actions(5, size)
    seeds = [3, 1, 4, 15, 9]
    whole, states = _run(task_id, seeds, actions, num_threads=2, action_mode=mode)
    again, same = _run(task_id, seeds, actions, num_threads=1, action_mode=mode)
    assert np.array_equal(states, same)
    for i in (0, 3):
        alone, state = _run(task_id, seeds[i : i + 1], actions[:, i : i + 1], action_mode=mode)
        assert np.array_equal(state[:, 0], states[:, i])
        for key, value in alone.items():
            assert np.array_equal(value[:, 0], whole[key][:, i]), key
            assert np.array_equal(whole[key], again[key]), key


@every_task
def test_other_episodes_are_untouched_when_some_begin_anew(task_id):
    actions = _actions(3)
    _, states = _run(task_id, [1, 2, 3], actions)
    batch = TaskBatch(task_id, 3)
    batch.reset([1, 2, 3])
    for t, action in enumerate(actions):
        if t == 10:
            batch.reset([7], [1])
        batch.step(action)
    assert np.array_equal(batch.state[[0, 2]], states[-1][[0, 2]])
    assert not np.array_equal(batch.state[1], states[-1][1])


@every_task
def test_initial_states_are_randomised(task_id):
    batch = TaskBatch(task_id, 8)
    observation = batch.reset(range(8))
    for key in ("base_pose", "joint_pos", "cube_pos", "ee_pos", "board_rel"):
        assert (observation[key].std(axis=0) > 1e-3).any(), key


@every_task
def test_no_observation_is_constant_and_all_are_finite(task_id):
    observations, _ = _run(task_id, range(4), _actions(4, steps=60))
    for key, value in observations.items():
        assert np.isfinite(value).all()
        assert value.dtype == np.float32
        moves = value.reshape(-1, value.shape[-1]).std(axis=0) > 1e-6
        if key == "cube_rot":
            moves = moves[[0, 1, 3, 4]]  # nothing tilts the cube here: see the next test
        if key != "instruction":
            assert moves.all(), key


def test_a_tilted_cube_is_seen_tilted():
    batch = TaskBatch("wipe", 1)
    batch.reset([0])
    address = int(batch.model.joint("cube").qposadr[0])
    batch.qpos[0, address + 3 : address + 7] = [np.cos(0.5), np.sin(0.5), 0, 0]  # 1 rad about x
    batch.simulation.forward()
    rotation = batch.observe()["cube_rot"][0]
    assert abs(rotation[5]) == pytest.approx(np.sin(1.0), abs=1e-6)


@every_task
def test_observations_share_no_memory(task_id):
    batch = TaskBatch(task_id, 2)
    first = batch.reset([0, 1])
    kept = {key: value.copy() for key, value in first.items()}
    second = batch.step(_actions(2)[0])
    for key, value in first.items():
        assert np.array_equal(value, kept[key])
        assert not np.shares_memory(value, batch.state)
        assert not any(np.shares_memory(value, later) for later in second.values())
    for one, other in combinations(second.values(), 2):
        assert not np.shares_memory(one, other)


@every_task
def test_a_restored_state_continues_and_observes_as_the_original_did(task_id):
    actions = _actions(2, steps=40)
    batch = TaskBatch(task_id, 2)
    batch.reset([5, 6])
    for action in actions[:20]:
        before = batch.step(action)
    saved = batch.state.copy()
    for action in actions[20:]:
        after = batch.step(action)
    end = batch.state.copy()
    batch.simulation.restore(saved)
    observed = batch.observe()
    for key, value in observed.items():
        assert np.array_equal(value, before[key]), key
    for action in actions[20:]:
        observed = batch.step(action)
    assert np.array_equal(batch.state, end)
    assert np.array_equal(observed["ee_pos"], after["ee_pos"])


@every_task
def test_neither_random_actions_nor_none_succeed(task_id):
    batch = TaskBatch(task_id, 6)
    batch.reset(range(6))
    for t, action in enumerate(_actions(6, steps=batch.horizon)):
        if t % 10 == 0:
            held = action[2:4]  # for a second: such a robot gets around
        batch.step(np.concatenate([action[:2], held, np.zeros((2, 10), np.float32)]))
        assert not batch.progress.success.any()
    assert not batch.progress.stages_done[4:].any()


@every_task
def test_before_the_first_action_the_instruction_alone_tells_the_task(task_id):
    observation, other = (TaskBatch(t, 2).reset([3, 4]) for t in (task_id, task_ids()[0]))
    for key in observation.keys() - {"instruction"}:
        assert np.array_equal(observation[key], other[key]), key


@every_task
def test_instruction_is_the_one_hot_code_of_the_task(task_id):
    instruction = TaskBatch(task_id, 1).reset([0])["instruction"][0]
    assert instruction.sum() == 1
    assert task_ids()[int(instruction.argmax())] == task_id


def test_twenty_hertz_works():
    batch = TaskBatch("wipe", 2, control_dt_s=0.05)
    batch.reset([0, 1])
    batch.step(np.zeros((2, 10), np.float32))
    assert batch.simulation.substeps == 10
    assert batch.simulation.batch.bind("time")[0] == pytest.approx(0.05)


def test_an_unknown_task_is_met_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown task 'stow_cube' .did you mean 'stow-cube'"):
        get_task("stow_cube")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_mode": "ee_twits"}, "did you mean 'ee_twist'"),
        ({"control_dt_s": 0.0123}, "multiple of the physics step"),
        ({"n": 0}, "at least 1, got 0"),
    ],
)
def test_impossible_options_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        TaskBatch("wipe", **{"n": 1, **options})


def test_actions_and_seeds_of_another_shape_are_usage_errors():
    batch = TaskBatch("wipe", 2)
    with pytest.raises(UsageError, match="expected 2, one per simulation, got 1"):
        batch.reset([0])
    batch.reset([0, 1])
    with pytest.raises(UsageError, match=r"expected shape \(2, 10\), got \(10,\)"):
        batch.step(np.zeros(10, np.float32))
