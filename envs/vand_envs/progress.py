"""How far each episode has come with its task, judged online."""

from dataclasses import dataclass

import numpy as np

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Task
from vand_envs.typing import BoolArray, Float32Array, FloatArray, IntArray, Observation


@dataclass(frozen=True)
class Progress:
    """Judgement of n episodes so far."""

    stages_done: IntArray
    """Stages completed in order, (n,); 0 for periodic tasks."""
    out_of_order: IntArray
    """Times a later stage came true before its turn, (n,)."""
    cycles: FloatArray
    """Net cycles wound in the task's direction while the motion was valid, (n,)."""
    success: BoolArray
    """All stages done in order, or the task's minimum of cycles wound, (n,)."""
    at_end: BoolArray
    """The goal holds right now: success, and the last stage (or valid motion) at present, (n,)."""


class Judge:
    """Follows n episodes of one task."""

    def __init__(self, task: Task, simulation: Simulation) -> None:
        self._task = task
        self._sim = simulation
        n = simulation.n
        self._held = np.zeros((n, len(task.stages)), bool)
        self._done = np.zeros(n, np.int64)
        self._early = np.zeros(n, np.int64)
        self._cycles = np.zeros(n)
        self._closed = np.zeros(n, np.int64)
        self._angle = np.full(n, np.nan)  # last valid angle in the phase plane [rad]
        self._valid = np.zeros(n, bool)

    def reset(self, ids: IntArray, observation: Observation) -> None:
        """Forget episodes `ids`, whose first observation is given (all n rows of it)."""
        self._done[ids] = self._early[ids] = self._closed[ids] = 0
        self._cycles[ids] = 0.0
        self._angle[ids] = np.nan
        self._held[ids] = self._stages_now()[ids]
        if self._task.cycle is not None:
            self._valid[ids] = self._task.cycle.valid(observation)[ids]

    def judge(self, observation: Observation) -> Float32Array:
        """Take one step into account.

        Returns:
            Reward, (n,): 1 where a stage was completed in order or a cycle closed at this step.
        """
        if self._task.cycle is None:
            return self._judge_stages()
        return self._judge_cycle(observation)

    @property
    def progress(self) -> Progress:
        """The judgement so far; copies."""
        cycle = self._task.cycle
        if cycle is None:
            success = self._done == len(self._task.stages)
            at_end = success & self._held[:, -1]
        else:
            success = self._cycles >= cycle.min_cycles
            at_end = success & self._valid
        return Progress(
            stages_done=self._done.copy(),
            out_of_order=self._early.copy(),
            cycles=self._cycles.copy(),
            success=success,
            at_end=at_end,
        )

    def _stages_now(self) -> BoolArray:
        stages = self._task.stages
        if not stages:
            return self._held
        return np.stack([stage.holds(self._sim) for stage in stages], 1)  # (n, S)

    def _judge_stages(self) -> Float32Array:
        now = self._stages_now()
        done = self._done
        index = np.arange(now.shape[1])
        risen = now & ~self._held
        # A stage that comes true out of turn is counted when it rises, once for each rise.
        self._early += (risen & (index > done[:, None])).sum(1)
        pending = np.minimum(done, now.shape[1] - 1)
        completes = (done < now.shape[1]) & now[np.arange(len(done)), pending]
        self._done = done + completes
        self._held = now
        return np.asarray(completes, np.float32)

    def _judge_cycle(self, observation: Observation) -> Float32Array:
        cycle = self._task.cycle
        assert cycle is not None  # noqa: S101  (the caller looked)
        point = cycle.phase_plane(observation)  # (n, 2)
        radius = np.linalg.norm(point, axis=1)
        self._valid = (
            cycle.valid(observation) & (radius > cycle.radius[0]) & (radius < cycle.radius[1])
        )
        angle = np.where(self._valid, np.arctan2(point[:, 1], point[:, 0]), np.nan)
        turn = (angle - self._angle + np.pi) % (2 * np.pi) - np.pi
        # Winding counts between successive valid moments only: lifting off ends the arc.
        self._cycles += cycle.direction * np.nan_to_num(turn) / (2 * np.pi)
        self._angle = angle
        whole = np.floor(self._cycles).astype(np.int64)
        closes = whole > self._closed
        self._closed = np.maximum(self._closed, whole)
        return closes.astype(np.float32)
