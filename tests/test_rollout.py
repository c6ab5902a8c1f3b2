"""Rollouts of a policy."""

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_demos.experts import make_expert
from vand_demos.session import MAX_SESSION_SEED, SEEDS_PER_SESSION
from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_robot.checkpoint import load_policy
from vand_robot.evaluation import evaluate, judge
from vand_robot.metrics.periodic import score_periodic
from vand_robot.rollout import TEST_SEED, VALIDATION_SEED, hand_path, rollout
from vand_robot.spec import PolicySpec
from vand_robot.standard import Standard, standards_of


class ExpertPolicy:
    """The scripted expert behind the interface of a policy: what a perfect policy would reach."""

    def __init__(self, task_id, seeds, steps=None):
        batch = TaskBatch(task_id, 1)
        kwargs = batch.env_args["env_kwargs"]
        self.spec = PolicySpec(
            robot=kwargs["robot"],
            action_mode="ee_twist",
            action_size=10,
            control_dt_s=0.1,
            instructions=task_ids(),
            observations=batch.observation_sizes,
        )
        self._experts = [make_expert(task_id, seed) for seed in seeds]
        self._steps = steps

    def act(self, observation, state=None):
        actions = np.zeros((len(self._experts), 10), np.float32)
        for i, expert in enumerate(self._experts):
            action = expert.act({key: value[i] for key, value in observation.items()})
            actions[i] = np.zeros(10) if action is None else action
        step = (state or 0) + 1
        if self._steps is not None and step > self._steps:
            actions[:] = 0.0
        return actions, step


@pytest.fixture(scope="module")
def standards(demos):
    return standards_of([demos])


def test_rollouts_are_repeatable_and_do_not_depend_on_their_neighbours(run):
    policy = load_policy(run)
    one = rollout(policy, "wipe", [TEST_SEED, TEST_SEED + 1], 20)
    two = rollout(policy, "wipe", [TEST_SEED, TEST_SEED + 1], 20, num_threads=1)
    assert np.array_equal(one.qpos, two.qpos)
    assert one.qpos.shape[:2] == (21, 2)
    assert not np.array_equal(one.qpos[:, 0], one.qpos[:, 1])


def test_a_perfect_policy_succeeds_and_is_timed(standards):
    seeds = range(TEST_SEED, TEST_SEED + 4)
    done = rollout(ExpertPolicy("stow-cube", seeds), "stow-cube", seeds)
    rows = judge(done, standards["stow-cube"])
    assert all(row["success"] and row["success_at_end"] for row in rows)
    assert all(row["stages_done"] == 4 and row["out_of_order"] == 0 for row in rows)
    assert all(0.5 < row["relative_time"] < 2.0 for row in rows)
    times = done.stage_times_s
    assert (np.diff(times, axis=1) > 0).all()


def test_a_periodic_policy_is_judged_over_three_times_the_demonstrations_length(standards):
    """Wiping as demonstrated and then stopping is a failure."""
    seeds = range(TEST_SEED, TEST_SEED + 3)
    steps = 2 * standards["wipe"].median_steps
    stops = rollout(ExpertPolicy("wipe", seeds, steps=150), "wipe", seeds, steps)
    for row in judge(stops, standards["wipe"]):
        assert not row["success"]
        assert row["cycles"] > 2


def test_demonstrations_meet_their_own_standard(demos, standards):
    cycle, reference = get_task("wipe").cycle, standards["wipe"].reference
    with DemoDataset.open(demos) as dataset:
        wipes = [episode for episode in dataset if episode.task == "wipe"]
    for episode in wipes:
        signal = cycle.phase_plane(episode.observations)
        valid = cycle.valid(episode.observations)
        assert score_periodic(signal, 0.1, reference, valid=valid).success


def test_standards_survive_json(standards):
    for standard in standards.values():
        again = Standard.from_json(standard.to_json())
        assert again.to_json() == standard.to_json()
        assert again.median_steps == standard.median_steps


def test_hand_path_is_where_the_simulator_says():
    batch = TaskBatch("wipe", 2)
    observation = batch.reset([1, 2])
    action = np.full((2, 10), 0.3, np.float32)
    for _ in range(5):
        observation = batch.step(action)
    simulator = batch.simulation.site_xpos[:, batch.simulation.ee_site]
    assert np.allclose(hand_path(observation), simulator, atol=1e-6)


def test_recording_validation_and_test_seeds_do_not_meet():
    assert (MAX_SESSION_SEED + 1) * SEEDS_PER_SESSION <= VALIDATION_SEED
    assert VALIDATION_SEED + 1_000_000 < TEST_SEED


def test_evaluation_counts_what_its_rows_say_and_repeats(run, standards):
    policy = load_policy(run)
    first = evaluate(policy, standards, ["stow-cube", "wipe"], episodes=2)
    again = evaluate(policy, standards, ["stow-cube", "wipe"], episodes=2)
    assert first.results_json() == again.results_json()
    assert first.episodes_csv() == again.episodes_csv()
    results = first.results()
    for task, entry in results["tasks"].items():
        assert entry["successes"] == sum(row["success"] for row in first.tasks[task].rows)
        low, high = entry["wilson_95"]
        assert low <= entry["success_rate"] <= high
    assert len(first.episodes_csv().splitlines()) == 1 + 4


def test_an_unknown_task_is_a_usage_error(run):
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        rollout(load_policy(run), "wip", [0], 1)


def test_a_task_without_demonstrations_cannot_be_evaluated(run, standards):
    with pytest.raises(VandError, match="was not trained on it"):
        evaluate(load_policy(run), {"wipe": standards["wipe"]}, ["stow-cube"], episodes=1)
