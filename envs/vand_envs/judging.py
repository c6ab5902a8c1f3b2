"""Progress of running episodes: stages completed in order, cycles counted, success."""

from dataclasses import dataclass

import numpy as np

from vand_envs.robot import RobotSpec
from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Cycle, Predicate, Task
from vand_envs.typing import BoolArray, Float32Array, FloatArray, IntArray, Observation

COUNT_SLACK = 0.15
"""Part of a counted cycle that may be missing, since the motion begins and ends within one."""


@dataclass(frozen=True)
class TaskProgress:
    """Progress of n episodes so far."""

    stages_done: IntArray
    """Stages completed in order, of `Task.stage_names`, (n,); 0 for periodic tasks."""
    out_of_order: IntArray
    """Number of events that came true out of their turn, (n,)."""
    cycles: FloatArray
    """Net cycles wound in the task's direction while the motion was valid, (n,)."""
    count: FloatArray
    """The task's count so far, (n,): cycles, or events of the first stage if it has no cycle."""
    success: BoolArray
    """Whether all stages were completed in order, with the right count, (n,). Of a task whose cycle
    goes on without end: whether enough cycles for a demonstration were wound (`Cycle.min_cycles`).
    An evaluation asks for more: that the rhythm keeps to the reference cycle up to the end."""
    at_end: BoolArray
    """Whether the goal holds at present, (n,): success, not spoilt since, the count still right,
    and the last stage (unless it is exact) or the motion's validity holds now."""


class TaskTracker:
    """Judges n running episodes by the criteria of one task.

    Stages with equal predicates are one event that comes several times. E is the number of events,
    S the number of stages.

    Args:
        task: The task; the robot may have been instructed with another one.
        simulation: The simulation of the episodes.
    """

    def __init__(self, task: Task, simulation: Simulation) -> None:
        self._task = task
        self._sim = simulation
        n = simulation.n
        self._counter = (
            None if task.cycle is None else CycleCounter(task.cycle, simulation.world.robot, n)
        )
        self._counted = len(task.stage_names) - len(task.stages)  # stages that are cycles
        # Stages that share a predicate are one event that must come again.
        self._events: list[tuple[Predicate, Predicate | None]] = list(
            dict.fromkeys((stage.holds, stage.until) for stage in task.stages)
        )
        self._event_of = np.array(
            [self._events.index((stage.holds, stage.until)) for stage in task.stages], np.int64
        )  # (S,)
        events = range(len(self._events))
        exact = np.array([stage.exact for stage in task.stages], bool)  # (S,)
        self._exact = np.array([exact[self._event_of == e].any() for e in events], bool)  # (E,)
        self._turn = np.array([(self._event_of == e).argmax() for e in events], np.int64)  # (E,)
        self._after = np.array(
            [stage.after_s or (-np.inf, np.inf) for stage in task.stages]
        ).reshape(-1, 2)  # (S, 2) [s]
        # Whether a stage's event must come true while the stage is pending, not just be true then.
        again = self._turn[self._event_of] < np.arange(len(task.stages))
        self._anew = again | np.isfinite(self._after[:, 0])  # (S,)
        self._held = np.zeros((n, len(self._events)), bool)
        self._rises = np.zeros((n, len(self._events)), np.int64)
        self._done = np.zeros(n, np.int64)
        self._early = np.zeros(n, np.int64)
        self._spoilt = np.zeros(n, bool)
        self._success = np.zeros(n, bool)
        self._closed = np.zeros(n, np.int64)
        self._since_s = np.zeros(n)  # time since the last stage was completed [s]

    def reset(self, ids: IntArray, observation: Observation) -> None:
        """Begin new episodes in `ids`.

        Args:
            ids: Simulations, (k,).
            observation: First observation of all n simulations.
        """
        for array in (self._done, self._early, self._closed, self._since_s, self._rises):
            array[ids] = 0
        self._spoilt[ids] = self._success[ids] = False
        self._held[ids] = False
        self._held[ids] = self._events_now()[ids]
        if self._counter is not None:
            self._counter.reset(ids, observation)

    def judge(self, observation: Observation) -> Float32Array:
        """Judge the state after one more step.

        Returns:
            Reward, (n,): 1 where a stage was completed in order or a cycle closed at this step.
        """
        self._since_s += self._sim.control_dt_s
        if self._counter is not None:
            self._counter.follow(observation)
        if self._task.judged_by_person:
            return np.zeros(self._sim.n, np.float32)
        if not self._task.stages:
            return self._close_cycles()
        reward = self._judge_stages()
        self._success |= (self._done == len(self._task.stage_names)) & self._count_is_right()
        return reward

    @property
    def progress(self) -> TaskProgress:
        """Progress so far, in copies."""
        cycle, counter = self._task.cycle, self._counter
        n = self._sim.n
        cycles = np.zeros(n) if counter is None else counter.cycles
        if self._task.stages:
            success = self._success.copy()
            # An exact stage stays complete; any other last stage must still hold.
            last = self._held[:, self._event_of[-1]] | self._task.stages[-1].exact
            at_end = success & last & ~self._spoilt & self._count_is_right()
        elif self._task.judged_by_person:
            success = at_end = np.zeros(n, bool)
        else:
            assert cycle is not None  # noqa: S101  (a task has stages or a cycle)
            assert counter is not None  # noqa: S101
            success = cycles >= cycle.min_cycles
            at_end = success & counter.valid
        return TaskProgress(
            stages_done=self._done.copy(),
            out_of_order=self._early.copy(),
            cycles=cycles,
            count=self._count(),
            success=success,
            at_end=at_end,
        )

    def _count(self) -> FloatArray:
        if self._counter is not None:
            return self._counter.cycles
        if not self._task.stages:
            return np.zeros(self._sim.n)
        return self._rises[:, self._event_of[0]].astype(np.float64)

    def _count_is_right(self) -> BoolArray:
        if self._task.count is None:
            return np.ones(self._sim.n, bool)
        return np.asarray(np.abs(self._count() - self._task.count) < 0.5)

    def _events_now(self) -> BoolArray:
        """Events that hold at present, (n, E); one that has an `until` holds until that is true."""
        now = np.zeros_like(self._held)
        for e, (holds, until) in enumerate(self._events):
            now[:, e] = holds(self._sim)
            if until is not None:
                now[:, e] |= self._held[:, e] & ~until(self._sim)
        return now

    def _judge_stages(self) -> Float32Array:
        now = self._events_now()
        risen = now & ~self._held  # (n, E)
        self._held = now
        self._rises += risen
        completed = self._complete_counted() if self._counted else np.zeros(len(now), bool)
        stages, rows = len(self._event_of), np.arange(len(now))
        stage = self._done - self._counted  # (n,) pending stage, negative while cycles are counted
        ready = (stage >= 0) & (stage < stages) & ~self._spoilt & ~completed
        pending = np.clip(stage, 0, stages - 1)
        event = self._event_of[pending]  # (n,)
        low, high = self._after[pending].T
        in_time = (self._since_s >= low) & (self._since_s <= high)
        there = np.where(self._anew[pending], risen[rows, event], now[rows, event])
        completes = ready & there & in_time
        # Out of turn: an event before the turn of its first stage, and an exact one at any other.
        others = risen.copy()
        others[rows[completes], event[completes]] = False
        wrong = others & (self._exact | (self._turn > stage[:, None]))
        self._early += wrong.sum(axis=1)
        self._spoilt |= (wrong & self._exact).any(axis=1)
        completed |= completes
        self._done = self._done + completes
        self._since_s[completed] = 0.0
        return np.asarray(completed, np.float32)

    def _complete_counted(self) -> BoolArray:
        """Complete stages that are counted cycles; whether one was completed, (n,)."""
        assert self._counter is not None  # noqa: S101  (cycles are counted)
        enough = self._counter.cycles >= self._done + 1 - COUNT_SLACK
        completes = (self._done < self._counted) & enough
        self._done = self._done + completes
        return np.asarray(completes)

    def _close_cycles(self) -> Float32Array:
        assert self._counter is not None  # noqa: S101  (the task is periodic)
        whole = np.floor(self._counter.cycles).astype(np.int64)
        closes = whole > self._closed
        self._closed = np.maximum(self._closed, whole)
        return closes.astype(np.float32)


