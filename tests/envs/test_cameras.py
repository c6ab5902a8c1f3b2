"""Camera images as observations."""

import warnings

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vand_envs import TaskBatch, make_world
from vand_envs.cameras import Cameras, parse_image_sizes
from vand_envs.errors import UsageError, VandError

SIZES = {"head_rgb": (24, 32), "wrist_rgb": (16, 16)}


@pytest.fixture(scope="module")
def moved():
    """Three robots after some steps: their observation, states and model."""
    batch = TaskBatch("wipe", 3, cameras=SIZES)
    batch.reset([5, 6, 7])
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 3, 10)).astype(np.float32):
        observation = batch.step(action)
    yield observation, batch.state.copy(), batch.model
    batch.close()


def test_without_cameras_there_are_no_images():
    batch = TaskBatch("wipe", 1)
    assert batch.image_sizes == {}
    assert set(batch.reset([0])) == set(batch.observation_sizes)
    assert "cameras" not in batch.env_args["env_kwargs"]


def test_images_show_something_else_through_each_camera(moved):
    observation, *_ = moved
    for key, size in SIZES.items():
        assert observation[key].shape == (3, *size, 3)
        assert observation[key].dtype == np.uint8
        assert observation[key].std() > 10
        assert not np.array_equal(observation[key][0], observation[key][1])


def test_an_image_does_not_depend_on_n_or_on_what_was_drawn_before(moved):
    observation, states, model = moved
    cameras = Cameras(model, SIZES)
    for i in (2, 0, 2):
        for key, image in cameras.render(states[i : i + 1]).items():
            assert np.array_equal(image[0], observation[key][i]), key
    cameras.close()


def test_a_camera_draws_the_same_whichever_others_there_are(moved):
    observation, states, model = moved
    for sizes in ({"wrist_rgb": (16, 16)}, {"wrist_rgb": (16, 16), "head_rgb": (16, 16)}):
        cameras = Cameras(model, sizes)
        assert np.array_equal(cameras.render(states)["wrist_rgb"], observation["wrist_rgb"])
        cameras.close()


def test_drawing_leaves_simulation_and_model_as_they_are(moved):
    _, states, _ = moved
    seeing, blind = TaskBatch("wipe", 3, cameras=SIZES), TaskBatch("wipe", 3)
    quality = seeing.model.vis.quality
    before = quality.numslices, quality.numstacks, quality.numquads, quality.offsamples
    for batch in (seeing, blind):
        batch.reset([5, 6, 7])
        for action in np.random.default_rng(0).uniform(-1, 1, (10, 3, 10)).astype(np.float32):
            batch.step(action)
    assert np.array_equal(seeing.state, blind.state)
    assert np.array_equal(seeing.state, states)
    assert before == (quality.numslices, quality.numstacks, quality.numquads, quality.offsamples)
    seeing.close()


def test_images_can_be_drawn_again_after_closing(moved):
    observation, states, model = moved
    cameras = Cameras(model, SIZES)
    cameras.render(states)
    cameras.close()
    cameras.close()
    assert np.array_equal(cameras.render(states)["head_rgb"], observation["head_rgb"])
    cameras.close()


def test_states_of_another_world_are_refused():
    cameras = Cameras(make_world().model, SIZES)
    with pytest.raises(VandError, match=r"states: expected shape \(n, \d+\).*got \(2, 7\)"):
        cameras.render(np.zeros((2, 7)))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"head_rbg": (8, 8)}, "did you mean 'head_rgb'"),
        ({"head_rgb": (8, 0)}, r"size of head_rgb: expected height and width.*got \(8, 0\)"),
        ({"head_rgb": (8, 8, 3)}, "size of head_rgb"),
        ({"head_rgb": (8, 1e6)}, "size of head_rgb"),
        ({"head_rgb": 8}, "size of head_rgb"),
    ],
)
def test_impossible_cameras_are_usage_errors(sizes, message):
    with pytest.raises(UsageError, match=message):
        TaskBatch("wipe", 1, cameras=sizes)


def test_a_robot_without_that_camera_is_named():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><camera name="robot/head"/></worldbody></mujoco>'
    )
    Cameras(model, {"head_rgb": (4, 8)})
    with pytest.raises(UsageError, match=r"camera for 'wrist_rgb': .* known: robot/head"):
        Cameras(model, SIZES)


def test_a_command_line_gives_width_before_height():
    assert parse_image_sizes("wrist_rgb, head_rgb", "64x48") == {
        "head_rgb": (48, 64),
        "wrist_rgb": (48, 64),
    }
    assert parse_image_sizes("", "64x64") == {}
    with pytest.raises(UsageError, match="WIDTHxHEIGHT such as 64x64, got '64'"):
        parse_image_sizes("head_rgb", "64")


def test_the_gymnasium_environment_observes_images():
    env = gymnasium.make("VandRobot/Wipe-v0", cameras=SIZES)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*observation space m.* value is -?infinity.*")
        check_env(env.unwrapped, skip_render_check=True)
    observation, _ = env.reset(seed=6)
    args = env.unwrapped.batch.env_args
    again = gymnasium.make(args["env_name"], **args["env_kwargs"])
    vector = gymnasium.make_vec("VandRobot/Wipe-v0", num_envs=2, cameras=SIZES)
    several, _ = vector.reset(seed=5)
    assert vector.observation_space.contains(several)
    for key in SIZES:
        assert np.array_equal(again.reset(seed=6)[0][key], observation[key])
        assert np.array_equal(several[key][1], observation[key])
    for made in (env, again, vector):
        made.close()
