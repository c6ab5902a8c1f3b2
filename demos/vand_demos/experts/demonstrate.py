"""Experts at work: episodes of a task, many side by side."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from vand_demos.episode import Episode
from vand_demos.episode_builder import EpisodeBuilder
from vand_demos.experts import Expert, Script, make_expert
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_envs import Task, TaskBatch
from vand_envs.controller import ActionMode

TIME_LIMIT = 1.5
"""Episodes that take longer than this many horizons are given up, as failures."""

ModeArrays = dict[str, npt.NDArray[np.float32]]
FloatArray = npt.NDArray[np.float64]


def demonstrate(
    task: str | Task,
    seeds: Iterable[int],
    *,
    script: Script | None = None,
    disturbance: Disturbance | None = None,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    parallel: int = 16,
    num_threads: int = 0,
) -> Iterator[Episode]:
    """Demonstrate a task for one seed after the other.

    Args:
        task: Id of the task, or a task of your own, as for `TaskBatch`.
        seeds: Seeds of the episodes.
        script: What to do; by default what `SCRIPTS` says for the task.
        disturbance: Noise on what is executed, never on the recorded label; None for none.
        action_mode: What `actions` holds. The experts drive in `ee_twist`; the parts of both modes
            are recorded.
        control_dt_s: Duration of a step [s].
        parallel: Episodes run side by side; they do not depend on it.
        num_threads: Threads; 0 means one per processor.

    Yields:
        Episodes in the order of their seeds, successful or not.

    Raises:
        UsageError: An unknown task or action mode.
    """
    batch = TaskBatch(task, parallel, control_dt_s=control_dt_s, num_threads=num_threads)
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
        self, expert: Expert, seed: int, process: DisturbanceProcess | None, view: ModeArrays
    ) -> None:
        self.trace = EpisodeBuilder(seed, view)
        self.expert = expert
        self.process = process
        self.success = False
        self.over = False

    def executed(self, label: FloatArray) -> FloatArray:
        """What is executed where the expert says `label`, (10,)."""
        return label if self.process is None else self.process.apply(label, self.trace.view)


def _run(
    batch: TaskBatch,
    seeds: Sequence[int],
    script: Script | None,
    disturbance: Disturbance | None,
) -> list[_Demonstration]:
    """Run one episode for each seed, side by side, to its end."""
    spare = batch.n - len(seeds)  # simulations without an episode, at the end of the seeds
    observation = batch.reset([*seeds, *[0] * spare])
    dt = batch.control_dt_s
    running = [
        _Demonstration(
            make_expert(batch.task.id, seed, dt) if script is None else Expert(script, seed, dt),
            seed,
            None if disturbance is None else DisturbanceProcess(disturbance, seed, dt),
            _row(observation, i),
        )
        for i, seed in enumerate(seeds)
    ]
    for _ in range(round(TIME_LIMIT * batch.horizon)):
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
        if all(demo.over for demo in running):
            break
        parts, states = batch.controller.parts(labels), batch.state.copy()
        observation = batch.step(executed)
        for i, demo in enumerate(running):
            if not demo.over:
                demo.trace.add(
                    states[i], _row(parts, i), float(batch.reward[i]), _row(observation, i)
                )
    return running


def _row(arrays: ModeArrays, i: int) -> ModeArrays:
    return {key: value[i] for key, value in arrays.items()}
