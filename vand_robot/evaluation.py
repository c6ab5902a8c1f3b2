"""The evaluation: rollouts on held-out seeds, judged by what the demonstrations show."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import Task, get_task, task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.typing import BoolArray, Float32Array, FloatArray
from vand_robot.conditions import (
    NOMINAL,
    SUITE_VERSION,
    Condition,
    Long,
    Switch,
    task_before,
)
from vand_robot.results import confusion, summarise
from vand_robot.rollout import (
    POLICY_ROWS,
    TEST_SEED,
    VALIDATION_SEED,
    Policy,
    Rollout,
    State,
    rollout,
)
from vand_robot.scoring import Row, phase_plane, score, shown
from vand_robot.standard import Standard

PERIODIC_HORIZON = 3.0
"""Periodic tasks are rolled out for this multiple of the demonstrations' median length."""

PARTIAL_CREDIT = 0.01
"""Weight of partial progress in the validation score: it decides between equal success rates."""


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


@dataclass(frozen=True)
class Evaluation:
    """How a policy did on several tasks, under several conditions."""

    policy: Mapping[str, Any]
    """What was evaluated: name, configuration, versions."""
    suite: str
    """Name of the suite."""
    first_seed: int
    """Seed of the first episode of each task."""
    control_dt_s: float
    """Duration of a control step [s]."""
    standards: Mapping[str, Standard]
    """What the demonstrations show, by task."""
    units: tuple[Unit, ...]
    """What was run: for each condition and task, the first of its units."""
    outcomes: Mapping[tuple[str, str], Outcome]
    """(condition, task) -> outcome of all its episodes."""

    @property
    def conditions(self) -> dict[str, Condition]:
        """Name -> condition."""
        return {unit.condition.name: unit.condition for unit in self.units}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task ids."""
        return tuple(dict.fromkeys(unit.task for unit in self.units))

    def results(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {
            "suite": self.suite,
            "suite_version": SUITE_VERSION,
            "first_seed": self.first_seed,
            "policy": dict(self.policy),
            "conditions": {name: it.to_json() for name, it in self.conditions.items()},
            "tasks": {task: self._task(get_task(task)) for task in self.tasks},
            "confusion": {
                name: matrix
                for name in self.conditions
                if (matrix := confusion(self._rows(name), task_ids()))
            },
        }

    def _task(self, task: Task) -> dict[str, Any]:
        return {
            "instruction": task.instruction,
            "kind": task.kind,
            "count": task.count,
            "conditions": {
                unit.condition.name: {
                    **({} if unit.before is None else {"after": unit.before[0]}),
                    "horizon_s": round(unit.steps * self.control_dt_s, 3),
                    **summarise(self.outcomes[unit.condition.name, task.id].rows, task.stage_names),
                }
                for unit in self.units
                if unit.task == task.id
            },
        }

    def _rows(self, condition: str) -> dict[str, tuple[Row, ...]]:
        """Task -> its episodes under a condition."""
        return {task: it.rows for (name, task), it in self.outcomes.items() if name == condition}

    def results_json(self) -> str:
        """The text of `results.json`."""
        return json.dumps(self.results(), indent=2, allow_nan=False) + "\n"

    def episodes_csv(self) -> str:
        """The text of `episodes.csv`: a line for each episode, a column for each metric."""
        rows = [row for outcome in self.outcomes.values() for row in outcome.rows]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


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
        tasks: Task ids.
        conditions: Those that do not apply to a task are left out for it.
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
    for task_id in tasks:
        if get_task(task_id).id not in standards:
            raise VandError(
                f"task {task_id!r}: the policy was not trained on it"
                f" (trained on: {', '.join(standards) or 'none'})"
            )
    wanted = tuple(conditions)
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


def collect(
    units: Sequence[Unit],
    outcomes: Sequence[Outcome],
    standards: Mapping[str, Standard],
    *,
    control_dt_s: float,
    suite: str,
    describe: Mapping[str, Any],
) -> Evaluation:
    """Put the outcomes of units, in the order of `plan`, together into an evaluation."""
    cells: dict[tuple[str, str], list[Outcome]] = {}
    first: dict[tuple[str, str], Unit] = {}
    for unit, outcome in zip(units, outcomes, strict=True):
        cells.setdefault((unit.condition.name, unit.task), []).append(outcome)
        first.setdefault((unit.condition.name, unit.task), unit)
    return Evaluation(
        policy=dict(describe),
        suite=suite,
        first_seed=units[0].seeds[0],
        control_dt_s=control_dt_s,
        standards=standards,
        units=tuple(first.values()),
        outcomes={key: _join(parts) for key, parts in cells.items()},
    )


def _join(parts: Sequence[Outcome]) -> Outcome:
    signals = [part.signal for part in parts if part.signal is not None]
    valids = [part.valid for part in parts if part.valid is not None]
    return Outcome(
        rows=tuple(row for part in parts for row in part.rows),
        stage_times_s=np.concatenate([part.stage_times_s for part in parts]),
        signal=np.concatenate(signals) if signals else None,
        valid=np.concatenate(valids) if valids else None,
    )


def evaluate(
    policy: Policy[State],
    standards: Mapping[str, Standard],
    tasks: Sequence[str],
    *,
    conditions: Sequence[Condition] = (NOMINAL,),
    episodes: int = 50,
    first_seed: int = TEST_SEED,
    describe: Mapping[str, Any] | None = None,
    behaviours: bool = True,
    progress: Callable[[int, int], None] | None = None,
    num_threads: int = 0,
) -> Evaluation:
    """Evaluate a policy on tasks it was trained for, in this process.

    `vand_robot.suite` does the same in several processes and survives interruption.

    Args:
        policy: The policy.
        standards: What the demonstrations show, by task.
        tasks: Task ids.
        conditions: What interferes; nothing by default.
        episodes: Episodes of each task under each condition.
        first_seed: Seed of the first episode; the others follow it.
        describe: What is evaluated, for `results.json`.
        behaviours: Whether to judge every episode under every task's criteria.
        progress: Called after every control step with the steps done and all steps.
        num_threads: Threads of the simulations; 0 means one per processor.

    Returns:
        The evaluation: a function of the policy and the arguments, to the last bit.

    Raises:
        UsageError: An unknown task.
        VandError: There is no standard for a task.
    """
    dt = policy.spec.control_dt_s
    units = plan(
        tasks, conditions, standards, episodes=episodes, control_dt_s=dt, first_seed=first_seed
    )
    outcomes, before, total = [], 0, sum(unit.steps for unit in units)
    for unit in units:
        report = None if progress is None else _Onwards(progress, before, total)
        outcomes.append(
            run_unit(
                policy,
                unit,
                standards,
                behaviours=behaviours,
                num_threads=num_threads,
                progress=report,
            )
        )
        before += unit.steps
    return collect(units, outcomes, standards, control_dt_s=dt, suite="", describe=describe or {})


@dataclass(frozen=True)
class _Onwards:
    """Progress of one unit as a part of all."""

    progress: Callable[[int, int], None]
    before: int
    total: int

    def __call__(self, done: int, _: int) -> None:
        self.progress(self.before + done, self.total)


@dataclass(frozen=True)
class ValidationScore:
    """Scores a policy by rollouts on validation seeds, to choose among checkpoints."""

    standards: Mapping[str, Standard]
    """What the demonstrations show, by task."""
    episodes: int
    """Rollouts of each task."""
    num_threads: int = 0
    """Threads of the simulations; 0 means one per processor."""

    def __call__(self, policy: Policy[State]) -> dict[str, float]:
        """Mean success rate over tasks as `score`, and each task's as `success/<task>`.

        The score has a small share of partial progress: stages done, or time in tolerance.
        """
        evaluation = evaluate(
            policy,
            self.standards,
            list(self.standards),
            episodes=self.episodes,
            first_seed=VALIDATION_SEED,
            behaviours=False,
            num_threads=self.num_threads,
        )
        rates, partial = {}, []
        for (_, task), outcome in evaluation.outcomes.items():
            rates[f"success/{task}"] = outcome.successes / len(outcome.rows)
            key = "stage_fraction" if get_task(task).stages else "in_tolerance"
            partial.append(float(np.mean([row[key] or 0.0 for row in outcome.rows])))
        score = (1 - PARTIAL_CREDIT) * float(np.mean(list(rates.values())))
        return {"score": score + PARTIAL_CREDIT * float(np.mean(partial)), **rates}
