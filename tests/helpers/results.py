"""Results of evaluations whose numbers are known."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from vand_robot.evaluation.results import (
    EvaluationResult,
    PerturbationResult,
    PolicyFacts,
    TaskResult,
)
from vand_robot.metrics.statistics import SuccessRate


def perturbation_result(successes: int, episodes: int, **fields: Any) -> PerturbationResult:
    rate = SuccessRate.of_counts(successes, episodes)
    return PerturbationResult(**{"horizon_s": 40.0, "success": rate, **fields})


def task_result(perturbations: Mapping[str, PerturbationResult], **fields: Any) -> TaskResult:
    told = {"instruction": "put the cube in the bin", "kind": "sequential", "count": None}
    return TaskResult(**{**told, **fields}, perturbations=perturbations)


def evaluation_result(tasks: Mapping[str, TaskResult], **fields: Any) -> EvaluationResult:
    names = dict.fromkeys(name for task in tasks.values() for name in task.perturbations)
    default = {
        "suite": "robustness",
        "suite_version": "2",
        "first_seed": 1000,
        "policy": PolicyFacts("first"),
        "perturbations": {name: {"about": "nothing else"} for name in names},
        "confusion": {},
    }
    return EvaluationResult(**{**default, **fields}, tasks=tasks)


def with_value(content: dict[str, Any], keys: Sequence[Any], value: Any) -> dict[str, Any]:
    """A copy of what a file holds, with another value at the end of a path of keys."""
    damaged = owner = copy.deepcopy(content)
    for key in keys[:-1]:
        owner = owner[key]
    owner[keys[-1]] = value
    return damaged