class CycleCounter:
    """Counts the cycles of n motions in the phase plane.

    A motion's turns around a loop are the net angle that it covers about the loop's center, over
    2 pi. A cycle is one turn around every loop, so the count is the least of the turns: driving one
    loop of a figure of eight over and over counts nothing.

    Args:
        cycle: The cycle to count.
        robot: The robot that is observed.
        n: Number of motions.
    """

    def __init__(self, cycle: Cycle, robot: RobotSpec, n: int) -> None:
        self._cycle = cycle
        self._robot = robot
        self._centers = np.array([loop.center for loop in cycle.loops])  # (L, 2)
        self._direction = np.array([loop.direction for loop in cycle.loops])  # (L,)
        self._turns = np.zeros((n, len(cycle.loops)))
        self._angles = np.full(self._turns.shape, np.nan)  # last valid angles about the loops [rad]
        self.valid: BoolArray = np.zeros(n, bool)
        """Whether the motion counts at present, (n,): valid, and near enough to a loop."""

    @property
    def cycles(self) -> FloatArray:
        """Net cycles so far, (n,)."""
        least: FloatArray = self._turns.min(axis=1)
        return least

    def reset(self, ids: IntArray, observation: Observation) -> None:
        """Begin new episodes in `ids`, (k,); the observation is that of all n simulations."""
        self._turns[ids] = 0.0
        self._angles[ids] = np.nan
        self.valid[ids] = self._cycle.valid(observation, self._robot)[ids]

    def follow(self, observation: Observation) -> None:
        """Count one more step."""
        cycle = self._cycle
        offset = cycle.phase_plane(observation, self._robot)[:, None] - self._centers  # (n, L, 2)
        radius = np.linalg.norm(offset, axis=2).min(axis=1)  # (n,) from the nearest loop's center
        near = (radius > cycle.radius[0]) & (radius < cycle.radius[1])
        self.valid = cycle.valid(observation, self._robot) & near
        angles = np.arctan2(offset[..., 1], offset[..., 0])  # (n, L)
        angles[~self.valid] = np.nan
        turns = (angles - self._angles + np.pi) % (2 * np.pi) - np.pi
        # Angles are counted between successive valid moments only: lifting the hand ends an arc.
        self._turns += self._direction * np.nan_to_num(turns) / (2 * np.pi)
        self._angles = angles
