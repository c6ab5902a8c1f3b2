"""The Gymnasium environments."""

import copy
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from vand_envs import (
    VANDER,
    MobileManipulationEnv,
    MobileManipulationVectorEnv,
    get_task,
    task_ids,
)
from vand_envs.errors import UsageError

ENV_IDS = [get_task(task_id).env_id for task_id in task_ids()]


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_gymnasium_checker_passes(env_id):
    env = gymnasium.make(env_id, render_mode="rgb_array", width=64, height=48)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*observation space m.* value is -?infinity.*")
        check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_stable_baselines3_checker_passes(env_id):
    env = gymnasium.make(env_id)
    sb3_check_env(env.unwrapped, warn=False)
    env.close()


def test_rendering_works_without_a_display_and_shows_something():
    env = gymnasium.make("VandRobot/Wipe-v0", render_mode="rgb_array", width=160, height=120)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    assert picture.reshape(-1, 3).std(axis=0).min() > 10
    env.close()


def test_same_seed_gives_the_same_episode_and_no_seed_gives_another():
    env = gymnasium.make("VandRobot/StowCube-v0")
    first, _ = env.reset(seed=7)
    second, info = env.reset()
    third, _ = env.reset(seed=7)
    assert np.array_equal(first["cube_pos"], third["cube_pos"])
    assert not np.array_equal(first["cube_pos"], second["cube_pos"])
    assert info["seed"] >= 0


def test_vector_environment_equals_single_ones():
    vector = gymnasium.make_vec("VandRobot/Wipe-v0", num_envs=3)
    single = gymnasium.make("VandRobot/Wipe-v0")
    several, _ = vector.reset(seed=11)
    one, _ = single.reset(seed=12)
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 3, 10)).astype(np.float32)
    assert np.array_equal(several["ee_pos"][1], one["ee_pos"])
    for action in actions:
        several, *_ = vector.step(action)
        one, *_ = single.step(action[1])
    for key, value in one.items():
        assert np.array_equal(several[key][1], value), key
    assert vector.observation_space.contains(several)


def test_vector_episodes_begin_anew_after_their_horizon():
    vector = gymnasium.make_vec("VandRobot/Wipe-v0", num_envs=2, control_dt_s=0.5)
    vector.reset(seed=0)
    horizon = vector.batch.horizon
    still = np.zeros((2, 10), np.float32)
    for _ in range(horizon):
        _, _, _, truncated, _ = vector.step(still)
    assert truncated.all()
    _, reward, _, truncated, _ = vector.step(still)
    assert not truncated.any()
    assert (reward == 0).all()


def test_environments_import_neither_torch_nor_h5py():
    code = "import sys, vand_envs; print([m for m in ('torch', 'h5py') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"robot": "vanderr"}, "unknown robot 'vanderr' .did you mean 'vander'"),
        ({"render_mode": "rgb"}, "unknown render mode .rgb. .did you mean .rgb_array."),
        ({"instructions": ["wip"]}, "unknown task 'wipe' .did you mean 'wip'"),
        ({"control_dt_s": 0}, "control_dt_s: expected a time step .* got 0"),
        ({"control_dt_s": float("nan")}, "control_dt_s: .* got nan"),
        ({"control_dt_s": 3.0}, "control_dt_s: .* got 3.0"),
        ({"physics_dt_s": 0}, "physics_dt_s: expected a time step .* got 0"),
        ({"width": 0}, r"width \[pixel\]: expected an integer from 1 to .* got 0"),
        ({"height": "480"}, r"height \[pixel\]: expected an integer from 1 to .* got '480'"),
        ({"camera": "overvieww"}, "unknown camera 'overvieww' .did you mean 'overview'"),
    ],
)
def test_impossible_options_are_usage_errors(options, message):
    for make in (MobileManipulationEnv, MobileManipulationVectorEnv):
        with pytest.raises(UsageError, match=message):
            make("wipe", **options)


