"""The report of an evaluation."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vand_demos.system.files import write_bytes
from vand_envs.seeds import TEST_SEED
from vand_robot.config.validation import flatten
from vand_robot.evaluation.episodes import EpisodeKey
from vand_robot.evaluation.results import (
    FOREIGN,
    EvaluationResult,
    PerturbationResult,
    TaskResult,
    WorstEpisode,
)
from vand_robot.metrics.evaluation_metrics import (
    COUNTED,
    FAILURES,
    METRICS,
    STAGE_FRACTION,
    STAGES_DONE,
    MetricInfo,
    metric,
)
from vand_robot.report.page import Picture, check_links, number, percent, plural, render

WORST = 12
"""Rows of the table of the worst episodes."""

_SHOWN_ELSEWHERE = (STAGES_DONE, STAGE_FRACTION)
"""Metrics that the table of stages shows better."""


def write_report(
    path: str | Path,
    result: EvaluationResult,
    pictures: Sequence[Picture] = (),
    *,
    links: Mapping[str, str] | None = None,
    replays: Mapping[EpisodeKey, str] | None = None,
    title: str = "Evaluation",
) -> None:
    """Write an evaluation as a page to read.

    Args:
        path: The file; it appears when it is whole.
        result: The result of the evaluation.
        pictures: Figures; embedded as PNG, each with its task or perturbation.
        links: Pages beside the report: title -> address.
        replays: Pages beside the report that show an episode: episode -> address.
        title: Heading of the page.

    Raises:
        ValueError: A link leads elsewhere than to a file beside the report.
        VandError: The disk is full or fails.
    """
    text = report_html(result, pictures, links=links, replays=replays, title=title)
    write_bytes(Path(path), text.encode())


def report_html(
    result: EvaluationResult,
    pictures: Sequence[Picture] = (),
    *,
    links: Mapping[str, str] | None = None,
    replays: Mapping[EpisodeKey, str] | None = None,
    title: str = "Evaluation",
) -> str:
    """The text of the page that `write_report` writes."""
    replays = replays or {}
    watch = {**(links or {}), **_replay_titles(result, replays)}
    check_links(watch)
    rates, worst = result.success_rates(), _worst_rows(result, replays)
    return render(
        "evaluation.html.j2",
        title=title,
        name=result.policy.run,
        contents=_contents(result, watch, pictures),
        result=result,
        headline=headline(result),
        facts=_facts(result),
        means={
            name: sum(success.rate for success in tasks.values()) / len(tasks)
            for name, tasks in rates.items()
            if tasks
        },
        links=watch,
        tasks=[
            _TaskSection.of(task_id, task, [p for p in pictures if p.task == task_id])
            for task_id, task in result.tasks.items()
        ],
        worst=worst,
        watchable=any(row.page or row.command for row in worst),
        confusion=[picture for picture in pictures if picture.perturbation],
        pictures=[p for p in pictures if not p.task and not p.perturbation],
        magnitudes={name: _magnitudes(info) for name, info in result.perturbations.items()},
        configuration=_configuration(result),
        definitions=_definitions(result),
    )


def _contents(
    result: EvaluationResult, links: Mapping[str, str], pictures: Sequence[Picture]
) -> list[tuple[str, str]]:
    """The sections of the page: anchor, title."""
    entries = [
        ("success", "Success", True),
        ("watch", "Watch", bool(links)),
        ("confusion", "Behaviors", any(picture.perturbation for picture in pictures)),
        *((f"task-{task_id}", task_id, True) for task_id in result.tasks),
        ("worst", "Worst episodes", bool(result.worst_episodes(1))),
        ("perturbations", "Perturbations", True),
        ("configuration", "Configuration", True),
        ("definitions", "Definitions", True),
    ]
    return [(anchor, title) for anchor, title, present in entries if present]


def headline(result: EvaluationResult) -> str:
    """Summary of the evaluation in a sentence or two."""
    name, rates = next(iter(result.success_rates().items()))
    under = "without perturbation" if name == "nominal" else f"under perturbation {name}"
    episodes = sum(success.episodes for success in rates.values())
    successes = sum(success.successes for success in rates.values())
    text = f"{successes} of {plural(episodes, 'episode')} succeeded {under}"
    if len(rates) == 1:
        (success,) = rates.values()
        low, high = success.interval
        text += f": {percent(success.rate)} %, 95 % interval {percent(low)} to {percent(high)} %."
    else:
        ordered = sorted(rates, key=lambda task: rates[task].rate)
        low_task, high_task = ordered[0], ordered[-1]
        text += (
            f", from {rates[low_task]} in {low_task} to {rates[high_task]} in {high_task}."
            if rates[low_task].rate < rates[high_task].rate
            else f", in every task {percent(rates[low_task].rate)} %."
        )
    return text + _hardest(result)


def _hardest(result: EvaluationResult) -> str:
    """The perturbation that costs most, over the tasks that were also evaluated under the first."""
    (_, first), *others = result.success_rates().items()
    drops = {
        name: sum(first[task].rate - rates[task].rate for task in common) / len(common)
        for name, rates in others
        if (common := [task for task in rates if task in first])
    }
    if not drops or max(drops.values()) <= 0:
        return ""
    name = max(drops, key=lambda perturbation: drops[perturbation])
    return f" Of the perturbations {name} costs most: {percent(drops[name])} points of success."


def _facts(result: EvaluationResult) -> str:
    parts = [plural(len(result.tasks), "task")]
    if result.policy.checkpoint_update is not None:
        parts.append(f"checkpoint of update {result.policy.checkpoint_update}")
    parts.append(f"suite version {result.suite_version}")
    return " · ".join(parts)


def _replay_titles(result: EvaluationResult, replays: Mapping[EpisodeKey, str]) -> dict[str, str]:
    return {
        f"{task}, {perturbation}, episode {seed - result.first_seed}": page
        for (perturbation, task, seed), page in replays.items()
    }


@dataclass(frozen=True)
class _TaskSection:
    """Content of the section of one task."""

    id: str
    task: TaskResult
    first: PerturbationResult
    """Of the first perturbation: its stages are shown."""
    pictures: Sequence[Picture]
    counted: Mapping[str, MetricInfo]
    """Shares that only tasks which count have."""
    headline: Mapping[str, MetricInfo]
    """Metrics that are shown at once."""
    details: Mapping[str, MetricInfo]
    """Metrics that are folded away."""

    @classmethod
    def of(cls, task_id: str, task: TaskResult, pictures: Sequence[Picture]) -> "_TaskSection":
        entries = list(task.perturbations.values())
        names = dict.fromkeys(name for entry in entries for name in entry.metrics)
        known = {name: metric(name) for name in names if name not in _SHOWN_ELSEWHERE}
        return cls(
            id=task_id,
            task=task,
            first=entries[0],
            pictures=pictures,
            counted={name: metric(name) for name in COUNTED if name in entries[0].shares},
            headline={name: info for name, info in known.items() if info.weight == "headline"},
            details={name: info for name, info in known.items() if info.weight == "detail"},
        )


@dataclass(frozen=True)
class _WorstRow:
    """One of the worst episodes."""

    task: str
    perturbation: str
    index: int
    """Number of the episode, counted from the first seed."""
    share: float
    """Share of its stages completed, or of the scored time in tolerance."""
    reason: str
    """Reason of the failure, in words."""
    page: str
    """Page that shows it; empty where there is none."""
    command: str
    """Command that shows it; empty where none does."""


def _replayed(result: EvaluationResult) -> list[str]:
    """What `vand-robot replay` is told of the policy; empty where it cannot show these episodes.

    It shows the held-out episodes of runs and of experts, in our own tasks.
    """
    policy = result.policy
    ours = all(task.kind != FOREIGN for task in result.tasks.values())
    if not policy.path or not ours or result.first_seed != TEST_SEED:
        return []
    if policy.expert:
        return [policy.path, "--expert"]
    return [] if policy.checkpoint_update is None else [policy.path]


def _worst_rows(result: EvaluationResult, replays: Mapping[EpisodeKey, str]) -> list[_WorstRow]:
    source = _replayed(result)
    rows = []
    for perturbation, task, episode in result.worst_episodes(WORST):
        index = episode.seed - result.first_seed
        options = {
            "--task": task,
            "--perturbation": perturbation,
            "--index": str(index),
            "--out": f"{perturbation}-{task}-{index}.html",
        }
        words = [*source, *(word for option in options.items() for word in option)]
        entry = result.tasks[task].perturbations[perturbation]
        rows.append(
            _WorstRow(
                task=task,
                perturbation=perturbation,
                index=index,
                share=episode.share,
                reason=failure_text(episode, [stage.name for stage in entry.stages]),
                page=replays.get((perturbation, task, episode.seed), ""),
                command=f"vand-robot replay {shlex.join(words)}" if source else "",
            )
        )
    return rows


def failure_text(episode: WorstEpisode, stages: Sequence[str]) -> str:
    """Why an episode failed, in plain words.

    Args:
        episode: The episode.
        stages: Names of the task's stages in order; empty for a periodic task.
    """
    reasons = [FAILURES.get(name, name) for name in episode.failures]
    if episode.achieved:
        reasons.insert(0, f"did {' and '.join(episode.achieved)} instead")
    if stages:
        done = round(episode.share * len(stages))
        reasons.append(
            f"stopped before: {stages[done]}"
            if done < len(stages)
            else "completed all stages, but not the goal at the end"
        )
    return ", ".join(reasons) or "not known"


def _magnitudes(perturbation: Mapping[str, Any]) -> str:
    """Magnitudes of a perturbation in words: `hand_impulse_ns 4, first_s 3 to 6`."""
    return ", ".join(
        f"{key} {_value(value)}" for key, value in perturbation.items() if key != "about" and value
    )


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_value(item) for item in value)
    return number(value) if isinstance(value, int | float) else str(value)


def _configuration(result: EvaluationResult) -> dict[str, Mapping[str, Any]]:
    """Title -> facts of the evaluation, versions, configuration of the run."""
    policy = result.policy
    how = {
        "suite": f"{result.suite or 'of its own'}, version {result.suite_version}",
        "seeds": f"from {result.first_seed} on",
        "path": policy.path,
        "expert": policy.expert,
        "checkpoint update": policy.checkpoint_update,
    }
    blocks = {
        "How it was evaluated": {k: v for k, v in how.items() if v not in (None, "")},
        "Versions": policy.versions,
        "Machine": policy.machine,
        "Configuration of the run": flatten(policy.config),
    }
    return {title: values for title, values in blocks.items() if values}


def _definitions(result: EvaluationResult) -> list[MetricInfo]:
    """The metrics that the page shows."""
    used = {
        name
        for task in result.tasks.values()
        for entry in task.perturbations.values()
        for name in (*entry.metrics, *entry.shares)
    }
    return [info for name, info in METRICS.items() if name in used]
