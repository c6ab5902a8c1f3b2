"""Runs a policy in n simulations at once and records what happened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vand_envs import RobotSpec, Task, TaskBatch, get_task
from vand_envs.controller import action_mode
from vand_envs.errors import unknown_name
from vand_envs.geometry import hand_path
from vand_envs.judging import TaskProgress, TaskTracker
from vand_envs.tasks.home import on_dock, still
from vand_envs.typing import BoolArray, Float32Array, FloatArray, IntArray, Observation
from vand_robot.evaluation.perturbations import NOMINAL, Perturbation, streams
from vand_robot.interface import Policy, PolicySpec, State

POLICY_BATCH_SIZE = 25
"""Episodes for which a policy acts at once, always: matrix products round differently for other
numbers of rows, and an episode must not depend on how many others there are."""


@dataclass(frozen=True)
class Rollout:
    """n episodes of T control steps. Everything at t was true after t steps; T + 1 moments."""

    task: Task
    """What is judged: the last instruction."""
    robot: RobotSpec
    """The robot that acted."""
    seeds: tuple[int, ...]
    """Seeds of the episodes, n."""
    control_dt_s: float
    """Duration of a step [s]."""
    start: int
    """Step from which on it is judged: 0, or where the instruction changed."""
    actions: Float32Array
    """What the policy said, (T, n, A)."""
    observations: dict[str, Float32Array]
    """Key -> (T + 1, n, d), without noise; no images."""
    qpos: FloatArray
    """(T + 1, n, nq)."""
    stages_done: IntArray
    """Stages completed in order, (T + 1, n)."""
    success: BoolArray
    """Whether the task was done by then, (T + 1, n)."""
    progress: TaskProgress
    """The judgment at the end."""
    returned: BoolArray
    """Whether the base is on its dock at the end, (n,)."""
    still: BoolArray
    """Whether the base stands still at the end, (n,)."""
    shown: dict[str, TaskProgress] = field(default_factory=dict)
    """Other tasks -> the judgment of the same episodes by their criteria."""
    pushes_s: tuple[tuple[float, ...], ...] = ()
    """When each episode was pushed [s]."""

    @property
    def stage_times_s(self) -> FloatArray:
        """When each stage was completed in order, (n, S) [s]; nan where it was not."""
        stages = len(self.task.stage_names)
        done = self.stages_done[None, self.start :] > np.arange(stages)[:, None, None]
        return _first_s(done, self.control_dt_s)

    @property
    def success_s(self) -> FloatArray:
        """When the task was done, (n,) [s]; nan where it was not."""
        return _first_s(self.success[None, self.start :], self.control_dt_s)[:, 0]

    @property
    def judged(self) -> dict[str, Float32Array]:
        """The observations that are judged, key -> (T + 1 - start, n, d)."""
        return {key: value[self.start :] for key, value in self.observations.items()}

    def hand_paths(self) -> FloatArray:
        """Judged path of the end effector in the world, (n, T + 1 - start, 3) [m]."""
        return hand_path({k: np.moveaxis(v, 1, 0) for k, v in self.judged.items()})


def _first_s(flags: BoolArray, dt: float) -> FloatArray:
    """When flags (K, T + 1, n) first hold, (n, K) [s]; nan where they never do."""
    return np.where(flags.any(axis=1), flags.argmax(axis=1) * dt, np.nan).T


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
        cameras=spec.images,
        instructions=spec.instructions,
    )
    spec.require_compatible(batch.env_args)
    return batch


def rollout(
    policy: Policy[State],
    task_id: str,
    seeds: Sequence[int],
    steps: int | None = None,
    *,
    perturbation: Perturbation = NOMINAL,
    switch: tuple[int, str] | None = None,
    judges: Sequence[str] = (),
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Let a policy act in one simulation per seed.

    Args:
        policy: The policy; its state runs through the whole episode.
        task_id: The instruction.
        seeds: Seeds of the episodes, n.
        steps: Control steps T; the task's horizon by default.
        perturbation: What interferes.
        switch: The step at which the instruction changes, and the task that it changes to.
        judges: Tasks by whose criteria the episodes are judged beside.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after every step with the steps done and T.

    Returns:
        What happened: for each episode a function of the policy, its instructions, the perturbation
        and its seed.

    Raises:
        UsageError: The policy does not know the task's instruction.
        VandError: The simulation and the policy do not fit together.
    """
    batch = make_batch(policy.spec, task_id, len(seeds), num_threads)
    acting = FixedBatchPolicy(policy, batch.n)
    steps = batch.horizon if steps is None else steps
    sim, dt = batch.simulation, batch.control_dt_s
    interference = perturbation.begin(
        streams(task_id, perturbation.name, seeds), batch.controller.mode, steps, dt, sim
    )
    beside = {other: TaskTracker(get_task(other), sim) for other in judges}
    observation = batch.reset(seeds)
    kept = {
        key: np.empty((steps + 1, *value.shape), np.float32)
        for key, value in observation.items()
        if value.ndim == 2
    }
    actions = np.empty((steps, batch.n, batch.action_size), np.float32)
    qpos = np.empty((steps + 1, *batch.qpos.shape))
    stages_done = np.zeros((steps + 1, batch.n), np.int64)
    success = np.zeros((steps + 1, batch.n), bool)
    start, then = switch or (0, task_id)
    for t in range(steps + 1):
        if t == start:
            observation = batch.instruct(then) if switch else observation
            for judge in beside.values():
                judge.reset(np.arange(batch.n), observation)
        for key, array in kept.items():
            array[t] = observation[key]
        judged = batch.progress
        qpos[t], stages_done[t], success[t] = batch.qpos, judged.stages_done, judged.success
        if t == steps:
            break
        actions[t] = acting.act(interference.seen(observation))
        interference.push(sim, t)
        observation = batch.step(interference.executed(actions[t]))
        for judge in beside.values() if t >= start else ():
            judge.judge(observation)
        if progress is not None:
            progress(t + 1, steps)
    batch.close()
    return Rollout(
        task=batch.task,
        robot=batch.world.robot,
        seeds=tuple(seeds),
        control_dt_s=dt,
        start=start,
        actions=actions,
        observations=kept,
        qpos=qpos,
        stages_done=stages_done,
        success=success,
        progress=judged,
        returned=on_dock(sim),
        still=still(sim),
        shown={other: judge.progress for other, judge in beside.items()},
        pushes_s=interference.pushes_s,
    )


class FixedBatchPolicy:
    """Lets a policy act for n episodes, `POLICY_BATCH_SIZE` at a time, filled up with copies."""

    def __init__(self, policy: Policy[Any], n: int) -> None:
        self._policy = policy
        self._n = n
        filled = -(-n // POLICY_BATCH_SIZE) * POLICY_BATCH_SIZE
        self._rows = np.minimum(np.arange(filled), n - 1).reshape(-1, POLICY_BATCH_SIZE)
        self.states: list[Any] = [None] * len(self._rows)
        """State of the policy for each block of rows; an episode's copies follow it."""

    def act(self, observation: Observation) -> Float32Array:
        """Actions (n, A)."""
        actions = []
        for block, rows in enumerate(self._rows):
            seen = {key: value[rows] for key, value in observation.items()}
            action, self.states[block] = self._policy.act(seen, self.states[block])
            actions.append(action)
        return np.concatenate(actions)[: self._n]