def test_frames_a_second_are_a_whole_number_at_the_longest_step():
    env = gymnasium.make("VandRobot/Wipe-v0", control_dt_s=1.0)
    assert env.metadata["render_fps"] == 1


def test_an_action_that_is_not_finite_is_refused_and_the_episode_goes_on():
    env, spared = (gymnasium.make("VandRobot/Wipe-v0") for _ in range(2))
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 10)).astype(np.float32)
    bad = actions[0].copy()
    bad[7] = np.nan
    for each in (env, spared):
        each.reset(seed=3)
    with pytest.raises(UsageError, match=r"actions: .* got nan in simulation 0 at index 7"):
        env.step(bad)
    for action in actions:
        one, other = env.step(action)[0], spared.step(action)[0]
    assert all(np.array_equal(one[key], other[key]) for key in other)


def test_a_vector_action_that_is_not_finite_is_refused_unless_it_is_ignored():
    vector, spared = (_vector(2, control_dt_s=1.0) for _ in range(2))
    for each in (vector, spared):
        each.reset(seed=0)
    still, bad = np.zeros((2, 10), np.float32), np.zeros((2, 10), np.float32)
    bad[1, 3] = np.nan
    with pytest.raises(UsageError, match=r"actions: .* got nan in simulation 1 at index 3"):
        vector.step(bad)
    for _ in range(vector.batch.horizon):
        for each in (vector, spared):
            _, _, _, truncated, _ = each.step(still)
    assert truncated.all()
    one, other = vector.step(bad)[0], spared.step(still)[0]  # both begin anew
    assert all(np.array_equal(one[key], other[key]) for key in other)
    with pytest.raises(UsageError, match=r"expected shape \(2, 10\), got \(10,\)"):
        vector.step(still[0])


def _vector(n, **options):
    return gymnasium.make_vec("VandRobot/Wipe-v0", num_envs=n, **options)


def _after_the_horizon(vector):
    """First observation of the episodes that follow the present ones."""
    still = np.zeros(vector.action_space.shape, np.float32)
    for _ in range(vector.unwrapped.batch.horizon + 1):
        observation, *_ = vector.step(still)
    return observation


def test_an_episode_after_seeds_from_a_list_is_that_of_a_single_environment():
    vector = _vector(3, control_dt_s=1.0)
    vector.reset(seed=[5, 1, np.int64(7)])
    begun = _after_the_horizon(vector)
    _, info = vector.reset()
    env = gymnasium.make("VandRobot/Wipe-v0", control_dt_s=1.0)
    for i, seed in enumerate([5, 1, 7]):
        env.reset(seed=seed)
        observation, _ = env.reset()
        assert np.array_equal(observation["cube_pos"], begun["cube_pos"][i])
        assert env.reset()[1]["seed"] == info["seed"][i]


def test_a_seed_of_none_in_a_list_goes_on_where_that_place_was():
    vector, env = _vector(2), gymnasium.make("VandRobot/Wipe-v0")
    vector.reset(seed=[5, 1])
    _, info = vector.reset(seed=[None, 2])
    env.reset(seed=5)
    assert info["seed"].tolist() == [env.reset()[1]["seed"], 2]
    seeds = [_vector(2).reset(seed=[None, 2])[1]["seed"][0] for _ in range(2)]
    assert seeds[0] != seeds[1]


def test_an_integer_seed_decides_all_later_episodes_whatever_came_before():
    one, other = _vector(2), _vector(2)
    other.reset(seed=[8, 9])
    seeds = []
    for vector in (one, other):
        _, first = vector.reset(seed=5)
        _, second = vector.reset()
        seeds.append([*first["seed"].tolist(), *second["seed"].tolist()])
    # what it always was: one generator, seeded with 5, for all places
    drawn = np.random.default_rng(5).integers(2**31 - 1, size=2).tolist()
    assert seeds == [[5, 6, *drawn]] * 2


