"""What an evaluation consists of: episodes of one task under one condition, run side by side."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vand_envs import get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_envs.typing import BoolArray, Float32Array, FloatArray
from vand_robot.evaluation.perturbations import NOMINAL, Condition, Long, Switch, task_before
from vand_robot.evaluation.reference import Standard
from vand_robot.evaluation.rollout import POLICY_ROWS, Rollout, rollout
from vand_robot.evaluation.scoring import Row, phase_plane, score, shown
from vand_robot.interface import Policy, State

PERIODIC_HORIZON = 3.0
"""Periodic tasks are rolled out for this multiple of the demonstrations' median length."""


@dataclass(frozen=True)
class Unit:
    """Episodes of one task under one condition that are run side by side."""

    task: str
    """The task that is judged."""
    condition: Condition
    """What interferes."""
    seeds: tuple[int, ...]
    """Of the episodes."""
    steps: int
    """Length of the episodes [control step]."""
    before: tuple[str, int] | None = None
    """The instruction that comes first, and until which step."""

    @property
    def name(self) -> str:
        """What it is, as the stem of a file's name."""
        return f"{self.condition.name}-{self.task}-{self.seeds[0]}-{len(self.seeds)}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is kept of episodes of one task under one condition."""

    rows: tuple[Row, ...]
    """One for each episode."""
    stage_times_s: FloatArray
    """When each stage was completed in order, (n, S) [s]; nan where it was not."""
    signal: Float32Array | None = None
    """Under nominal conditions, the motion in a periodic task's phase plane, (n, T, 2)."""
    valid: BoolArray | None = None
    """Whether that motion counts, (n, T)."""

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(bool(row["success"]) for row in self.rows)


def plan(
    tasks: Sequence[str],
    conditions: Iterable[Condition],
    standards: Mapping[str, Standard],
    *,
    episodes: int,
    control_dt_s: float,
    first_seed: int = TEST_SEED,
) -> list[Unit]:
    """What an evaluation consists of.

    Units are as large as a policy acts for at once, counted from the first seed on, so that an
    episode has the same neighbours however many are asked for.

    Args:
        tasks: Task ids; one that is named again counts once.
        conditions: Those that do not apply to a task are left out for it; repeated ones count once.
        standards: What the demonstrations show, by every task that the policy was trained for.
        episodes: Episodes of each task under each condition.
        control_dt_s: Duration of a control step [s].
        first_seed: Seed of the first episode; the others follow it.

    Returns:
        The units, by condition, then task, then seed.

    Raises:
        UsageError: An unknown task, or no condition applies to any of the tasks.
        VandError: There is no standard for a task.
    """
    tasks = tuple(dict.fromkeys(tasks))
    for task_id in tasks:
        if get_task(task_id).id not in standards:
            raise VandError(
                f"task {task_id!r}: the policy was not trained on it"
                f" (trained on: {', '.join(standards) or 'none'})"
            )
    wanted = tuple(dict.fromkeys(conditions))
    known = [task for task in task_ids() if task in standards]
    seeds = range(first_seed, first_seed + episodes)
    units = []
    for condition in wanted:
        for task_id in tasks:
            before = task_before(task_id, known) if isinstance(condition, Switch) else None
            if not condition.applies(get_task(task_id)):
                continue
            if isinstance(condition, Switch) and before is None:
                continue
            steps = horizon_steps(task_id, standards[task_id], control_dt_s, condition)
            prefix = None
            if before is not None and isinstance(condition, Switch):
                first = horizon_steps(before, standards[before], control_dt_s)
                prefix = (before, round(condition.after * first))
                steps += prefix[1]
            units += [
                Unit(task_id, condition, tuple(seeds[i : i + POLICY_ROWS]), steps, prefix)
                for i in range(0, episodes, POLICY_ROWS)
            ]
    if not units:
        names = ", ".join(condition.name for condition in wanted)
        raise UsageError(f"conditions {names}: none applies to {', '.join(tasks)}")
    return units


def horizon_steps(
    task_id: str, standard: Standard, control_dt_s: float, condition: Condition = NOMINAL
) -> int:
    """Control steps of a rollout: a task's horizon, or a multiple of its demonstrations' length."""
    task = get_task(task_id)
    if task.kind == "periodic":
        multiple = condition.horizon if isinstance(condition, Long) else PERIODIC_HORIZON
        return round(multiple * standard.median_steps)
    return round(task.horizon_s / control_dt_s)


def play(
    policy: Policy[State],
    unit: Unit,
    *,
    judges: Sequence[str] = (),
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Rollout:
    """Roll out the episodes of a unit; see `rollout`."""
    first = unit.task if unit.before is None else unit.before[0]
    return rollout(
        policy,
        first,
        unit.seeds,
        unit.steps,
        condition=unit.condition,
        switch=None if unit.before is None else (unit.before[1], unit.task),
        judges=judges,
        num_threads=num_threads,
        progress=progress,
    )


def run_unit(
    policy: Policy[State],
    unit: Unit,
    standards: Mapping[str, Standard],
    *,
    behaviours: bool = True,
    num_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Roll out the episodes of a unit, and score them.

    Args:
        policy: The policy.
        unit: What to run.
        standards: What the demonstrations show, by task.
        behaviours: Whether to judge every episode under every task's criteria.
        num_threads: Threads of the simulations; 0 means one per processor.
        progress: Called after every control step with the steps done and all steps.

    Returns:
        What is kept: a function of policy and unit, to the last bit.
    """
    others = [task for task in task_ids() if task != unit.task] if behaviours else []
    run = play(policy, unit, judges=others, num_threads=num_threads, progress=progress)
    labels = {"condition": unit.condition.name}
    if unit.before is not None:
        labels["after"] = unit.before[0]
    rows = score(run, standards[unit.task])
    if behaviours:
        found = shown(run, standards, rows)
        rows = tuple({**row, "shown": " ".join(it)} for row, it in zip(rows, found, strict=True))
    signal = valid = None
    if run.task.kind == "periodic" and unit.condition == NOMINAL:
        plane, valid = phase_plane(run, run.task)
        signal = plane.astype(np.float32)
    rows = tuple({"task": row["task"], **labels, **row} for row in rows)
    return Outcome(rows, run.stage_times_s, signal, valid)
