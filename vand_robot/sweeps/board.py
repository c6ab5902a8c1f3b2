"""The live table of a sweep: how many trials wait, run, are finished or failed, and how far."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vand_robot.sweeps.outcomes import Outcome
from vand_robot.sweeps.trial import Trial


@dataclass(frozen=True)
class RunningRow:
    """A trial that runs."""

    trial: Trial
    """The trial."""
    update: int
    """Updates that it has made."""
    seconds: float
    """Since its start [s]."""

    @property
    def share(self) -> float:
        """Share of its updates that are made."""
        return min(self.update / self.trial.config.updates, 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Time left to the end of its training, from the rate so far [s]; None: not known yet."""
        return self.seconds * (1 / self.share - 1) if self.share else None


class Board:
    """Shows a sweep on a terminal as a table, elsewhere as a line for each trial that ends.

    Args:
        console: Where to show it; None: nowhere.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._live: Live | None = None
        if console is not None and console.is_terminal:
            self._live = Live(console=console, transient=True, auto_refresh=False)
        self._finished: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._ended = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def note(self, line: str) -> None:
        """Print a line beside the table."""
        if self._console is not None:
            self._console.print(line)

    def ended(self, trial: Trial, outcome: Outcome) -> None:
        """Count a trial that ended, and say so."""
        self._ended += 1
        failed = outcome.result.error
        (self._failed if failed else self._finished)[trial.method] += 1
        if failed:
            self.note(f"failed: {trial.name}: {failed}")
        elif self._live is None:
            success = outcome.result.success
            self.note(f"finished: {trial.name}: success {100 * (success or 0.0):.0f} %")

    def show(self, running: Sequence[RunningRow], total: int) -> None:
        """Draw the table anew."""
        if self._live is not None:
            self._live.update(self._table(running, total), refresh=True)

    def _table(self, running: Sequence[RunningRow], total: int) -> RenderableType:
        at_work = Counter(row.trial.method for row in running)
        waiting = total - self._ended - len(running)
        table = Table(title=f"{self._ended} of {total} trials ended, {waiting} wait")
        for column in ("method", "running", "finished", "failed"):
            table.add_column(column, justify="left" if column == "method" else "right")
        for method in dict.fromkeys([*self._finished, *self._failed, *at_work]):
            counts = at_work[method], self._finished[method], self._failed[method]
            table.add_row(method, *map(str, counts))
        lines = [_line(row) for row in running]
        return Group(table, *lines)


def _line(row: RunningRow) -> Text:
    left = row.seconds_left
    time_left = "" if left is None else f", {timedelta(seconds=round(left))} left"
    state = f"{100 * row.share:.0f} %{time_left}" if row.share < 1 else "evaluating"
    return Text(f"  {row.trial.name}: {state}", no_wrap=True, overflow="ellipsis")
