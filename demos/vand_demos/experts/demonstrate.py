"""Demonstrate a task by its expert, many episodes side by side."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from vand_demos.episode import Episode
from vand_demos.episode_builder import EpisodeBuilder
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_demos.experts.expert import EXPERTS, Demonstrator, Expert, Script
from vand_envs import Task, TaskBatch
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
    remaining = iter(seeds)
    while chunk := list(islice(remaining, parallel)):
        for demonstration in _run(batch, chunk, script, disturbance):
            yield demonstration.trace.episode(
                batch,
                action_mode=action_mode,
                device="expert",
                success=demonstration.success,
            )


class _Demonstration:
    """One running episode, and its expert."""

    def __init__(
        self,
        script: Script,
        seed: int,
        disturbance: Disturbance | None,
        batch: TaskBatch,
        view: ModeArrays,
    ) -> None:
        robot, dt = batch.world.robot, batch.control_dt_s
        self.trace = EpisodeBuilder(seed, view)
        self.expert = Expert(script.demonstration, seed, dt, robot)
        self.process = (
            None
            if disturbance is None
            else DisturbanceProcess(
                disturbance, seed, dt, lambda v: script.in_contact(v, robot), robot
            )
        )
        self.success = False
        self.over = False

    def executed(self, label: FloatArray) -> FloatArray:
        """The action (A,) that is executed where the expert says `label`."""
        return label if self.process is None else self.process.apply(label, self.trace.view)

    @property
    def disturbed(self) -> bool:
        """Whether the latest step is disturbed, or recovers from a disturbance."""
        return self.process is not None and self.process.disturbed


def _run(
    batch: TaskBatch, seeds: Sequence[int], script: Script, disturbance: Disturbance | None
) -> list[_Demonstration]:
    """Run one episode for each seed, side by side, to its end."""
    spare = batch.n - len(seeds)  # simulations without an episode, at the end of the seeds
    observation = batch.reset([*seeds, *[0] * spare])
    running = [
        _Demonstration(script, seed, disturbance, batch, _row(observation, i))
        for i, seed in enumerate(seeds)
    ]
    for _ in range(round(TIME_LIMIT * batch.horizon)):
        labels, executed = _act(running, batch)
        if all(demo.over for demo in running):
            break
        parts, states = batch.controller.parts(labels), batch.state.copy()
        observation = batch.step(executed)
        for i, demo in enumerate(running):
            if not demo.over:
                demo.trace.add(
                    states[i],
                    _row(parts, i),
                    float(batch.reward[i]),
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
        if demo.over:
            continue
        label = demo.expert.act(demo.trace.view)
        if label is None:
            demo.over = True
            demo.success = bool(progress.at_end[i] and len(demo.trace))
            continue
        labels[i], executed[i] = label, demo.executed(label)
    return labels, executed


def _row(arrays: ModeArrays, i: int) -> ModeArrays:
    return {key: value[i] for key, value in arrays.items()}
