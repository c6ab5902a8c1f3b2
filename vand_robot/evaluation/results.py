"""The result of an evaluation."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import Task, get_task, task_ids
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.perturbations import SUITE_VERSION, Perturbation
from vand_robot.evaluation.reference import TaskReference
from vand_robot.evaluation.scoring import Row
from vand_robot.evaluation.summary import confusion, summarize


@dataclass(frozen=True)
class Evaluation:
    """How a policy did on several tasks, under several perturbations."""

    policy: Mapping[str, Any]
    """What was evaluated: name, configuration, versions."""
    suite: str
    """Name of the suite."""
    first_seed: int
    """Seed of the first episode of each task."""
    control_dt_s: float
    """Duration of a control step [s]."""
    references: Mapping[str, TaskReference]
    """What the demonstrations show, by task."""
    jobs: tuple[RolloutJob, ...]
    """What was run: for each perturbation and task, the first of its jobs."""
    outcomes: Mapping[tuple[str, str], JobResult]
    """(perturbation, task) -> outcome of all its episodes."""

    @property
    def perturbations(self) -> dict[str, Perturbation]:
        """Name -> perturbation."""
        return {job.perturbation.name: job.perturbation for job in self.jobs}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task ids."""
        return tuple(dict.fromkeys(job.task for job in self.jobs))

    def results(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {
            "suite": self.suite,
            "suite_version": SUITE_VERSION,
            "first_seed": self.first_seed,
            "policy": dict(self.policy),
            "perturbations": {name: it.to_json() for name, it in self.perturbations.items()},
            "tasks": {task: self._task(get_task(task)) for task in self.tasks},
            "confusion": {
                name: matrix
                for name in self.perturbations
                if (matrix := confusion(self._rows(name), task_ids()))
            },
        }

    def _task(self, task: Task) -> dict[str, Any]:
        return {
            "instruction": task.instruction,
            "kind": task.kind,
            "count": task.count,
            "perturbations": {
                job.perturbation.name: {
                    **({} if (first := job.first_instruction) is None else {"after": first.task}),
                    "horizon_s": round(job.steps * self.control_dt_s, 3),
                    **summarize(
                        self.outcomes[job.perturbation.name, task.id].rows, task.stage_names
                    ),
                }
                for job in self.jobs
                if job.task == task.id
            },
        }

    def _rows(self, perturbation: str) -> dict[str, tuple[Row, ...]]:
        """Task -> its episodes under a perturbation."""
        return {task: it.rows for (name, task), it in self.outcomes.items() if name == perturbation}

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
    jobs: Sequence[RolloutJob],
    outcomes: Sequence[JobResult],
    references: Mapping[str, TaskReference],
    *,
    control_dt_s: float,
    suite: str,
    describe: Mapping[str, Any],
) -> Evaluation:
    """Put the outcomes of jobs, in the order of `plan_jobs`, together into an evaluation."""
    cells: dict[tuple[str, str], list[JobResult]] = {}
    first: dict[tuple[str, str], RolloutJob] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        cells.setdefault((job.perturbation.name, job.task), []).append(outcome)
        first.setdefault((job.perturbation.name, job.task), job)
    return Evaluation(
        policy=dict(describe),
        suite=suite,
        first_seed=jobs[0].seeds[0],
        control_dt_s=control_dt_s,
        references=references,
        jobs=tuple(first.values()),
        outcomes={key: _join(parts) for key, parts in cells.items()},
    )


def _join(parts: Sequence[JobResult]) -> JobResult:
    signals = [part.signal for part in parts if part.signal is not None]
    valids = [part.valid for part in parts if part.valid is not None]
    return JobResult(
        rows=tuple(row for part in parts for row in part.rows),
        stage_times_s=np.concatenate([part.stage_times_s for part in parts]),
        signal=np.concatenate(signals) if signals else None,
        valid=np.concatenate(valids) if valids else None,
    )
