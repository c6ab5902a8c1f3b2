"""The evaluation: rollouts on held-out seeds, judged by what the demonstrations show."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vand_envs import get_task
from vand_envs.errors import VandError
from vand_robot.metrics.periodic import score_periodic
from vand_robot.metrics.sequential import jerk, score_sequential
from vand_robot.metrics.statistics import wilson_interval
from vand_robot.rollout import TEST_SEED, VALIDATION_SEED, Policy, Rollout, State, rollout
from vand_robot.standard import Standard

SUITE_VERSION = "1"
"""Changes whenever the same policy would get other numbers."""

PERIODIC_HORIZON = 3.0
"""Periodic tasks are rolled out for this multiple of the demonstrations' median length."""

PARTIAL_CREDIT = 0.01
"""Weight of partial progress in the validation score: it decides between equal success rates."""

Row = dict[str, Any]
"""One episode: metric -> value; None where it cannot be told."""


@dataclass(frozen=True)
class TaskResult:
    """How a policy did on one task."""

    task_id: str
    """The instruction."""
    rows: tuple[Row, ...]
    """One for each episode."""
    rollout: Rollout
    """What happened."""
    standard: Standard
    """What it was judged by."""

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(bool(row["success"]) for row in self.rows)

    def summary(self) -> dict[str, Any]:
        """The task's entry in `results.json`."""
        task = self.rollout.task
        n = len(self.rows)
        return {
            "instruction": task.instruction,
            "kind": task.kind,
            "episodes": n,
            "horizon_s": round(len(self.rollout.actions) * self.rollout.control_dt_s, 3),
            "successes": self.successes,
            "success_rate": self.successes / n,
            "wilson_95": list(wilson_interval(self.successes, n)),
            "stages": [
                {
                    "name": stage.name,
                    "completed": int((self.rollout.stages_done[-1] > i).sum()),
                    "share": float((self.rollout.stages_done[-1] > i).mean()),
                }
                for i, stage in enumerate(task.stages)
            ],
            "metrics": {
                name: _spread([row[name] for row in self.rows])
                for name, value in self.rows[0].items()
                if name not in _LABELS and not isinstance(value, bool | str)
            },
        }


_LABELS = ("task", "seed", "success")


@dataclass(frozen=True)
class Evaluation:
    """How a policy did on several tasks."""

    policy: Mapping[str, Any]
    """What was evaluated: name, configuration, versions."""
    first_seed: int
    """Seed of the first episode of each task."""
    tasks: Mapping[str, TaskResult]
    """Task id -> result."""

    def results(self) -> dict[str, Any]:
        """The content of `results.json`."""
        return {
            "suite_version": SUITE_VERSION,
            "policy": dict(self.policy),
            "conditions": {"nominal": {"first_seed": self.first_seed}},
            "tasks": {task: result.summary() for task, result in self.tasks.items()},
        }

    def results_json(self) -> str:
        """The text of `results.json`."""
        return json.dumps(self.results(), indent=2, allow_nan=False) + "\n"

    def episodes_csv(self) -> str:
        """The text of `episodes.csv`: a line for each episode, a column for each metric."""
        rows = [row for result in self.tasks.values() for row in result.rows]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


def evaluate(
    policy: Policy[State],
    standards: Mapping[str, Standard],
    tasks: Sequence[str],
    *,
    episodes: int = 50,
    first_seed: int = TEST_SEED,
    describe: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    num_threads: int = 0,
) -> Evaluation:
    """Evaluate a policy on tasks it was trained for.

    Args:
        policy: The policy.
        standards: What the demonstrations show, by task.
        tasks: Task ids.
        episodes: Episodes of each task.
        first_seed: Seed of the first episode; the others follow it.
        describe: What is evaluated, for `results.json`.
        progress: Called after every control step with the steps done and all steps.
        num_threads: Threads of the simulations; 0 means one per processor.

    Returns:
        The evaluation: a function of the policy and the arguments, to the last bit.

    Raises:
        UsageError: An unknown task.
        VandError: There is no standard for a task.
    """
    results: dict[str, TaskResult] = {}
    steps: dict[str, int] = {}
    for task_id in tasks:
        if task_id not in standards:
            raise VandError(
                f"task {task_id!r}: the policy was not trained on it"
                f" (trained on: {', '.join(standards) or 'none'})"
            )
        steps[task_id] = horizon_steps(task_id, standards[task_id], policy.spec.control_dt_s)
    seeds = range(first_seed, first_seed + episodes)
    done = 0
    for task_id in tasks:
        report = None if progress is None else _Onwards(progress, done, sum(steps.values()))
        run = rollout(
            policy, task_id, seeds, steps[task_id], num_threads=num_threads, progress=report
        )
        results[task_id] = TaskResult(
            task_id, judge(run, standards[task_id]), run, standards[task_id]
        )
        done += steps[task_id]
    return Evaluation(dict(describe or {}), first_seed, results)