@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_seeds_may_be_numpy_integers(kind):
    env = gymnasium.make("VandRobot/Wipe-v0").unwrapped
    assert env.reset(seed=kind(1))[1]["seed"] == 1
    after = env.reset()[1]["seed"]
    env.reset(seed=1)
    assert env.reset()[1]["seed"] == after
    assert _vector(2).reset(seed=kind(1))[1]["seed"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, "seed: expected an integer of at least 0, got -1"),
        (1.5, "seed: expected an integer.* got 1.5"),
        ("a", "seed.*: expected .* got 'a'"),
        ([1], "seed.*: expected .* got"),
    ],
)
def test_impossible_seeds_are_usage_errors_and_seed_nothing(seed, message):
    for env in (gymnasium.make("VandRobot/Wipe-v0").unwrapped, _vector(2)):
        env.reset(seed=4)
        with pytest.raises(UsageError, match=message):
            env.reset(seed=seed)
        drawn = np.ravel(env.reset()[1]["seed"])
        assert drawn[0] == np.random.default_rng(4).integers(2**31 - 1)


def test_a_list_with_an_impossible_seed_seeds_no_place():
    vector = _vector(2)
    vector.reset(seed=4)
    with pytest.raises(UsageError, match="seed: expected an integer of at least 0, got -1"):
        vector.reset(seed=[3, -1])
    assert vector.reset()[1]["seed"][0] == np.random.default_rng(4).integers(2**31 - 1)


def test_a_vector_environment_renders_what_single_ones_do():
    size = {"width": 64, "height": 48}
    vector = _vector(2, render_mode="rgb_array", **size)
    vector.reset(seed=3)
    pictures = vector.render()
    assert isinstance(pictures, tuple)
    env = gymnasium.make("VandRobot/Wipe-v0", render_mode="rgb_array", **size)
    for seed, picture in zip((3, 4), pictures, strict=True):
        env.reset(seed=seed)
        assert np.array_equal(env.render(), picture)
    assert vector.metadata["render_fps"] == env.metadata["render_fps"] == 10
    vector.close()
    env.close()
    assert _vector(2).render() is None
    with pytest.raises(UsageError, match="unknown render mode 'human'; known: rgb_array"):
        _vector(2, render_mode="human")


