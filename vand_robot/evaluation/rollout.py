"""Rollouts: a policy acts in n simulations at once, and what happens is recorded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vand_demos.scenes import get_scene
from vand_envs import RobotSpec, Task, TaskBatch, get_task
from vand_envs.controller import action_mode
from vand_envs.errors import unknown_name
from vand_envs.geometry import hand_path
from vand_envs.judging import TaskProgress, TaskTracker
from vand_envs.robot import get_robot
from vand_envs.tasks.home import on_dock, still
from vand_envs.typing import BoolArray, Float32Array, FloatArray, IntArray, Observation
from vand_robot.evaluation.perturbations import NOMINAL, Perturbation, RolloutContext, streams
from vand_robot.interface import Policy, PolicySpec, State

POLICY_BATCH_SIZE = 25
"""Episodes for which a policy acts at once, always: matrix products round differently for other
numbers of rows, and an episode must not depend on how many others there are."""


@dataclass(frozen=True)
class Rollout:
    """n episodes of T control steps. Everything at t was true after t steps; T + 1 moments."""

    task: Task
    """The task that is judged: the last instruction."""
    robot: RobotSpec
    """The robot that acted."""
    seeds: tuple[int, ...]
    """Seeds of the episodes, n."""
    control_dt_s: float
    """Duration of a step [s]."""
    start: int
    """Step from which on the task is judged: 0, or where the instruction changed."""
    actions: Float32Array
    """Actions of the policy, (T, n, A)."""
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
    also_tracked: dict[str, TaskProgress] = field(default_factory=dict)
    """Other tasks -> the judgment of the same episodes by their criteria, at the end."""
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
    """Make n simulations of a task, as a policy needs them.

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
        robot=get_robot(spec.robot),
        scene=get_scene(spec.scene),
    )
    spec.require_compatible(batch.env_args)
    return batch


class EpisodeStepper:
    """n episodes of a policy, one control step at a time.

    The episodes begin with the object. For each episode, what happens is a function of the policy,
    its instructions, the perturbation and its seed.

    Args:
        policy: The policy; its state runs through the whole episode.
        task_id: The instruction at first.
        seeds: Seeds of the episodes, n.
        steps: Control steps for which the perturbation is drawn; the task's horizon by default.
        perturbation: What disturbs the episodes.
        instructions: Later instructions: control step -> task. The episodes are judged anew then.
        also_track: Other tasks by whose criteria the episodes are judged, from the last change of
            the instruction on.
        num_threads: Threads of the simulations; 0 means one per processor.

    Raises:
        UsageError: The policy does not know the task's instruction.
        VandError: The simulation and the policy do not fit together.
    """

    def __init__(
        self,
        policy: Policy[State],
        task_id: str,
        seeds: Sequence[int],
        steps: int | None = None,
        *,
        perturbation: Perturbation = NOMINAL,
        instructions: Mapping[int, str] | None = None,
        also_track: Sequence[str] = (),
        num_threads: int = 0,
    ) -> None:
        self.batch = make_batch(policy.spec, task_id, len(seeds), num_threads)
        self.steps = self.batch.horizon if steps is None else steps
        self.steps_done = 0
        """Control steps taken so far."""
        self.policy = FixedBatchPolicy(policy, self.batch.n)
        self.process = perturbation.begin(
            RolloutContext(
                streams(task_id, perturbation.name, seeds),
                self.batch.controller.mode,
                self.steps,
                self.batch.control_dt_s,
                self.batch.simulation,
            )
        )
        self._instructions = dict(instructions or {})
        self._trackers = {
            other: TaskTracker(get_task(other), self.batch.simulation) for other in also_track
        }
        self.observation: Observation = self.batch.reset(seeds)
        """The latest observation, without noise."""
        self._begin_tracking()
        self._change_instruction()

    @property
    def also_tracked(self) -> dict[str, TaskProgress]:
        """Other tasks -> the judgment of the episodes by their criteria so far."""
        return {other: tracker.progress for other, tracker in self._trackers.items()}

    def instruct(self, task_id: str) -> None:
        """Change the instruction now; the episodes are judged anew, from here on."""
        self.observation = self.batch.instruct(task_id)
        self._begin_tracking()

    def step(self, wrenches: FloatArray | None = None) -> Float32Array:
        """Take one control step.

        Args:
            wrenches: Forces and torques beside those of the perturbation, (n, nbody, 6) or
                (nbody, 6) in the world [N, N m].

        Returns:
            Actions of the policy, (n, A).
        """
        simulation = self.batch.simulation
        actions = self.policy.act(self.process.seen(self.observation))
        self.process.push(self.steps_done)
        perturbed = simulation.wrench.copy()
        if wrenches is not None:
            simulation.wrench[:] += wrenches
        self.observation = self.batch.step(self.process.executed(actions))
        simulation.wrench[:] = perturbed
        if self.steps_done >= max(self._instructions, default=0):  # before, nothing would be kept
            for tracker in self._trackers.values():
                tracker.judge(self.observation)
        self.steps_done += 1
        self._change_instruction()
        return actions

    def close(self) -> None:
        """Free what draws images."""
        self.batch.close()

    def _change_instruction(self) -> None:
        if self.steps_done in self._instructions:
            self.instruct(self._instructions[self.steps_done])

    def _begin_tracking(self) -> None:
        for tracker in self._trackers.values():
            tracker.reset(np.arange(self.batch.n), self.observation)