@dataclass(frozen=True)
class _Onwards:
    """Progress of one task as a part of all."""

    progress: Callable[[int, int], None]
    before: int
    total: int

    def __call__(self, done: int, _: int) -> None:
        self.progress(self.before + done, self.total)


def horizon_steps(task_id: str, standard: Standard, control_dt_s: float) -> int:
    """Control steps of a rollout: a task's horizon, or a multiple of its demonstrations' length."""
    task = get_task(task_id)
    if task.kind == "periodic":
        return round(PERIODIC_HORIZON * standard.median_steps)
    return round(task.horizon_s / control_dt_s)


def judge(run: Rollout, standard: Standard) -> tuple[Row, ...]:
    """One row of metrics for each episode of a rollout."""
    return _judge_cycle(run, standard) if run.task.cycle else _judge_stages(run, standard)


def _judge_stages(run: Rollout, standard: Standard) -> tuple[Row, ...]:
    score = score_sequential(
        run.stage_times_s, goal_at_end=run.at_end, demonstration_times_s=standard.times_s
    )
    paths = run.hand_paths()
    return tuple(
        {
            "task": run.task.id,
            "seed": seed,
            "success": score.success_once[i],
            "success_at_end": score.success_at_end[i],
            "stages_done": score.stages_done[i],
            "stage_fraction": score.stage_fraction[i],
            "out_of_order": int(run.out_of_order[i]),
            "time_s": score.time_s[i],
            "relative_time": score.relative_time[i],
            "jerk": jerk(paths[i], run.control_dt_s),
        }
        for i, seed in enumerate(run.seeds)
    )


def _judge_cycle(run: Rollout, standard: Standard) -> tuple[Row, ...]:
    cycle, reference = run.task.cycle, standard.reference
    if cycle is None or reference is None:
        raise VandError(f"task {run.task.id!r}: its demonstrations show no cycle to judge by")
    signal = cycle.phase_plane(run.observations)  # (T + 1, n, 2)
    valid = cycle.valid(run.observations)  # (T + 1, n)
    rows = []
    for i, seed in enumerate(run.seeds):
        score = score_periodic(signal[:, i], run.control_dt_s, reference, valid=valid[:, i])
        numbers = score.as_dict()
        failures = numbers.pop("failures")
        success = numbers.pop("success")
        labels = {"task": run.task.id, "seed": seed, "success": success}
        rows.append({**labels, **numbers, "failures": " ".join(failures)})
    return tuple(rows)


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Median and quartiles of the values that can be told."""
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return {"median": None, "iqr": [None, None], "n": 0}
    low, middle, high = np.percentile(known, [25, 50, 75])
    return {"median": float(middle), "iqr": [float(low), float(high)], "n": len(known)}


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
            num_threads=self.num_threads,
        )
        rates, partial = {}, []
        for task, result in evaluation.tasks.items():
            rates[f"success/{task}"] = result.successes / len(result.rows)
            key = "stage_fraction" if result.rollout.task.stages else "in_tolerance"
            partial.append(float(np.mean([row[key] or 0.0 for row in result.rows])))
        score = (1 - PARTIAL_CREDIT) * float(np.mean(list(rates.values())))
        return {"score": score + PARTIAL_CREDIT * float(np.mean(partial)), **rates}
