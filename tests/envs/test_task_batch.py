"""Invariants that hold for every task."""

import pickle
from itertools import combinations

import numpy as np
import pytest

from vand_envs import TaskBatch, get_task, make_world, task_ids
from vand_envs.errors import UsageError
from vand_envs.judging import TaskTracker
from vand_envs.simulation import Simulation
from vand_envs.world import World

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
def test_initial_states_are_randomized(task_id):
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


def test_some_can_be_told_another_task_before_the_one_that_judges_them():
    batch = TaskBatch("wipe", 3)
    batch.reset([0, 1, 2])
    told = batch.tell("stir")["instruction"].argmax(axis=1)
    assert told.tolist() == [task_ids().index("stir")] * 3
    batch.step(np.zeros((3, 10), np.float32))
    told = batch.tell("wipe", [1])["instruction"].argmax(axis=1)
    assert [task_ids()[index] for index in told] == ["stir", "wipe", "stir"]
    assert batch.task.id == "wipe"
    with pytest.raises(UsageError, match="did you mean 'stir'"):
        batch.tell("stri")


def test_who_is_told_another_task_is_judged_anew_and_the_others_are_not():
    """The drawer is out of its cabinet at first, for both; it stays so for one."""
    batch = TaskBatch("drawer-stow", 2)
    batch.reset([0, 1])
    slide = batch.model.joint(batch.model.body("drawer").jntadr[0]).qposadr[0]
    batch.qpos[:, slide] = 0.17
    batch.simulation.forward(np.arange(2))
    batch.step(np.zeros((2, 10), np.float32))
    assert batch.progress.stages_done.tolist() == [1, 1]
    batch.tell("drawer-stow", [1])
    assert batch.progress.stages_done.tolist() == [1, 0]


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
        ({"control_dt_s": 0}, "control_dt_s: expected a time step from .* to 1 s, got 0"),
        ({"control_dt_s": float("nan")}, "control_dt_s: .* got nan"),
        ({"control_dt_s": float("inf")}, "control_dt_s: .* got inf"),
        ({"control_dt_s": "0.1"}, "control_dt_s: .* got '0.1'"),
        ({"control_dt_s": None}, "control_dt_s: .* got None"),
        ({"control_dt_s": 3.0}, "control_dt_s: .* got 3.0"),
        ({"physics_dt_s": 0}, "physics_dt_s: expected a time step from 1e-05 .* got 0"),
        ({"physics_dt_s": float("nan")}, "physics_dt_s: .* got nan"),
        ({"physics_dt_s": -0.005}, "physics_dt_s: .* got -0.005"),
        ({"physics_dt_s": 1e-320}, "physics_dt_s: .* got 1e-320"),
        ({"physics_dt_s": "fast"}, "physics_dt_s: .* got 'fast'"),
        ({"n": 0}, "at least 1, got 0"),
    ],
)
def test_impossible_options_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        TaskBatch("wipe", **{"n": 1, **options})


def test_a_world_of_a_file_without_time_is_a_usage_error():
    world = make_world()
    still = world.model.__copy__()
    still.opt.timestep = 0.0
    with pytest.raises(UsageError, match=r"physics_dt_s: .* got 0.0"):
        Simulation(World(world.robot, still, world.xml), 1)


def test_actions_and_seeds_of_another_shape_are_usage_errors():
    batch = TaskBatch("wipe", 2)
    with pytest.raises(UsageError, match="expected 2, one per simulation, got 1"):
        batch.reset([0])
    batch.reset([0, 1])
    with pytest.raises(UsageError, match=r"expected shape \(2, 10\), got \(10,\)"):
        batch.step(np.zeros(10, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["ee_twist", "joint"])
def test_an_action_that_is_not_finite_is_refused_before_anything_moves(mode, value):
    batch, spared = (TaskBatch("wipe", 3, action_mode=mode) for _ in range(2))
    actions = _actions(3, batch.action_size)
    for both in (batch, spared):
        both.reset([0, 1, 2])
        both.step(actions[0])
    before = batch.state.copy()
    bad = actions[1].copy()
    bad[2, 4] = value
    message = f"actions: expected finite numbers, got {value} in simulation 2 at index 4"
    with pytest.raises(UsageError, match=message):
        batch.step(bad)
    assert np.array_equal(batch.state, before)
    for action in actions[1:10]:  # the arm is as alive as if nothing had been
        observation, expected = batch.step(action), spared.step(action)
    assert np.array_equal(batch.state, spared.state)
    assert all(np.array_equal(observation[key], expected[key]) for key in expected)


@pytest.mark.parametrize(
    ("seeds", "ids", "message"),
    [
        ([-1, 0, 0], None, "seed: expected an integer of at least 0, got -1"),
        ([0, 1.5, 0], None, "seed: expected an integer of at least 0, got 1.5"),
        ([0, None, 0], None, "seed: expected an integer of at least 0, got None"),
        ([0, 0, "1"], None, "seed: expected an integer of at least 0, got '1'"),
        (5, None, "seeds: expected 3, one per simulation, got 5"),
        (np.array(5), None, "seeds: expected 3, one per simulation, got 5"),
        ("123", None, "seeds: expected 3, one per simulation, got '123'"),
        ([1, 2], [1, 0], "ids: expected numbers from 0 to 2, ascending, got 0 after 1"),
        ([1, 2], [1, 1], "ids: .* got 1 after 1"),
        ([1], [3], "ids: expected numbers from 0 to 2, ascending, got 3"),
        ([1], [-1], "ids: .* got -1"),
        ([1, 2, 3], [0, 1, 5], "ids: .* got 5"),
        ([1], [1.5], r"ids: .* got \[1.5\]"),
        ([1], ["a"], r"ids: .* got \['a'\]"),
        ([1, 2], [True, False], r"ids: .* got \[True, False\]"),
        ([1], 1, "ids: .* got 1"),
        ([1], [], "seeds: expected 0, one per simulation, got 1"),
    ],
)
def test_impossible_resets_are_usage_errors_and_change_nothing(seeds, ids, message):
    batch = TaskBatch("wipe", 3)
    batch.reset([7, 8, 9])
    before = batch.state.copy()
    with pytest.raises(UsageError, match=message):
        batch.reset(seeds, ids)
    assert np.array_equal(batch.state, before)


def test_seeds_and_ids_may_be_numpy_integers():
    batch, same = TaskBatch("wipe", 3), TaskBatch("wipe", 3)
    batch.reset(np.array([7, 8, 9]))
    batch.reset(np.array([5], np.uint8), np.array([2], np.int32))
    same.reset([7, 8, 5])
    assert np.array_equal(batch.state, same.state)


@every_task
def test_a_task_can_be_sent_to_another_process_and_judges_the_same_there(task_id):
    task = get_task(task_id)
    sent = pickle.loads(pickle.dumps(task))
    assert sent == task
    batch = TaskBatch(sent, 2)
    observation = batch.reset([0, 1])
    assert task_ids() == tuple(batch.env_args["env_kwargs"]["instructions"])
    judges = [TaskTracker(t, batch.simulation) for t in (task, sent)]
    for judge in judges:
        judge.reset(np.arange(2), observation)
    for action in _actions(2):
        observation = batch.step(action)
        assert np.array_equal(*(judge.judge(observation) for judge in judges))
