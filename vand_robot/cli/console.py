"""Output of the command: tables and progress for people, JSON for scripts."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from vand_robot.progress import TimeLeft

if TYPE_CHECKING:
    from vand_robot.evaluation.results import EvaluationResult
    from vand_robot.metrics.comparison import Comparison
    from vand_robot.sweeps.regimes import RegretTable

out = Console(highlight=False, soft_wrap=True, markup=False)
"""Results. Without markup: a path or a unit in square brackets is printed as it is."""
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
"""Progress and errors: kept apart, so that results can be piped."""


_for_scripts: TextIO | None = None


@contextmanager
def only_json() -> Iterator[None]:
    """Keep standard output for `print_json`: whatever else is printed goes to standard error.

    Libraries print what they like, and a script would take it for the result.
    """
    global _for_scripts  # noqa: PLW0603  (there is one standard output)
    _for_scripts = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _for_scripts = None


def print_json(content: Any) -> None:
    """Print something as indented JSON."""
    (_for_scripts or sys.stdout).write(json.dumps(content, indent=2) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; columns whose heading begins with `>` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column[0] == ">" else "left")
    for row in rows:
        table.add_row(*row)
    out.print(table)


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


def results_table(result: "EvaluationResult") -> tuple[tuple[str, ...], list[list[str]]]:
    """The table of an evaluation: its columns, and a row for each task.

    Of one perturbation the details, of several the successes.
    """
    names = list(result.perturbations)
    if len(names) == 1:
        return _RESULTS_COLUMNS, _detailed_rows(result, names[0])
    rates = result.success_rates()
    rows = [[task, *(str(rates[name].get(task, "")) for name in names)] for task in result.tasks]
    return ("task", *(f">{name}" for name in names)), rows


def _detailed_rows(result: "EvaluationResult", perturbation: str) -> list[list[str]]:
    rows = []
    for task_id, task in result.tasks.items():
        if perturbation not in task.perturbations:
            continue
        entry = task.perturbations[perturbation]
        low, high = entry.success.interval
        if task.kind == "foreign":
            detail = f"return {_value(entry.metrics['return'].median, 1.0)} in the median"
        elif task.kind == "sequential":
            detail = " > ".join(f"{stage.name} {percent(stage.share)}" for stage in entry.stages)
        else:
            detail = ", ".join(
                f"{label} {_value(entry.metrics[name].median, scale)}{unit}"
                for label, name, scale, unit in _PERIODIC_DETAILS
            )
        interval = f"{percent(low)} to {percent(high)}"
        rows.append([task_id, str(entry.success), percent(entry.success_rate), interval, detail])
    return rows


def comparison_table(comparison: "Comparison") -> tuple[tuple[str, ...], list[list[str]]]:
    """The table of a comparison: its columns, and a row for each method."""
    rows = []
    for name, method in comparison.methods.items():
        row = [name, str(len(method.seeds))]
        for perturbation in comparison.perturbations:
            iqm = method.perturbations[perturbation].iqm
            row.append(f"{percent(iqm)} ({method.interval_text(perturbation)})")
        rows.append(row)
    return ("method", ">seeds", *(f">{name}" for name in comparison.perturbations)), rows


def regret_table(table: "RegretTable") -> tuple[tuple[str, ...], list[list[str]]]:
    """The table of regrets: its columns, and a row for each setting, the lowest mean first."""
    rows = []
    for setting in [*table.regrets, *(s for s in table.rates if s not in table.regrets)]:
        regret = table.regrets.get(setting)
        known = ["-", "-"] if regret is None else [percent(regret.mean), percent(regret.worst)]
        success = [table.mean_in(setting, regime) for regime in table.regimes]
        rows.append([setting, *known, *("-" if x is None else percent(x) for x in success)])
    return ("setting", ">mean regret", ">worst", *(f">{name}" for name in table.regimes)), rows


_PERIODIC_DETAILS = (
    ("frequency error", "frequency_error", 100.0, " %"),
    ("amplitude error", "amplitude_error", 100.0, " %"),
    ("cycles", "cycles", 1.0, ""),
)

_RESULTS_COLUMNS = ("task", ">success", ">rate", "95 % interval", "stages, or medians of the cycle")


def _value(number: float | None, scale: float) -> str:
    return "-" if number is None else f"{scale * number:z.1f}"
