"""What a reader wants to know first: how often it succeeded, and where it failed worst."""

from collections.abc import Mapping
from html import escape
from typing import Any

from vand_robot.evaluation.summary import worst_episodes
from vand_robot.report.page import anchor, bar, number, rate, section, table

WORST = 12
"""Rows of the table of the worst episodes."""


def lead(results: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """The line under the heading, as HTML."""
    first = next(iter(results["perturbations"]))
    entries = [
        task["perturbations"][first]
        for task in results["tasks"].values()
        if first in task["perturbations"]
    ]
    successes, episodes = (
        sum(entry[key] for entry in entries) for key in ("successes", "episodes")
    )
    parts = [f"{successes} of {episodes} episodes succeeded under {first} perturbations"]
    if policy.get("checkpoint_update") is not None:
        parts.append(f"checkpoint of update {policy['checkpoint_update']}")
    parts.append(f"suite version {results.get('suite_version')}")
    return escape(" · ".join(parts))


def summary(results: Mapping[str, Any]) -> str:
    """The table of success by task and perturbation."""
    perturbations = list(results["perturbations"])
    rows = []
    for task_id, task in results["tasks"].items():
        link = f'<a href="#{anchor(task_id)}">{escape(task_id)}</a>'
        cells = [f"{link}<small>{escape(task['instruction'])}</small>"]
        for perturbation in perturbations:
            entry = task["perturbations"].get(perturbation)
            cells.append("" if entry is None else rate(entry))
        rows.append(cells)
    if len(rows) > 1:
        means = [_mean(results, perturbation) for perturbation in perturbations]
        rows.append(
            [
                "mean over tasks",
                *(
                    f"<div class='rate'>{bar(mean)}<strong>{100 * mean:.0f} %</strong></div>"
                    for mean in means
                ),
            ]
        )
    heads = ["Task", *(escape(perturbation) for perturbation in perturbations)]
    note = (
        "<p class='faint'>Episodes that succeeded, with the 95 % Wilson interval of the rate."
        " What the perturbations are is said further down.</p>"
    )
    kind = "summary" if len(perturbations) > 1 else "summary single"
    return section("Success", note + table(heads, rows, kind))


def _mean(results: Mapping[str, Any], perturbation: str) -> float:
    rates = [
        task["perturbations"][perturbation]["success_rate"]
        for task in results["tasks"].values()
        if perturbation in task["perturbations"]
    ]
    return float(sum(rates) / len(rates))


def worst(results: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """The table of the episodes that came least far, each with the command that shows it."""
    rows = []
    source = f"{policy.get('path', 'RUN')}{' --expert' if policy.get('expert') else ''}"
    for perturbation, task, entry in worst_episodes(results, WORST):
        episode = entry["seed"] - results["first_seed"]
        shown = entry["shown"] or "none"
        command = (
            f"vand-robot replay {source} --task {task} --perturbation {perturbation}"
            f" --index {episode} --out {perturbation}-{task}-{episode}.html"
        )
        rows.append(
            [
                escape(task),
                escape(perturbation),
                str(episode),
                f"{number(100 * entry['share'])} %",
                escape(f"{shown}; {entry['failures']}" if entry["failures"] else shown),
                f"<code class='command'>{escape(command)}</code>",
            ]
        )
    if not rows:
        return ""
    heads = ["Task", "Perturbation", ">Episode", ">Came so far", "Shown; what failed", "Watch it"]
    note = (
        "<p class='faint'>Failures that completed the smallest share of their stages, or kept the"
        " rhythm for the smallest share of the time; in turn from every task and perturbation.</p>"
    )
    return section("Worst episodes", note + table(heads, rows, "worst"))
