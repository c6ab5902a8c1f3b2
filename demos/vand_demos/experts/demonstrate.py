"""Experts at work: episodes of a task, many side by side."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice

import numpy as np
import numpy.typing as npt

from vand_demos.episode import ACTION_MODES, Episode, utc_now
from vand_demos.experts import make_expert
from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_envs import TaskBatch
from vand_envs.controller import ActionMode

TIME_LIMIT = 1.5
"""Episodes that take longer than this many horizons are given up, as failures."""

ModeArrays = dict[str, npt.NDArray[np.float32]]
FloatArray = npt.NDArray[np.float64]


def demonstrate(
    task_id: str,
    seeds: Iterable[int],
    *,
    disturbance: Disturbance | None = None,
    action_mode: ActionMode = "ee_twist",
    control_dt_s: float = 0.1,
    parallel: int = 16,
    num_threads: int = 0,
) -> Iterator[Episode]:
    """Demonstrate a task for one seed after the other.

    Args:
        task_id: The task.
        seeds: Seeds of the episodes.
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
    batch = TaskBatch(task_id, parallel, control_dt_s=control_dt_s, num_threads=num_threads)
    remaining = iter(seeds)
    while chunk := list(islice(remaining, parallel)):
        for demonstration in _run(batch, chunk, disturbance):
            yield demonstration.episode(batch, action_mode)


class _Demonstration:
    """One running episode: its expert, and what is remembered of each step."""

    def __init__(self, batch: TaskBatch, seed: int, disturbance: Disturbance | None) -> None:
        self.seed = seed
        self.success = False
        self.over = False
        self.expert = make_expert(batch.task.id, seed, batch.control_dt_s)
        self.process = (
            DisturbanceProcess(disturbance, seed, batch.control_dt_s) if disturbance else None
        )
        self.views: list[ModeArrays] = []
        self.parts: list[ModeArrays] = []
        self.states: list[FloatArray] = []
        self.rewards: list[float] = []

    def executed(self, label: FloatArray, view: ModeArrays) -> FloatArray:
        """What is executed where the expert says `label`, (10,)."""
        return label if self.process is None else self.process.apply(label, view)

    def episode(self, batch: TaskBatch, action_mode: ActionMode) -> Episode:
        """The finished episode; `views` has one more entry than the other lists."""
        views = {key: np.stack([view[key] for view in self.views]) for key in self.views[0]}
        parts = {key: np.stack([part[key] for part in self.parts]) for key in self.parts[0]}
        steps = len(self.rewards)
        return Episode(
            task=batch.task.id,
            instruction=batch.task.instruction,
            seed=self.seed,
            success=self.success,
            device="expert",
            control_dt_s=batch.control_dt_s,
            action_mode=action_mode,
            observations={key: value[:-1] for key, value in views.items()},
            next_observations={key: value[1:] for key, value in views.items()},
            actions=np.concatenate([parts[part] for part in ACTION_MODES[action_mode]], axis=1),
            action_parts=parts,
            rewards=np.array(self.rewards, np.float32),
            dones=(np.arange(steps) == steps - 1).astype(np.int64),
            states=np.stack(self.states),
            model_file=batch.world.xml,
            recorded_at=utc_now(),
            versions={name: version(name) for name in ("vand-robot", "mujoco", "numpy")},
        )


def _run(
    batch: TaskBatch, seeds: Sequence[int], disturbance: Disturbance | None
) -> list[_Demonstration]:
    """Run one episode for each seed, side by side, to its end."""
    running = [_Demonstration(batch, seed, disturbance) for seed in seeds]
    spare = batch.n - len(seeds)  # simulations without an episode, at the end of the seeds
    observation = batch.reset([*seeds, *[0] * spare])
    for _ in range(round(TIME_LIMIT * batch.horizon)):
        labels = np.zeros((batch.n, batch.action_size))
        executed = np.zeros((batch.n, batch.action_size), np.float32)
        progress = batch.progress
        for i, demo in enumerate(running):
            if demo.over:
                continue
            view = {key: value[i] for key, value in observation.items()}
            demo.views.append(view)
            label = demo.expert.act(view)
            if label is None:
                demo.over = True
                demo.success = bool(progress.at_end[i] and demo.rewards)
                continue
            labels[i], executed[i] = label, demo.executed(label, view)
            demo.states.append(batch.state[i].copy())
        if all(demo.over for demo in running):
            break
        parts = batch.controller.parts(labels)
        observation = batch.step(executed)
        for i, demo in enumerate(running):
            if not demo.over:
                demo.parts.append({key: value[i] for key, value in parts.items()})
                demo.rewards.append(float(batch.reward[i]))
    for i, demo in enumerate(running):
        if not demo.over:  # out of time
            demo.views.append({key: value[i] for key, value in observation.items()})
    return running
