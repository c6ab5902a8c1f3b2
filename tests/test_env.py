"""The Gymnasium environments."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from vand_envs import MobileManipulationEnv, task_ids
from vand_envs.errors import UsageError
from vand_envs.tasks import TASKS

ENV_IDS = [task.env_id for task in TASKS]


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
        ({"instructions": ["wipe"]}, "unknown instruction set"),
    ],
)
def test_impossible_options_are_usage_errors(options, message):
    with pytest.raises(UsageError, match=message):
        MobileManipulationEnv("wipe", **options)


def test_every_task_is_registered():
    assert len(ENV_IDS) == len(task_ids()) >= 2
    assert all(env_id in gymnasium.registry for env_id in ENV_IDS)
