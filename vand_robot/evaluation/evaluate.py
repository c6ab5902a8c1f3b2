"""The evaluation: rollouts on held-out seeds, judged by what the demonstrations show."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import Task, get_task, task_ids
from vand_robot.evaluation.jobs import Outcome, Unit, plan, run_unit
from vand_robot.evaluation.perturbations import NOMINAL, SUITE_VERSION, Condition
from vand_robot.evaluation.reference import Standard
from vand_robot.evaluation.rollout import TEST_SEED, VALIDATION_SEED, Policy, State
from vand_robot.evaluation.scoring import Row
from vand_robot.evaluation.summary import confusion, summarise

PARTIAL_CREDIT = 0.01
"""Weight of partial progress in the validation score: it decides between equal success rates."""


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

    `vand_robot.evaluation.runner` does the same in several processes and survives interruption.

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
