"""One episode of an evaluation, and the table of all of them: `episodes.csv`."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from vand_demos.system.files import read_regular
from vand_envs.errors import VandError
from vand_robot.layout import EPISODES_FILE

MOST_DIGITS = 20
"""Of a seed in a file."""

EpisodeKey = tuple[str, str, int]
"""Perturbation, task, seed: the same episode for every policy."""

EpisodeRows = Mapping[EpisodeKey, Mapping[str, str]]
"""Episode -> column of `episodes.csv` -> text."""


@dataclass(frozen=True)
class EpisodeMetrics:
    """Metrics of one episode."""

    task: str
    """The task that is judged."""
    perturbation: str
    """Name of the perturbation."""
    seed: int
    """Seed of the episode."""
    success: bool
    """Whether the task was done."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Metric -> value, see `vand_robot.metrics.evaluation_metrics`; None where it cannot be told.
    Shares, which hold or do not, are True or False."""
    failures: tuple[str, ...] | None = None
    """Criteria of a periodic task that were missed, of `metrics.evaluation_metrics.FAILURES`; None
    elsewhere."""
    achieved: tuple[str, ...] | None = None
    """Tasks whose criterion of success the episode meets; None where only its own was judged."""
    after: str | None = None
    """The instruction that came before; None where there was one all the time."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The episode of which `run_job` gives a row."""
        failures, achieved = row.get("failures"), row.get("achieved")
        return cls(
            task=row["task"],
            perturbation=row["perturbation"],
            seed=row["seed"],
            success=row["success"],
            metrics={name: value for name, value in row.items() if name not in _LABELS},
            failures=None if failures is None else tuple(failures.split()),
            achieved=None if achieved is None else tuple(achieved.split()),
            after=row.get("after"),
        )

    def to_row(self) -> dict[str, Any]:
        """A line of `episodes.csv`: column -> value."""
        return {
            "task": self.task,
            "perturbation": self.perturbation,
            **({} if self.after is None else {"after": self.after}),
            "seed": self.seed,
            "success": self.success,
            **({} if self.failures is None else {"failures": " ".join(self.failures)}),
            **self.metrics,
            **({} if self.achieved is None else {"achieved": " ".join(self.achieved)}),
        }


_LABELS = ("task", "perturbation", "after", "seed", "success", "achieved", "failures")
"""Values of a row that are no metrics."""


def csv_text(episodes: Sequence[EpisodeMetrics]) -> str:
    """The text of `episodes.csv`: a line for each episode, a column for each metric."""
    rows = [episode.to_row() for episode in episodes]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_successes(folder: Path) -> dict[EpisodeKey, bool]:
    """Which episodes of an evaluation succeeded, from its `episodes.csv`; errors as `read_rows`."""
    return {key: row["success"] == "True" for key, row in read_rows(folder).items()}


def read_rows(folder: Path) -> dict[EpisodeKey, dict[str, str]]:
    """The lines of an evaluation's `episodes.csv`: episode -> column -> text.

    Raises:
        VandError: The file cannot be read, lacks a column, or holds another value in one.
    """
    file = folder / EPISODES_FILE
    text = read_regular(file).decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for column in ("perturbation", "task", "seed", "success"):
            if column not in (reader.fieldnames or ()):
                raise VandError(f"{file}: column {column} is missing")
        return dict(_row(file, number, row) for number, row in enumerate(reader, start=2))
    except csv.Error as error:
        raise VandError(f"{file}: expected a table: {error}") from error


def _row(
    file: Path, number: int, row: Mapping[str, str | None]
) -> tuple[EpisodeKey, dict[str, str]]:
    seed, success = row["seed"] or "", row["success"] or ""
    if not (seed.isdecimal() and len(seed) <= MOST_DIGITS):
        raise VandError(f"{file}: line {number}: seed: expected an integer, got {seed!r:.60}")
    if success not in ("True", "False"):
        raise VandError(
            f"{file}: line {number}: success: expected True or False, got {success!r:.60}"
        )
    texts = {name: text for name, text in row.items() if isinstance(text, str)}
    return (row["perturbation"] or "", row["task"] or "", int(seed)), texts