def rollout(
    policy: Policy[State],
    task_id: str,
    seeds: Sequence[int],
    steps: int | None = None,
    *,
    perturbation: Perturbation = NOMINAL,
    switch: tuple[int, str] | None = None,
    also_track: Sequence[str] = (),
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Let a policy act in one simulation per seed, and record what happens.

    Args:
        policy: The policy; its state runs through the whole episode.
        task_id: The instruction.
        seeds: Seeds of the episodes, n.
        steps: Control steps T; the task's horizon by default.
        perturbation: What disturbs the episodes.
        switch: The step at which the instruction changes, and the task that it changes to.
        also_track: Other tasks by whose criteria the episodes are judged.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after every step with the steps done and T.

    Returns:
        The recorded episodes; see `EpisodeStepper` for what they depend on.

    Raises:
        UsageError: The policy does not know the task's instruction.
        VandError: The simulation and the policy do not fit together.
    """
    stepper = EpisodeStepper(
        policy,
        task_id,
        seeds,
        steps,
        perturbation=perturbation,
        instructions=None if switch is None else dict([switch]),
        also_track=also_track,
        num_threads=num_threads,
    )
    recorder = _Recorder(stepper, seeds, start=0 if switch is None else switch[0])
    for t in range(stepper.steps):
        recorder.actions[t] = stepper.step()
        recorder.add()
        if progress is not None:
            progress(t + 1, stepper.steps)
    stepper.close()
    return recorder.finish()


class _Recorder:
    """Fills the arrays of a `Rollout`, moment by moment from the first on."""

    def __init__(self, stepper: EpisodeStepper, seeds: Sequence[int], start: int) -> None:
        self._stepper, self._seeds, self._start = stepper, tuple(seeds), start
        batch, steps = stepper.batch, stepper.steps
        self.actions = np.empty((steps, batch.n, batch.action_size), np.float32)
        self._observations = {
            key: np.empty((steps + 1, *value.shape), np.float32)
            for key, value in stepper.observation.items()
            if value.ndim == 2
        }
        self._qpos = np.empty((steps + 1, *batch.qpos.shape))
        self._stages_done = np.zeros((steps + 1, batch.n), np.int64)
        self._success = np.zeros((steps + 1, batch.n), bool)
        self.add()

    def add(self) -> None:
        """Record the latest moment."""
        t, batch = self._stepper.steps_done, self._stepper.batch
        for key, array in self._observations.items():
            array[t] = self._stepper.observation[key]
        self._qpos[t] = batch.qpos
        progress = batch.progress
        self._stages_done[t], self._success[t] = progress.stages_done, progress.success

    def finish(self) -> Rollout:
        """The rollout, once all its moments are recorded."""
        batch = self._stepper.batch
        return Rollout(
            task=batch.task,
            robot=batch.world.robot,
            seeds=self._seeds,
            control_dt_s=batch.control_dt_s,
            start=self._start,
            actions=self.actions,
            observations=self._observations,
            qpos=self._qpos,
            stages_done=self._stages_done,
            success=self._success,
            progress=batch.progress,
            returned=on_dock(batch.simulation),
            still=still(batch.simulation),
            also_tracked=self._stepper.also_tracked,
            pushes_s=self._stepper.process.pushes_s,
        )


class FixedBatchPolicy:
    """A policy that acts for n episodes, `POLICY_BATCH_SIZE` at a time, filled up with copies.

    Args:
        policy: The policy.
        n: Number of episodes.
    """

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
