"""Rollouts of a policy."""

import numpy as np
import pytest

from vand_demos import DemoDataset
from vand_demos.system.json_record import JsonRecord
from vand_envs import VANDER, TaskBatch, get_task
from vand_envs.errors import UsageError, VandError
from vand_envs.geometry import hand_path
from vand_envs.seeds import MAX_SESSION, SEEDS_PER_SESSION, TEST_SEED, VALIDATION_SEED
from vand_robot.evaluation.evaluate import evaluate
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.rollout import POLICY_BATCH_SIZE, rollout
from vand_robot.evaluation.scoring import score
from vand_robot.metrics.periodic import score_periodic
from vand_robot.policies.checkpoint import load_policy
from vand_robot.policies.expert import ExpertPolicy


class Stops:
    """Acts as a policy for some steps, and then not at all."""

    def __init__(self, policy, steps):
        self.spec, self._policy, self._steps = policy.spec, policy, steps

    def act(self, observation, state=None):
        step, inner = state or (0, None)
        actions, inner = self._policy.act(observation, inner)
        return actions if step < self._steps else np.zeros_like(actions), (step + 1, inner)


def test_rollouts_are_repeatable_and_do_not_depend_on_their_neighbors(run):
    policy = load_policy(run)
    one = rollout(policy, "wipe", [TEST_SEED, TEST_SEED + 1], 20)
    two = rollout(policy, "wipe", [TEST_SEED, TEST_SEED + 1], 20, num_threads=1)
    assert np.array_equal(one.qpos, two.qpos)
    assert one.qpos.shape[:2] == (21, 2)
    assert not np.array_equal(one.qpos[:, 0], one.qpos[:, 1])
    alone = rollout(policy, "wipe", [TEST_SEED + 1], 20)
    assert np.array_equal(alone.qpos[:, 0], one.qpos[:, 1])
    many = rollout(policy, "wipe", range(TEST_SEED, TEST_SEED + POLICY_BATCH_SIZE + 1), 5)
    assert np.array_equal(many.qpos[:, 1], one.qpos[:6, 1])


def test_a_perfect_policy_succeeds_and_is_timed(references):
    seeds = range(TEST_SEED, TEST_SEED + 3)
    done = rollout(ExpertPolicy(), "stow-cube", seeds)
    rows = score(done, references["stow-cube"])
    assert all(row["success"] and row["success_at_end"] for row in rows)
    assert all(row["stages_done"] == 4 and row["out_of_order"] == 0 for row in rows)
    assert all(0.5 < row["relative_time"] < 2.0 for row in rows)
    assert all(0.0 < row["path_distance"] < 0.2 for row in rows)
    assert (np.diff(done.stage_times_s, axis=1) > 0).all()
    assert np.allclose(done.success_s, done.stage_times_s[:, -1])


def test_a_periodic_policy_is_judged_over_three_times_the_demonstrations_length(references):
    """Wiping as demonstrated and then stopping is a failure."""
    seeds = range(TEST_SEED, TEST_SEED + 2)
    steps = 2 * references["wipe"].median_steps
    stops = rollout(Stops(ExpertPolicy(), 150), "wipe", seeds, steps)
    for row in score(stops, references["wipe"]):
        assert not row["success"]
        assert row["cycles"] > 2


def test_other_tasks_are_tracked_from_the_change_of_the_instruction_on():
    options = {"seeds": [TEST_SEED], "steps": 92, "also_track": ["wipe"]}
    whole = rollout(ExpertPolicy(), "wipe", **options)
    changed = rollout(ExpertPolicy(), "wipe", **options, switch=(90, "stow-cube"))
    assert whole.also_tracked["wipe"].cycles[0] == whole.progress.cycles[0] > 0.5
    assert abs(changed.also_tracked["wipe"].cycles[0]) < 0.1
    assert np.array_equal(whole.qpos[:91], changed.qpos[:91])


def test_a_counted_task_reports_count_return_and_rest_apart(references):
    """One that stops in the middle has the wrong count, is away, and is still."""
    done = rollout(Stops(ExpertPolicy(), 120), "wipe-4", [TEST_SEED])
    (row,) = score(done, references["stow-cube"])
    assert not row["success"]
    assert (row["count_right"], row["returned"], row["still"]) == (False, False, True)
    assert 0 < row["count"] < 3.5
    done = rollout(ExpertPolicy(), "wipe-4", [TEST_SEED])
    (row,) = score(done, references["stow-cube"])
    assert (row["count_right"], row["returned"], row["still"]) == (True, True, True)
    assert row["success"]


def test_demonstrations_succeed_by_their_own_reference(demos, references):
    cycle, reference = get_task("wipe").cycle, references["wipe"].cycle
    with DemoDataset.open(demos) as dataset:
        wipes = [episode for episode in dataset if episode.task == "wipe"]
    for episode in wipes:
        signal = cycle.phase_plane(episode.observations, VANDER)
        valid = cycle.valid(episode.observations, VANDER)
        assert score_periodic(signal, 0.1, reference, valid=valid).success


def test_references_survive_json(references):
    for task_reference in references.values():
        again = TaskReference.from_json(JsonRecord.of("a.json", task_reference.to_json()))
        assert again.to_json() == task_reference.to_json()
        assert again.median_steps == task_reference.median_steps


def test_hand_path_is_where_the_simulator_says():
    batch = TaskBatch("wipe", 2)
    observation = batch.reset([1, 2])
    action = np.full((2, 10), 0.3, np.float32)
    for _ in range(5):
        observation = batch.step(action)
    simulator = batch.simulation.site_xpos[:, batch.simulation.ee_site]
    assert np.allclose(hand_path(observation), simulator, atol=1e-6)


def test_recording_validation_and_test_seeds_do_not_meet():
    assert (MAX_SESSION + 1) * SEEDS_PER_SESSION <= VALIDATION_SEED
    assert VALIDATION_SEED + 1_000_000 < TEST_SEED


def test_an_unknown_task_is_a_usage_error(run):
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        rollout(load_policy(run), "wip", [0], 1)


def test_a_task_without_demonstrations_cannot_be_evaluated(run, references):
    only = {"wipe": references["wipe"]}
    with pytest.raises(VandError, match="was not trained on it"):
        evaluate(load_policy(run), ["stow-cube"], references=only, episodes=1)
