"""Recordings of Gymnasium environments by any callable, here and in another process."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from vand_demos import DemoDataset, record_env
from vand_demos.record_env import EnvOptions
from vand_demos.storage.check import iterate_check
from vand_envs.errors import UsageError, VandError
from vand_robot.foreign.remote_env import RemoteEnv


def swing(seen) -> np.ndarray:
    """Pushes a pendulum the way that it goes."""
    return np.array([2.0 * np.sign(seen[2] or 1.0)], np.float32)


class Reach(gymnasium.Env):
    """A point moves to a goal, in an image and in numbers; every third seed cannot be done."""

    metadata = {"render_fps": 25}  # noqa: RUF012  (as Gymnasium has it)
    action_space = spaces.Box(-3.0, np.float32([1.0, 2.0]), (2,))
    observation_space = spaces.Dict(
        {
            "hand": spaces.Dict({"pos": spaces.Box(-9, 9, (2,))}),
            "rgb": spaces.Box(0, 255, (4, 5, 3), np.uint8),
        }
    )

    def reset(self, *, seed=None, options=None):
        self.at, self.steps, self.possible = np.zeros(2), 0, seed % 3 != 2
        return self._see(), {}

    def step(self, action):
        self.at, self.steps = self.at + action, self.steps + 1
        over = self.steps == 4
        return self._see(), -1.5, over, False, {"success": over and self.possible}

    def _see(self):
        rgb = np.full((4, 5, 3), self.steps, np.uint8)
        return {"hand": {"pos": self.at.astype(np.float32)}, "rgb": rgb}


def test_an_environment_of_gymnasium_is_recorded_with_its_own_units(tmp_path: Path):
    out = tmp_path / "swing.hdf5"
    env = gymnasium.make("Pendulum-v1", max_episode_steps=20)
    report = record_env(env, swing, 3, out, EnvOptions(instruction="swing up", first_seed=7))
    assert (report.recorded, report.attempts, report.steps) == (3, 3, 60)
    assert not [text for kind, text in iterate_check(out) if kind == "fault"]
    with DemoDataset.open(out) as dataset:
        episode = dataset.episode("demo_1")
        assert (episode.task, episode.seed, episode.success) == ("swing-up", 8, None)
        assert episode.control_dt_s == pytest.approx(0.05)
        assert set(np.unique(episode.native_actions)) == {-2.0, 2.0}
        seen, _ = env.reset(seed=8)
        for step in range(20):
            assert np.array_equal(episode.observations["observation"][step], seen)
            seen, reward, *_ = env.step(episode.native_actions[step].astype(np.float32))
            assert episode.rewards[step] == np.float32(reward)
        assert dataset.env_args["env_kwargs"]["source_env"]["env_name"] == "Pendulum-v1"


def test_the_same_goes_through_another_process(tmp_path: Path):
    here, there = tmp_path / "here.hdf5", tmp_path / "there.hdf5"
    env = gymnasium.make("Pendulum-v1")
    options = EnvOptions(max_steps=15)
    record_env(env, swing, 2, here, options)
    with RemoteEnv("Pendulum-v1") as remote:
        record_env(remote, lambda seen: swing(seen["observation"]), 2, there, options)
    with DemoDataset.open(here) as ours, DemoDataset.open(there) as theirs:
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a.actions, b.actions)
            assert np.array_equal(a.observations["observation"], b.observations["observation"])


def test_failures_are_left_out_and_seeds_go_on(tmp_path: Path):
    out = tmp_path / "reach.hdf5"
    env = Reach()
    push = lambda _: np.array([0.5, 9.0])  # noqa: E731
    report = record_env(env, push, 3, out, EnvOptions())
    assert (report.recorded, report.attempts) == (3, 4)
    report = record_env(env, push, 2, out, EnvOptions(keep_failures=True), resume=True)
    assert report.total == 5
    with DemoDataset.open(out) as dataset:
        assert [dataset.attribute(n, "seed") for n in dataset.names] == [0, 1, 3, 4, 5]
        assert [dataset.attribute(n, "success") for n in dataset.names][-2:] == [True, False]
        episode = dataset.episode("demo_0")
        assert list(episode.observations) == ["hand.pos", "rgb"]
        assert episode.native_actions[0].tolist() == pytest.approx([0.5, 2.0])  # executed so
        assert np.allclose(episode.observations["hand.pos"][:, 1], [0, 2, 4, 6])
        assert episode.observations["rgb"][3, 0, 0, 0] == 3


def test_finished_episodes_stay_when_a_later_one_breaks(tmp_path: Path):
    out = tmp_path / "a.hdf5"
    calls = []

    def tiring(seen):
        calls.append(1)
        return np.array([0.1, np.nan if len(calls) > 6 else 0.1])

    with pytest.raises(VandError, match=r"Reach: episode of seed 1: action 2: \[0.1, nan\] is not"):
        record_env(Reach(), tiring, 3, out, EnvOptions())
    with DemoDataset.open(out) as dataset:
        assert len(dataset) == 1

    def stopped(seen):
        raise KeyboardInterrupt

    report = record_env(Reach(), stopped, 3, out, resume=True)
    assert (report.interrupted, report.total) == (True, 1)


def test_mistakes_are_one_line(tmp_path: Path):
    out = tmp_path / "a.hdf5"
    env = Reach()
    env.action_space = spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(VandError, match="expected a Discrete space, or a Box with bounds"):
        record_env(env, lambda _: np.zeros(2), 1, out)
    with pytest.raises(VandError, match="expected 2 numbers, got 3"):
        record_env(Reach(), lambda _: np.zeros(3), 1, out)
    env = Reach()
    env.metadata = {}
    with pytest.raises(UsageError, match="does not tell its control step"):
        record_env(env, lambda _: np.zeros(2), 1, out)


def test_an_environment_that_never_succeeds_is_given_up(tmp_path: Path):
    class Impossible(Reach):
        def step(self, action):
            return self._see(), 0.0, True, False, {"success": 0}

    with pytest.raises(VandError, match="only 0 of 5 episodes succeeded"):
        record_env(Impossible(), lambda _: np.zeros(2), 1, tmp_path / "a.hdf5")
