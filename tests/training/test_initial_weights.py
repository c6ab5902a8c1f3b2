"""Fine-tuning: what a new policy keeps of another run's weights, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.runs import random_episode, small_config, write, write_random
from vand_envs.errors import UsageError
from vand_robot.policies.checkpoint import load_policy
from vand_robot.training.trainer import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("init")
    data = write_random(folder / "a.hdf5")
    train(small_config(data), folder / "run")
    return folder / "run"


def begun(run, data, tmp_path, *overrides):
    """A policy that began with a run's weights and was hardly trained."""
    still = ("updates=1", "optimizer.learning_rate=0", "ema_decay=0")
    train(small_config(data, *still, *overrides), tmp_path / "new", init=run)
    return load_policy(tmp_path / "new")


def observation(policy, rng, n=3):
    return {
        k: rng.normal(size=(n, d)).astype(np.float32) for k, d in policy.spec.observations.items()
    }


def test_the_same_observations_give_the_same_actions(run, tmp_path):
    data = write_random(tmp_path / "b.hdf5", seed=5)
    old, new = load_policy(run), begun(run, data, tmp_path)
    seen = observation(old, np.random.default_rng(0))
    for _ in range(2):
        assert np.array_equal(old.act(seen)[0], new.act(seen)[0])


def test_what_is_dropped_is_left_out_as_if_it_were_at_its_mean(run, tmp_path):
    data = write_random(tmp_path / "b.hdf5", seed=5)
    old = load_policy(run)
    new = begun(run, data, tmp_path, "policy.observations=[ee_pos,instruction]")
    seen = observation(old, np.random.default_rng(0))
    at = list(old.spec.observations).index("gripper")
    assert at == 1
    mean = -old.normalizer.offset[3:5] / old.normalizer.scale[3:5]
    seen["gripper"] = np.tile(mean.numpy(), (3, 1)).astype(np.float32)
    assert np.allclose(old.act(seen)[0], new.act(seen)[0], atol=1e-5)


def test_new_tasks_begin_with_nothing_and_known_ones_keep_theirs(run, tmp_path):
    tasks = ("wipe", "press-3")
    rng = np.random.default_rng(1)
    episodes = []
    for i in range(6):
        episode = random_episode(rng, "wipe", 8, seed=i)
        episodes.append(episode)
    data = write(tmp_path / "b.hdf5", episodes, instructions=list(tasks))
    old, new = load_policy(run), begun(run, data, tmp_path)
    known = list(old.spec.instructions).index("wipe")
    old_at = sum(list(old.spec.observations.values())[:-1]) + known
    new_at = sum(list(new.spec.observations.values())[:-1])
    first, second = (p.state_dict()["encoder.0.weight"] for p in (old, new))
    assert torch.equal(first[:, old_at], second[:, new_at])
    assert not second[:, new_at + 1].any()


def test_what_does_not_fit_is_refused_by_name(run, tmp_path):
    data = write_random(tmp_path / "b.hdf5", seed=5)
    slow = write_random(tmp_path / "slow.hdf5", action_mode="ee_twist")
    for source, overrides, words in (
        (data, ("policy.hidden_size=16",), "policy.hidden_size was 8, now it is 16"),
        (data, ("policy.cell=lstm",), "policy.cell was 'gru', now it is 'lstm'"),
        (data, ("policy.regularizer=dropout",), "policy.regularizer"),
    ):
        with pytest.raises(UsageError, match=words):
            train(small_config(source, *overrides), tmp_path / "new", init=run)
    with pytest.raises(UsageError, match=r"no checkpoint: .*none does not exist"):
        train(small_config(slow), tmp_path / "new", init=tmp_path / "none")
    episodes = [random_episode(np.random.default_rng(i), "wipe", 8, seed=i) for i in range(3)]
    extra = [
        replace(e, observations={**e.observations, "new": e.observations["ee_pos"]})
        for e in episodes
    ]
    more = write(tmp_path / "more.hdf5", extra)
    with pytest.raises(UsageError, match="it never saw the observation 'new'"):
        train(small_config(more), tmp_path / "new", init=run)
