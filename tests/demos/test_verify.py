from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.episodes import put
from vand_demos import DemoDataset, write_dataset
from vand_demos.experts import Disturbance
from vand_demos.recording import record
from vand_demos.verify import load_verifiable, resimulate, restore
from vand_envs import make_world
from vand_envs.errors import UsageError, VandError


@pytest.fixture(scope="module")
def clean(demos):
    return load_verifiable(demos)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("disturbed") / "wipe.hdf5"
    record("wipe", path, episodes=1, session=5, disturbance=Disturbance(at_start=1.0))
    return load_verifiable(path)


def repainted(episode):
    """The same recording in a world that differs in nothing that moves."""
    text = make_world().xml.replace("<headlight ", '<headlight active="1" ', 1)
    assert text != episode.model_file
    return replace(episode, model_file=text)


def test_restored_states_give_what_was_observed_bit_for_bit(clean, disturbed):
    for episode in (clean, disturbed):
        result = restore(episode)
        assert result.exact
        assert result.built_in_world
        assert result.steps == len(episode)
        assert set(result.not_compared) == {"instruction"}
        assert result.differences.keys() | {"instruction"} == episode.observations.keys()


def test_an_observation_that_does_not_agree_is_measured(clean):
    rows = clean.observations["ee_pos"]
    seen = {**clean.observations, "ee_pos": put(rows, (7, 1), rows[7, 1] + 0.25)}
    result = restore(replace(clean, observations=seen))
    assert not result.exact
    assert result.differences["ee_pos"] == pytest.approx(0.25, rel=1e-5)
    assert sum(difference > 0 for difference in result.differences.values()) == 1


def test_actions_that_were_executed_give_the_same_again(clean):
    result = resimulate(clean, "actions")
    assert result.same_start
    assert result.other_steps == 0
    assert [round(at.time_s, 6) for at in result.divergence[:2]] == [1.0, 5.0]
    assert result.divergence[-1].time_s == pytest.approx((len(clean) - 1) * clean.control_dt_s)
    for at in result.divergence:
        assert at.hand_m == at.hand_rad == at.base_m == at.base_rad == at.objects_m == 0


def test_labels_of_a_disturbed_demonstration_diverge_and_its_controls_do_not(disturbed):
    labels = resimulate(disturbed, "actions")
    assert labels.other_steps > 5
    assert labels.divergence[-1].hand_m > 0.005
    executed = resimulate(disturbed, "controls")
    assert executed.other_steps == labels.other_steps
    assert executed.divergence[-1].hand_m == executed.divergence[-1].base_rad == 0


def test_a_start_that_the_seed_does_not_give_is_told(clean):
    result = resimulate(replace(clean, seed=clean.seed + 1), "controls")
    assert not result.same_start


def test_a_recording_of_another_world_is_restored_in_that(clean):
    episode = repainted(clean)
    result = restore(episode)
    assert not result.built_in_world
    assert max(result.differences.values()) < 1e-3  # MJCF is text: its numbers are rounded
    with pytest.raises(VandError, match="recorded in another world"):
        resimulate(episode, "actions")


def test_a_world_that_lacks_something_is_one_line(clean):
    bare = "<mujoco><worldbody><body><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    with pytest.raises(VandError, match="expected the site 'robot/ee' of robot 'vander', got none"):
        restore(replace(clean, model_file=bare))
    without_cube = clean.model_file.replace('"cube"', '"dice"')
    with pytest.raises(VandError, match="its world lacks what is observed here"):
        restore(replace(clean, model_file=without_cube))


def test_what_cannot_be_verified_is_one_line(demos, clean, tmp_path):
    with pytest.raises(UsageError, match="unknown episode 'demo_99'"):
        load_verifiable(demos, "demo_99")
    with pytest.raises(UsageError, match="unknown source 'states'"):
        resimulate(clean, "states")
    with DemoDataset.open(demos) as dataset:
        env_args = dataset.env_args
    bare = tmp_path / "bare.hdf5"
    write_dataset(bare, [clean], env_args, states=False, next_observations=False)
    with pytest.raises(VandError, match="demo_0 was recorded without states"):
        load_verifiable(bare)
    other = {**env_args, "env_kwargs": {**env_args["env_kwargs"], "robot": "stretch"}}
    write_dataset(tmp_path / "other.hdf5", [clean], other, next_observations=False)
    with pytest.raises(VandError, match=r"robot: expected 'vander', .*got 'stretch'"):
        load_verifiable(tmp_path / "other.hdf5")
    short = replace(clean, states=np.zeros((len(clean), 3)))
    with pytest.raises(VandError, match="states"):
        restore(short)
