"""Demonstrate a task by its expert, many episodes side by side."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vand_demos.episode import Episode
from vand_demos.episode_builder import EpisodeBuilder
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_demos.experts.expert import EXPERTS, Demonstrator, Expert, Script
from vand_demos.switching import switch_step, taking_over
from vand_envs import Task, TaskBatch, get_task
from vand_envs.controller import ActionMode
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.typing import Float32Array, FloatArray

TIME_LIMIT = 1.5
"""Episodes that take longer than this many horizons are given up, as failures."""

ModeArrays = dict[str, Float32Array]


def demonstrate(
    task: str | Task,
    seeds: Iterable[int],
    *,
    script: Script | Demonstrator | None = None,
    first: str | None = None,
    disturbance: Disturbance | None = None,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    parallel: int = 16,
    num_threads: int = 0,
    robot: RobotSpec = DEFAULT_ROBOT,
) -> Iterator[Episode]:
    """Demonstrate a task for one seed after the other.

    Args:
        task: Id of the task, or a task of your own, as for `TaskBatch`.
        seeds: Seeds of the episodes.
        script: What to do; by default what `EXPERTS` says for the task.
        first: Id of a task whose expert begins. At a moment that the seed draws (`switch_step`) the
            instruction becomes the task, its expert takes over, and judgment begins.
        disturbance: Noise on what is executed, never on the recorded label; None for none.
        action_mode: What `actions` holds. The experts drive in `ee_twist`; the parts of both modes
            are recorded.
        control_dt_s: Duration of a step [s].
        parallel: Episodes run side by side; they do not depend on it.
        num_threads: Threads; 0 means one per processor.
        robot: The robot that demonstrates it.

    Yields:
        Episodes in the order of their seeds, successful or not.

    Raises:
        UsageError: An unknown task or action mode.
    """
    batch = TaskBatch(
        task, parallel, control_dt_s=control_dt_s, num_threads=num_threads, robot=robot
    )
    if script is None:
        script = EXPERTS[batch.task.id]
    elif not isinstance(script, Script):
        script = Script(script)
    before = None if first is None else Before(get_task(first), EXPERTS[first])
    remaining = iter(seeds)
    while chunk := list(islice(remaining, parallel)):
        for demonstration in _run(batch, chunk, script, disturbance, before):
            yield demonstration.trace.episode(
                batch,
                action_mode=action_mode,
                device="expert",
                success=demonstration.success,
            )


@dataclass(frozen=True)
class Before:
    """What is demonstrated before the instruction changes."""

    task: Task
    """The task."""
    script: Script
    """How it is demonstrated; a rhythm goes on until the change."""


class _Demonstration:
    """One running episode, and its expert."""

    def __init__(
        self,
        script: Script,
        seed: int,
        disturbance: Disturbance | None,
        batch: TaskBatch,
        view: ModeArrays,
        before: Before | None,
    ) -> None:
        robot, dt = batch.world.robot, batch.control_dt_s
        self.trace = EpisodeBuilder(seed, view)
        self._script = script if before is None else before.script
        demonstration = script.demonstration
        self.change = 0 if before is None else switch_step(before.task, seed, dt)
        """Step from which on the task is told and judged."""
        self._next: tuple[Script, Expert] | None = None
        if before is not None:
            self._next = script, Expert(taking_over(script), seed, dt, robot)
            demonstration = before.script.endless or before.script.demonstration
        self._expert = Expert(demonstration, seed, dt, robot)
        self._last = np.zeros(batch.action_size)
        self._grips = bool(robot.gripper_size)
        self.process = (
            None
            if disturbance is None
            else DisturbanceProcess(
                disturbance, seed, dt, lambda v: self._script.in_contact(v, robot), robot
            )
        )
        self.limit = self.change + round(TIME_LIMIT * batch.horizon)
        """Step at which the episode is given up."""
        self.success = False
        self.over = False

    def label(self) -> FloatArray | None:
        """The expert's action (A,); None where the demonstration is over.

        A first expert that is done before the instruction changes stands still.
        """
        if self._next is not None and len(self.trace) >= self.change:
            (self._script, self._expert), self._next = self._next, None
        action = self._expert.act(self.trace.view)
        if action is None and self._next is not None:
            action = np.zeros_like(self._last)
            if self._grips:
                action[-1] = self._last[-1]  # the gripper comes last in every mode
        if action is not None:
            self._last = action
        return action

    def executed(self, label: FloatArray) -> FloatArray:
        """The action (A,) that is executed where the expert says `label`."""
        return label if self.process is None else self.process.apply(label, self.trace.view)

    @property
    def disturbed(self) -> bool:
        """Whether the latest step is disturbed, or recovers from a disturbance."""
        return self.process is not None and self.process.disturbed


def _run(
    batch: TaskBatch,
    seeds: Sequence[int],
    script: Script,
    disturbance: Disturbance | None,
    before: Before | None,
) -> list[_Demonstration]:
    """Run one episode for each seed, side by side, to its end."""
    spare = batch.n - len(seeds)  # simulations without an episode, at the end of the seeds
    observation = batch.reset([*seeds, *[0] * spare])
    if before is not None:
        observation = batch.tell(before.task.id)
    running = [
        _Demonstration(script, seed, disturbance, batch, _row(observation, i), before)
        for i, seed in enumerate(seeds)
    ]
    for _ in range(max(demo.limit for demo in running)):
        labels, executed = _act(running, batch)
        if all(demo.over for demo in running):
            break
        parts, states = batch.controller.parts(labels), batch.state.copy()
        observation = batch.step(executed)
        rewards = batch.reward.copy()
        changing = [i for i, demo in enumerate(running) if len(demo.trace) + 1 == demo.change]
        if changing:
            observation = batch.tell(batch.task.id, changing)
        for i, demo in enumerate(running):
            if not demo.over:
                told = len(demo.trace) >= demo.change
                demo.trace.add(
                    states[i],
                    _row(parts, i),
                    float(rewards[i]) if told else 0.0,
                    _row(observation, i),
                    disturbed=demo.disturbed,
                )
    return running


def _act(running: Sequence[_Demonstration], batch: TaskBatch) -> tuple[FloatArray, Float32Array]:
    """Labels and executed actions, (n, A) each; zero for episodes that are over, or end now."""
    labels = np.zeros((batch.n, batch.action_size))
    executed = np.zeros((batch.n, batch.action_size), np.float32)
    progress = batch.progress
    for i, demo in enumerate(running):
        demo.over |= len(demo.trace) >= demo.limit
        if demo.over:
            continue
        label = demo.label()
        if label is None:
            demo.over = True
            demo.success = bool(progress.at_end[i] and len(demo.trace))
            continue
        labels[i], executed[i] = label, demo.executed(label)
    return labels, executed


def _row(arrays: ModeArrays, i: int) -> ModeArrays:
    return {key: value[i] for key, value in arrays.items()}
