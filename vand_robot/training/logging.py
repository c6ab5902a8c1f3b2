"""Metrics of a training run: on the console, in `metrics.jsonl` and to trackers."""

import json
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from vand_demos.system.files import disk_errors, write_bytes
from vand_robot.layout import RunFolder
from vand_robot.metrics.history import read_history
from vand_robot.metrics.training_metrics import (
    DROP,
    MEMORY,
    SCORE,
    SIGMA,
    TRAIN_NLL,
    UPDATE,
    VALID_NLL,
)
from vand_robot.progress import TimeLeft
from vand_robot.tracking import Trackers

PLAIN_INTERVAL_S = 10.0
"""Time between two lines where there is no terminal to draw a bar on [s]."""

TRAINING, ROLLING_OUT = "training", "validation rollouts"
"""The two kinds of work that a bar names."""

SHOWN = {
    TRAIN_NLL: ("loss", "{:.3f}"),
    VALID_NLL: ("valid", "{:.3f}"),
    MEMORY: ("memory", "{:.1f} nats"),
    SIGMA: ("sigma", "{:.3f}"),
    DROP: ("d", "{:.3f}"),
    SCORE: ("score", "{:.2f}"),
}
"""Metric -> how the console shows it."""

_COUNT = "#"
"""Ends the name of a count among the sums of `RunningMeans`."""


class RunningMeans:
    """Running means of named metrics since they were last taken.

    Args:
        sums: Sum of each metric so far.
        count: Sets of metrics added so far.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, count: int = 0) -> None:
        self.sums: dict[str, float] = dict(sums or {})
        """Sum of each metric so far."""
        self.count = count
        """Sets of metrics added so far."""

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add one set of metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def add_some(self, metrics: Mapping[str, float]) -> None:
        """Add metrics that not every update has: they have counts of their own among the sums."""
        for name, value in metrics.items():
            for key, more in ((name, value), (name + _COUNT, 1.0)):
                self.sums[key] = self.sums.get(key, 0.0) + more

    def take(self) -> dict[str, float]:
        """The means, which then start afresh."""
        means = {
            name: total / self.sums.get(name + _COUNT, self.count)
            for name, total in self.sums.items()
            if not name.endswith(_COUNT)
        }
        self.sums, self.count = {}, 0
        return means


class MetricsLogger:
    """Writes metrics down, and reports them to trackers; a context manager.

    Args:
        folder: Folder of the run.
        update: Updates already done. What a stopped run wrote beyond them is cut off, so that a
            resumed run says everything once.
        trackers: Trackers.
    """

    def __init__(self, folder: RunFolder, update: int, trackers: Trackers) -> None:
        self._trackers = trackers
        self._path = folder.metrics
        _cut_off(self._path, update)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one update."""
        with disk_errors("write", self._path):
            self._file.write(json.dumps({UPDATE: update, **metrics}) + "\n")
            self._file.flush()
        self._trackers.log(update, metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class _TwoLines(Progress):
    """A progress bar with the figures on a line of their own, so that neither cuts the other."""

    figures = ""
    """Text of the second line."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, then the figures."""
        yield from super().get_renderables()
        yield Text(self.figures, no_wrap=True, overflow="ellipsis")


class ProgressDisplay:
    """Shows how a run gets on: a bar on a terminal, plain lines elsewhere; a context manager.

    Args:
        console: Where; None shows nothing.
        update: Updates already done.
        updates: Updates in all.
    """

    def __init__(self, console: Console | None, update: int, updates: int) -> None:
        self._console = console
        self._update, self._updates = update, updates
        self._spoke = -math.inf
        self._figures: dict[str, float] = {}
        self._left = TimeLeft()
        self._left.begin(update)
        self._bar: _TwoLines | None = None
        if console is not None and console.is_terminal:
            self._bar = _TwoLines(
                SpinnerColumn(finished_text=" "),
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                self._left,
                console=console,
                expand=True,
            )
            self._task = self._bar.add_task(TRAINING, total=updates, completed=update)

    def show(self, update: int, metrics: Mapping[str, float]) -> None:
        """Shows the newest metrics; those not given stay as they were."""
        self._update = update
        self._figures |= metrics
        self._left.update(update, self._updates)
        line = "  ".join(
            f"{label} {form.format(self._figures[name])}"
            for name, (label, form) in SHOWN.items()
            if name in self._figures
        )
        if self._bar is not None:
            self._bar.figures = line
            self._bar.update(self._task, completed=update)
            return
        if time.monotonic() - self._spoke >= PLAIN_INTERVAL_S or update == self._updates:
            left_s = self._left.seconds
            left = "" if left_s is None else f"  {left_s:.0f} s left"
            self._say(f"update {update}/{self._updates}  {line}{left}")

    @contextmanager
    def rolling_out(self, update: int) -> Iterator[None]:
        """Shows in the block that the policy is tried in simulation, after an update."""
        if self._bar is None:
            self._say(f"update {update}/{self._updates}: validation rollouts")
            yield
            return
        self._bar.update(self._task, completed=update, description=ROLLING_OUT)
        try:
            yield
        finally:
            self._bar.update(self._task, description=TRAINING)

    def _say(self, line: str) -> None:
        """Prints a line, where there is no bar."""
        self._spoke = time.monotonic()
        if self._console is not None:
            self._console.print(line, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        elif self._update < self._updates:
            self._say(f"training: update {self._update}/{self._updates}")
            self._spoke = -math.inf  # the first figures come as soon as there are any
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _cut_off(file: Path, update: int) -> None:
    """Drops the lines beyond an update, and a last line that a crash left half written.

    Raises:
        VandError: Another line does not fit.
    """
    if not file.exists():
        return
    kept = [record.line for record in read_history(file) if record.update <= update]
    write_bytes(file, "".join(f"{line}\n" for line in kept).encode())


def note_unscored(trained: Collection[str], scored: Collection[str], console: Console) -> None:
    """Says which tasks are trained on and have no validation rollouts."""
    if tasks := sorted(set(trained) - set(scored)):
        which = f"note: no validation rollouts of {', '.join(tasks)}:"
        note = f"{which} no successful demonstration to judge them by"
        console.print(note, highlight=False, soft_wrap=True)
