"""Episodes put together: rates with intervals, spreads of metrics, the confusion matrix."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vand_robot.metrics.sequential import success_at_k
from vand_robot.metrics.statistics import wilson_interval

NONE = "none"
"""Column of the confusion matrix for episodes that show no behavior."""

SHARES = ("count_right", "returned", "still", "success_once", "success_at_end")
"""Metrics that hold or do not: reported as rates."""

_LABELS = ("task", "perturbation", "after", "seed", "success", "shown", "failures")


def rate(flags: Sequence[bool]) -> dict[str, Any]:
    """A share of episodes, with its Wilson interval."""
    holds = sum(map(bool, flags))
    return {
        "episodes": len(flags),
        "successes": holds,
        "success_rate": holds / len(flags),
        "wilson_95": list(wilson_interval(holds, len(flags))),
    }


def summarize(rows: Sequence[Mapping[str, Any]], stage_names: Sequence[str]) -> dict[str, Any]:
    """The entry in `results.json` of one task under one perturbation.

    Args:
        rows: Its episodes, at least one.
        stage_names: Of its stages; none if periodic.
    """
    summary = rate([row["success"] for row in rows])
    if stage_names:
        shares = success_at_k([row["stages_done"] for row in rows], len(stage_names))
        summary["stages"] = [
            {"name": name, "completed": round(share * len(rows)), "share": float(share)}
            for name, share in zip(stage_names, shares, strict=True)
        ]
    summary["shares"] = {
        name: rate([row[name] for row in rows]) for name in SHARES if name in rows[0]
    }
    summary["metrics"] = {
        name: spread([row[name] for row in rows])
        for name in rows[0]
        if name not in _LABELS and name not in SHARES
    }
    summary["worst"] = worst(rows)
    return summary


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Median and quartiles of the values that can be told."""
    known = [float(v) for v in values if v is not None and math.isfinite(v)]
    if not known:
        return {"median": None, "iqr": [None, None], "n": 0}
    low, middle, high = np.percentile(known, [25, 50, 75])
    return {"median": float(middle), "iqr": [float(low), float(high)], "n": len(known)}


def worst(rows: Sequence[Mapping[str, Any]], limit: int = 5) -> list[dict[str, Any]]:
    """The failures that came least far: their seeds, and how far they came; the worst first."""
    failed = [row for row in rows if not row["success"]]
    key = "stage_fraction" if "stage_fraction" in rows[0] else "in_tolerance"
    ranked = sorted(failed, key=lambda row: (row[key] or 0.0, row["seed"]))
    return [
        {
            "seed": row["seed"],
            "share": row[key] or 0.0,
            "shown": row.get("shown", ""),
            "failures": row.get("failures", ""),
        }
        for row in ranked[:limit]
    ]


def worst_episodes(results: Mapping[str, Any], limit: int) -> list[tuple[str, str, dict[str, Any]]]:
    """The worst episodes of an evaluation: (perturbation, task, entry of `worst`).

    The worst of every perturbation and task come first, then the second worst, and so on: a task
    that fails always does not hide the others.
    """
    ranked = [
        (rank, perturbation, task_id, entry)
        for perturbation in results["perturbations"]
        for task_id, task in results["tasks"].items()
        for rank, entry in enumerate(task["perturbations"].get(perturbation, {}).get("worst", []))
    ]
    ranked.sort(key=lambda it: it[0])  # stable: by perturbation and task within a rank
    return [(perturbation, task_id, entry) for _, perturbation, task_id, entry in ranked[:limit]]


def confusion(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], behaviors: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How often each behavior was shown under each instruction.

    An episode may show several behaviors, or none.

    Args:
        rows: Instruction -> its episodes; `shown` names the behaviors.
        behaviors: Ids of all behaviors.

    Returns:
        Instruction -> behavior, or `none` -> episodes; empty where behaviors were not judged.
    """
    if any("shown" not in row for episodes in rows.values() for row in episodes):
        return {}
    matrix = {}
    for instruction, episodes in rows.items():
        found = [row["shown"].split() for row in episodes]
        matrix[instruction] = {
            **{name: sum(name in it for it in found) for name in behaviors},
            NONE: sum(not it for it in found),
        }
    return matrix
