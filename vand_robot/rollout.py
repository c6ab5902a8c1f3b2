"""Runs a policy in n simulations at once and records what happened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from vand_envs import Task, TaskBatch
from vand_envs.controller import action_mode
from vand_envs.errors import unknown_name
from vand_envs.typing import BoolArray, Float32Array, FloatArray, IntArray, Observation
from vand_robot.spec import PolicySpec

VALIDATION_SEED = 10_000_000
"""First episode seed of validation rollouts, which choose checkpoints and settings."""
TEST_SEED = 20_000_000
"""First episode seed of evaluations, which nothing may be tuned on. Recording stays below both."""

State = TypeVar("State")


class Policy(Protocol[State]):
    """What can be rolled out."""

    @property
    def spec(self) -> PolicySpec:
        """What the policy sees and says."""
        ...

    def act(
        self, observation: Observation, state: State | None = None
    ) -> tuple[Float32Array, State]:
        """Actions (n, A) for an observation, key -> (n, d), and the state for the next call."""
        ...


@dataclass(frozen=True)
class Rollout:
    """n episodes of T control steps. Everything at t was true after t steps; T + 1 moments."""

    task: Task
    seeds: tuple[int, ...]
    """Seeds of the episodes, n."""
    control_dt_s: float
    """Duration of a step [s]."""
    actions: Float32Array
    """(T, n, A)."""
    observations: dict[str, Float32Array]
    """Key -> (T + 1, n, d), without noise."""
    qpos: FloatArray
    """(T + 1, n, nq)."""
    stages_done: IntArray
    """Stages completed in order, (T + 1, n)."""
    out_of_order: IntArray
    """Stages that came true before their turn, (n,)."""
    at_end: BoolArray
    """Whether the goal holds at the end, (n,)."""

    @property
    def stage_times_s(self) -> FloatArray:
        """When each stage was completed in order, (n, S) [s]; nan where it was not."""
        stages = len(self.task.stages)
        done = self.stages_done[None] > np.arange(stages)[:, None, None]  # (S, T + 1, n)
        first = done.argmax(axis=1) * self.control_dt_s  # (S, n)
        return np.where(done.any(axis=1), first, np.nan).T

    def hand_paths(self) -> FloatArray:
        """Path of the end effector in the world, (n, T + 1, 3) [m]."""
        return hand_path({k: np.moveaxis(v, 1, 0) for k, v in self.observations.items()})


def hand_path(observations: Observation) -> FloatArray:
    """Position of the end effector in the world, (..., 3) [m], from observations of (...)."""
    x, y, cos, sin = np.moveaxis(observations["base_pose"].astype(np.float64), -1, 0)
    ahead, left, up = np.moveaxis(observations["ee_pos"].astype(np.float64), -1, 0)
    return np.stack([x + cos * ahead - sin * left, y + sin * ahead + cos * left, up], -1)


def make_batch(spec: PolicySpec, task_id: str, n: int, num_threads: int = 0) -> TaskBatch:
    """Makes n simulations of a task, as a policy needs them.

    Raises:
        UsageError: The policy does not know the task's instruction.
        VandError: The task's interface is not the policy's.
    """
    if task_id not in spec.instructions:
        raise unknown_name("task", task_id, spec.instructions)
    batch = TaskBatch(
        task_id,
        n,
        action_mode=action_mode(spec.action_mode),
        control_dt_s=spec.control_dt_s,
        num_threads=num_threads,
    )
    spec.require_compatible(batch.env_args)
    return batch


def rollout(
    policy: Policy[State],
    task_id: str,
    seeds: Sequence[int],
    steps: int | None = None,
    *,
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Let a policy act in one simulation per seed.

    Args:
        policy: The policy; its state runs through the whole episode.
        task_id: The instruction.
        seeds: Seeds of the episodes, n.
        steps: Control steps T; the task's horizon by default.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after every step with the steps done and T.

    Returns:
        What happened.

    Raises:
        UsageError: The policy does not know the task's instruction.
        VandError: The simulation and the policy do not fit together.
    """
    batch = make_batch(policy.spec, task_id, len(seeds), num_threads)
    steps = batch.horizon if steps is None else steps
    observation = batch.reset(seeds)
    observations = {
        key: np.empty((steps + 1, *value.shape), np.float32) for key, value in observation.items()
    }
    actions = np.empty((steps, batch.n, batch.action_size), np.float32)
    qpos = np.empty((steps + 1, *batch.qpos.shape))
    stages_done = np.empty((steps + 1, batch.n), np.int64)
    state: State | None = None
    for t in range(steps + 1):
        for key, value in observation.items():
            observations[key][t] = value
        qpos[t], stages_done[t] = batch.qpos, batch.progress.stages_done
        if t == steps:
            break
        actions[t], state = policy.act(observation, state)
        observation = batch.step(actions[t])
        if progress is not None:
            progress(t + 1, steps)
    judged = batch.progress
    return Rollout(
        task=batch.task,
        seeds=tuple(seeds),
        control_dt_s=batch.control_dt_s,
        actions=actions,
        observations=observations,
        qpos=qpos,
        stages_done=stages_done,
        out_of_order=judged.out_of_order,
        at_end=judged.at_end,
    )
