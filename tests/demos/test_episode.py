import copy
import dataclasses
import pickle

import numpy as np
import pytest

from tests.helpers.episodes import episode, fields, put, same
from vand_demos import Episode, EpisodeError
from vand_envs.errors import VandError


def test_an_episode_is_as_long_as_its_actions():
    assert len(episode(steps=5)) == 5


def test_arrays_cannot_be_changed_by_anybody():
    given = fields()
    built = Episode(**given)
    with pytest.raises(ValueError, match="read-only"):
        built.actions[0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        built.observations["key_0"][0, 0] = 0
    with pytest.raises(TypeError):
        built.observations["other"] = built.actions
    with pytest.raises(dataclasses.FrozenInstanceError):
        built.seed = 3
    before = built.actions.copy()
    given["actions"][:] = 0
    np.testing.assert_array_equal(built.actions, before)


def test_an_episode_goes_to_another_process_as_it_is():
    built = episode(image=True)
    for copied in (pickle.loads(pickle.dumps(built)), copy.deepcopy(built)):
        assert same(copied, built)
        assert copied.uid == built.uid
        with pytest.raises(ValueError, match="read-only"):
            copied.observations["key_0"][0, 0] = 0


def test_every_recording_has_an_identity_of_its_own():
    assert episode(0).uid != episode(0).uid


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_episodes_are_valid(steps):
    assert len(episode(steps=steps)) == steps


def test_states_action_parts_and_next_observations_may_be_left_out():
    assert episode(states=None, action_parts={}, next_observations={}).states is None


def test_images_are_bytes_with_three_channels():
    assert episode(image=True).observations["camera"].shape == (7, 4, 5, 3)


def changed(name, key=None, at=(2, 1), value=2.0):
    values = fields()[name]
    return {
        name: put(values, at, value)
        if key is None
        else {**values, key: put(values[key], at, value)}
    }


def cut(name, key=None):
    values = fields()[name]
    return {name: values[:-1] if key is None else {**values, key: values[key][:-1]}}


def cast(name, key, dtype):
    values = fields()[name]
    return {
        name: values.astype(dtype) if key is None else {**values, key: values[key].astype(dtype)}
    }


def without(name, key):
    return {name: {k: v for k, v in fields()[name].items() if k != key}}


NAN, INF = float("nan"), float("inf")

FAULTS = {
    "action beyond 1": (changed("actions", value=1.5), "actions[2, 1] = 1.5 is outside [-1, 1]"),
    "action below -1": (changed("actions", value=-1.1), "actions[2, 1] = -1.1"),
    "nan in actions": (changed("actions", value=NAN), "actions[2, 1] = nan is not finite"),
    "nan in observations": (changed("observations", "key_1", (6, 2), NAN), "obs/key_1[6, 2] = nan"),
    "inf in next": (
        changed("next_observations", "key_0", (6, 2), INF),
        "next_obs/key_0[6, 2] = inf",
    ),
    "nan in states": (changed("states", at=(0, 10), value=NAN), "states[0, 10] = nan"),
    "part beyond 1": (
        changed("action_parts", "joint_targets", (3, 7), 9.0),
        "action_dict/joint_targets[3, 7] = 9.0 is outside",
    ),
    "part differs": (
        changed("action_parts", "ee_twist", (3, 0), 0.0),
        "differs from base_twist + ee_twist + gripper",
    ),
    "reward of 2": (changed("rewards", at=(4,)), "rewards[4] = 2.0 is neither 0 nor 1"),
    "done of 2": (changed("dones", at=(4,), value=2), "dones[4] = 2 is neither 0 nor 1"),
    "short observation": (
        cut("observations", "key_0"),
        "obs/key_0: expected 7 steps, got shape (6, 3)",
    ),
    "short rewards": (cut("rewards"), "rewards: expected 7 steps, got shape (6,)"),
    "short states": (cut("states"), "states: expected 7 steps"),
    "float64 observation": (
        cast("observations", "key_0", np.float64),
        "obs/key_0: expected float32, got float64",
    ),
    "float32 states": (cast("states", None, np.float32), "states: expected float64, got float32"),
    "int32 dones": (cast("dones", None, np.int32), "dones: expected int64, got int32"),
    "short disturbed": (
        {"disturbed": np.zeros(6, np.bool_)},
        "disturbed: expected 7 steps, got shape (6,)",
    ),
    "disturbed of numbers": (
        {"disturbed": np.zeros(7, np.float32)},
        "disturbed: expected bool, got float32",
    ),
    "flat actions": ({"actions": np.zeros(7, np.float32)}, "actions: expected 2 axes"),
    "no steps": (
        {"actions": np.zeros((0, 10), np.float32)},
        "actions: expected at least one step, got none",
    ),
    "actions are a list": ({"actions": [[0.0] * 10] * 7}, "actions: expected an array, got list"),
    "next is not one later": (
        {"next_observations": fields()["observations"]},
        "differs from obs one step later",
    ),
    "no observations": (
        {"observations": {}, "next_observations": {}},
        "at least one observation key",
    ),
    "next lacks a key": (without("next_observations", "key_1"), "next_obs: 'key_1' is missing"),
    "obs lacks a key": (without("observations", "key_1"), "obs: 'key_1' is missing"),
    "part is missing": (without("action_parts", "gripper"), "action_dict: 'gripper' is missing"),
    "unknown part": (
        {"action_parts": {**fields()["action_parts"], "legs": np.zeros((7, 2), np.float32)}},
        "action_dict: unknown part 'legs'",
    ),
    "key with a slash": (
        {"observations": {"a/b": np.zeros((7, 2), np.float32)}, "next_observations": {}},
        "'a/b' is no valid key",
    ),
    "gray image": (
        {"observations": {"eye": np.zeros((7, 4, 4), np.uint8)}, "next_observations": {}},
        "obs/eye: expected an image (N, H, W, 3)",
    ),
    "unknown device": ({"device": "mouse"}, "device: expected one of expert, web"),
    "unknown mode": ({"action_mode": "torque"}, "action_mode: expected one of ee_twist, joint"),
    "negative seed": ({"seed": -1}, "seed: expected an integer >= 0, got -1"),
    "success as text": ({"success": "yes"}, "success: expected true or false, got 'yes'"),
    "no time step": (
        {"control_dt_s": 0.0},
        "control_dt_s: expected seconds from 1e-05 to 1, got 0.0",
    ),
    "endless time step": (
        {"control_dt_s": INF},
        "control_dt_s: expected seconds from 1e-05 to 1, got inf",
    ),
    "local time": (
        {"recorded_at": "2030-01-01T00:00:00+02:00"},
        "recorded_at: expected ISO 8601 in UTC",
    ),
    "no model": ({"model_file": ""}, "model_file: expected MJCF text"),
    "no task": ({"task": ""}, "task: expected a task id"),
    "version as number": ({"versions": {"mujoco": 4}}, "versions: expected text -> text"),
}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_named_with_its_array_index_and_value(changes, message):
    with pytest.raises(VandError) as caught:
        episode(0, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_message_names_the_episode():
    with pytest.raises(EpisodeError, match=r"^episode of 'wipe' \(seed 4\): "):
        episode(4, device="mouse")
    with pytest.raises(EpisodeError, match=r"^demo_3: "):
        episode(4, device="mouse", name="demo_3")


def test_every_fault_is_kept():
    with pytest.raises(EpisodeError, match=r"and 2 more") as caught:
        episode(0, **changed("actions"), **changed("rewards", at=(1,)), device="mouse")
    assert [fault.partition(":")[0].partition("[")[0] for fault in caught.value.faults] == [
        "device",
        "actions",
        "rewards",
    ]


def test_an_episode_is_shown_on_one_line():
    one = episode(3, success=False)
    assert repr(one) == "Episode('wipe', 7 steps of 0.1 s, failure, seed 3, by 'expert')"
    assert repr(one.renamed("demo_2")).startswith("Episode(demo_2: 'wipe', 7 steps")