@pytest.mark.parametrize("env_id", ["VandRobot/PressABAC-v0", "VandRobot/Wipe-v0"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_an_environment_can_be_sent_to_another_process(env_id, copied):
    options = {"control_dt_s": 0.05, "action_mode": "joint", "render_mode": "rgb_array"}
    env = gymnasium.make(env_id, **options)
    vector = gymnasium.make_vec(env_id, num_envs=3, **options)
    sent, sent_vector = copied(env), copied(vector)
    assert sent.spec == env.spec
    assert sent_vector.spec == vector.spec
    assert sent.unwrapped.batch.env_args == env.unwrapped.batch.env_args
    assert sent_vector.num_envs == 3
    assert sent_vector.render_mode == sent.render_mode == "rgb_array"
    one, _ = sent.reset(seed=4)
    other, _ = env.reset(seed=4)
    several, _ = sent_vector.reset(seed=3)
    for key, value in other.items():
        assert np.array_equal(one[key], value)
        assert np.array_equal(several[key][1], value)


def test_every_task_is_registered():
    assert len(ENV_IDS) == len(task_ids()) >= 2
    assert all(env_id in gymnasium.registry for env_id in ENV_IDS)


def _keys_of_infos(env, actions):
    """Keys of the information of `reset`, and of each step after."""
    return [set(env.reset(seed=0)[1]), *(set(env.step(action)[-1]) for action in actions)]


@pytest.mark.parametrize("n", [None, 2])
def test_information_has_the_same_keys_after_reset_and_after_a_step(n):
    env = gymnasium.make("VandRobot/Wipe-v0") if n is None else _vector(n)
    keys = _keys_of_infos(env, np.zeros((2, *env.action_space.shape), np.float32))
    assert keys == [{"seed", "success", "at_end", "stages_done", "out_of_order", "cycles"}] * 3


def test_a_reset_mask_begins_only_those_episodes_anew():
    vector, spared = _vector(3), _vector(3)
    for each in (vector, spared):
        each.reset(seed=[1, 2, 3])
        each.step(np.zeros((3, 10), np.float32))
    mask = np.array([False, True, False])
    begun, info = vector.reset(seed=[None, 7, None], options={"reset_mask": mask})
    assert info["seed"].tolist() == [1, 7, 3]
    alone, _ = _vector(1).reset(seed=7)
    assert np.array_equal(begun["cube_pos"][1], alone["cube_pos"][0])
    action = np.full((3, 10), 0.1, np.float32)
    one, other = vector.step(action)[0], spared.step(action)[0]
    for key, value in other.items():
        assert np.array_equal(one[key][~mask], value[~mask]), key
    _, info = vector.reset(seed=20, options={"reset_mask": mask})
    assert info["seed"].tolist() == [1, 21, 3]


@pytest.mark.parametrize("mask", [[True], [False, False], [1, 0], "ab"])
def test_an_impossible_reset_mask_is_a_usage_error(mask):
    vector = _vector(2)
    vector.reset(seed=0)
    with pytest.raises(UsageError, match="reset_mask: expected 2 booleans, one true at least"):
        vector.reset(options={"reset_mask": mask})


def test_episodes_last_as_long_as_is_asked_for():
    single = gymnasium.make("VandRobot/Wipe-v0", max_episode_steps=5)
    vector = _vector(2, max_episode_steps=5)
    for env in (single, vector):
        assert env.spec.max_episode_steps == 5
        env.reset(seed=0)
        still = np.zeros(env.action_space.shape, np.float32)
        truncated = [np.all(env.step(still)[3]) for _ in range(5)]
        assert truncated == [False] * 4 + [True]
    assert gymnasium.make_vec(vector.spec).spec == vector.spec
    with pytest.raises(UsageError, match="max_episode_steps: expected an integer of at least 1"):
        _vector(2, max_episode_steps=0)


def test_a_specification_says_how_long_an_episode_lasts():
    for env in (gymnasium.make("VandRobot/Wipe-v0"), _vector(2)):
        assert env.spec.max_episode_steps == env.unwrapped.batch.horizon == 300
    assert gymnasium.make("VandRobot/Wipe-v0", control_dt_s=0.05).spec.max_episode_steps == 600


@pytest.mark.parametrize(
    "robot", [VANDER, replace(VANDER, name="other", arm=replace(VANDER.arm, leash=(0.05,) * 8))]
)
def test_a_specification_with_a_robot_survives_json(robot):
    env = gymnasium.make("VandRobot/Wipe-v0", robot=robot)
    spec = EnvSpec.from_json(env.spec.to_json())
    assert spec.kwargs["robot"] == "vander" if robot is VANDER else spec.kwargs["robot"]
    assert gymnasium.make(spec).unwrapped.batch.world.robot == robot


def test_the_instruction_has_the_places_that_are_asked_for():
    instructions = ["stir", "a task of somebody else", "wipe"]
    for env in (
        MobileManipulationEnv("wipe", instructions=instructions),
        MobileManipulationVectorEnv("wipe", 1, instructions=instructions),
    ):
        observation, _ = env.reset(seed=0)
        assert np.ravel(observation["instruction"]).tolist() == [0.0, 0.0, 1.0]
        assert env.batch.env_args["env_kwargs"]["instructions"] == instructions


def test_a_constructor_that_fails_leaves_nothing_to_close():
    code = (
        "import gc, vand_envs\n"
        "try: vand_envs.MobileManipulationVectorEnv('wip')\n"
        "except Exception as error: print(type(error).__name__)\n"
        "gc.collect()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("UsageError", "")
