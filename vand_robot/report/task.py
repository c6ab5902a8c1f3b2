"""The section of one task: its stages or its rhythm, and its numbers under every perturbation."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from vand_robot.metrics.info import metric
from vand_robot.report.page import Picture, anchor, bar, image, number, rate, section, table


def task_section(task_id: str, task: Mapping[str, Any], pictures: Sequence[Picture]) -> str:
    """A task's section."""
    perturbations = task["perturbations"]
    first = next(iter(perturbations.values()))
    facts = f"{task['kind']} · {first['episodes']} episodes of {number(first['horizon_s'])} s"
    if task.get("count") is not None:
        facts += f" · counts to {task['count']}"
    told = f"<p>“{escape(task['instruction'])}” <span class='faint'>{escape(facts)}</span></p>"
    drawn = "".join(image(it) for it in pictures)
    side, numbers = _stages(first), _shares(perturbations) + _metrics(perturbations)
    if len(perturbations) == 1:  # narrow tables, which fit beside the figure
        side, numbers = side + numbers, ""
    top = f"<div class='side'><div>{drawn}</div><div>{side}</div></div>" if drawn else side
    return section(task_id, told + top + numbers, anchor=anchor(task_id))


def _stages(entry: Mapping[str, Any]) -> str:
    stages = entry.get("stages")
    if not stages:
        return ""
    rows = [
        [
            f"{k} &nbsp;{escape(stage['name'])}",
            bar(stage["share"]),
            f"{stage['completed']}/{entry['episodes']}",
        ]
        for k, stage in enumerate(stages, start=1)
    ]
    return table(["Stage, completed in order", "", ">Episodes"], rows, "stages")


def _shares(perturbations: Mapping[str, Any]) -> str:
    """What counted tasks report apart; of others nothing that is not said above."""
    names = [
        name
        for name in next(iter(perturbations.values())).get("shares", {})
        if name in ("count_right", "returned", "still")
    ]
    if not names:
        return ""
    rows = [
        [
            escape(perturbation),
            *(rate(entry["shares"][name]) for name in names),
        ]
        for perturbation, entry in perturbations.items()
    ]
    return table(["At the end", *(escape(metric(name).label) for name in names)], rows)


_TOLD = ("stages_done", "stage_fraction")
"""Metrics that the table of stages tells better."""


def _metrics(perturbations: Mapping[str, Any]) -> str:
    """Medians under every perturbation, with the middle half of the episodes."""
    names = dict.fromkeys(n for entry in perturbations.values() for n in entry["metrics"])
    rows = []
    for name in (name for name in names if name not in _TOLD):
        it = metric(name)
        unit = f" <span class='faint'>[{escape(it.unit)}]</span>" if it.unit else ""
        about = escape(f"{name}: {it.meaning}" if it.meaning else name)
        label = f'<span title="{about}">{escape(it.label)}{unit}</span>'
        rows.append(
            [label, *(_spread(entry["metrics"].get(name)) for entry in perturbations.values())]
        )
    if not rows:
        return ""
    heads = [
        f">{escape(perturbation)}{_after(entry)}" for perturbation, entry in perturbations.items()
    ]
    return table(["Median, and middle half of the episodes", *heads], rows, "numbers")


def _after(entry: Mapping[str, Any]) -> str:
    return f"<small>after {escape(entry['after'])}</small>" if "after" in entry else ""


def _spread(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return ""
    if spread["median"] is None:
        return "<span class='faint'>not known</span>"
    low, high = spread["iqr"]
    return f"{number(spread['median'])} <small>{number(low)} to {number(high)}</small>"
