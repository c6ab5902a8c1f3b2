"""The result of an evaluation."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import Task, get_task, task_ids
from vand_robot.evaluation.jobs import Outcome, Unit
from vand_robot.evaluation.perturbations import SUITE_VERSION, Condition
from vand_robot.evaluation.reference import Standard
from vand_robot.evaluation.scoring import Row
from vand_robot.evaluation.summary import confusion, summarise


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
