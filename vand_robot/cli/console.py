"""Output of the command: tables and progress for people, JSON for scripts."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True, markup=False)
"""Results. Without markup: a path or a unit in square brackets is printed as it is."""
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""Progress and errors: kept apart, so that results can be piped."""


def print_json(content: Any) -> None:
    """Print something as indented JSON."""
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns whose heading begins with `>` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column[0] == ">" else "left")
    for row in rows:
        table.add_row(*row)
    out.print(table)


class TimeLeft(ProgressColumn):
    """Time left, from the mean rate since the work began.

    Not from the rate of the last seconds: demonstrations are recorded side by side, so that many
    are finished at once and then none for a while.
    """

    max_refresh = 0.5

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._first: tuple[float, float] | None = None  # time [s], work done
        self._end: float | None = None  # when all will be done [s]

    def begin(self, done: float) -> None:
        """Count from now on; what was done before took no time."""
        self._first, self._end = (self._clock(), done), None

    def update(self, done: float, total: float) -> None:
        """Estimate anew when all will be done."""
        if self._first is None:
            self.begin(done)
        elif done > self._first[1]:
            began, before = self._first
            now = self._clock()
            self._end = now + (now - began) * (total - done) / (done - before)

    @property
    def seconds(self) -> float | None:
        """Time left [s]; None while nothing is done."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def render(self, task: Task) -> Text:  # noqa: ARG002  (rich asks for it)
        """The time left as text."""
        left = self.seconds
        text = "-:--:--" if left is None else str(timedelta(seconds=math.ceil(left)))
        return Text(f"{text} left", style="progress.remaining")


@contextmanager
def progress_bar(
    what: str, total: int | None = None, *, visible: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with the time left; gives a function of (done, total).

    Args:
        what: The work, in a word or two.
        total: Amount of work, where none of it is done yet. None where that is found out only by
            the first call, which then says what was done before.
        visible: Whether to show it.
    """
    left = TimeLeft()
    if total is not None:
        left.begin(0)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        left,
        console=err,
        transient=True,
        disable=not visible,
    ) as progress:
        task = progress.add_task(what, total=total)

        def update(done: int, total: int) -> None:
            left.update(done, total)
            progress.update(task, completed=done, total=total)

        yield update


def percent(share: float) -> str:
    """A share as text."""
    return f"{100 * share:.0f} %"


def results_table(results: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The table of an evaluation's `results.json`: its columns, and a row for each task.

    One perturbation is told in detail; of several, the successes.
    """
    perturbations = list(results["perturbations"])
    if len(perturbations) == 1:
        return _RESULTS_COLUMNS, _detailed_rows(results, perturbations[0])
    rows = [
        [task, *(_successes(entry["perturbations"].get(name)) for name in perturbations)]
        for task, entry in results["tasks"].items()
    ]
    return ("task", *(f">{name}" for name in perturbations)), rows


def _successes(entry: Mapping[str, Any] | None) -> str:
    return "" if entry is None else f"{entry['successes']}/{entry['episodes']}"


def _detailed_rows(results: Mapping[str, Any], perturbation: str) -> list[list[str]]:
    rows = []
    for task, its in results["tasks"].items():
        if perturbation not in its["perturbations"]:
            continue
        entry = its["perturbations"][perturbation]
        low, high = entry["wilson_95"]
        metrics = entry["metrics"]
        if its["kind"] == "sequential":
            detail = " > ".join(f"{s['name']} {percent(s['share'])}" for s in entry["stages"])
        else:
            detail = ", ".join(
                f"{label} {_value(metrics[name]['median'], scale)}{unit}"
                for label, name, scale, unit in _PERIODIC_DETAILS
            )
        rows.append(
            [
                task,
                _successes(entry),
                percent(entry["success_rate"]),
                f"{percent(low)} to {percent(high)}",
                detail,
            ]
        )
    return rows


def study_table(study: Mapping[str, Any]) -> tuple[tuple[str, ...], list[list[str]]]:
    """The table of a `study.json`: its columns, and a row for each method."""
    rows = []
    for name, method in study["methods"].items():
        row = [name, str(len(method["seeds"]))]
        for perturbation in study["perturbations"]:
            score = method["perturbations"][perturbation]
            low, high = score["bootstrap_95"]
            row.append(f"{percent(score['iqm'])} ({100 * low:.0f} to {100 * high:.0f})")
        rows.append(row)
    return ("method", ">seeds", *(f">{name}" for name in study["perturbations"])), rows


_PERIODIC_DETAILS = (
    ("frequency error", "frequency_error", 100.0, " %"),
    ("amplitude error", "amplitude_error", 100.0, " %"),
    ("cycles", "cycles", 1.0, ""),
)

_RESULTS_COLUMNS = ("task", ">success", ">rate", "95 % interval", "stages, or medians of the cycle")


def _value(number: float | None, scale: float) -> str:
    return "-" if number is None else f"{scale * number:z.1f}"
