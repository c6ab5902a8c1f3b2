"""Metrics of a training run: on the console, in TensorBoard and in `metrics.jsonl`."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vand_demos.system.files import disk_errors, write_bytes
from vand_robot.layout import RunFolder
from vand_robot.metrics.training_metrics import (
    DROP,
    MEMORY,
    SCORE,
    SIGMA,
    TRAIN_NLL,
    UPDATE,
    VALID_NLL,
)

PLAIN_INTERVAL_S = 10.0
"""Time between two lines where there is no terminal to draw a bar on [s]."""

SHOWN = {
    TRAIN_NLL: ("loss", "{:.3f}"),
    VALID_NLL: ("valid", "{:.3f}"),
    MEMORY: ("memory", "{:.1f} nats"),
    SIGMA: ("sigma", "{:.3f}"),
    DROP: ("d", "{:.3f}"),
    SCORE: ("score", "{:.2f}"),
}
"""Metric -> how the console shows it."""


class RunningMeans:
    """Running means of named metrics since they were last taken.

    Args:
        sums: Sum of each metric so far.
        count: Sets of metrics added so far.
    """

    def __init__(self, sums: Mapping[str, float] | None = None, count: int = 0) -> None:
        self._sums: dict[str, float] = dict(sums or {})
        self._count = count

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add one set of metrics."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def take(self) -> dict[str, float]:
        """The means, which then start afresh."""
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def to_json(self) -> dict[str, Any]:
        """The arguments that make these running means again."""
        return {"sums": dict(self._sums), "count": self._count}


class MetricsLogger:
    """Writes metrics down; a context manager.

    Args:
        folder: Folder of the run.
        update: Updates already done. What a stopped run wrote beyond them is cut off, so that a
            resumed run says everything once.
    """

    def __init__(self, folder: RunFolder, update: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (takes a second)

        self._path = folder.metrics
        _cut_off(self._path, update)
        self._file = self._path.open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(folder.tensorboard), purge_step=update + 1)

    def write(self, update: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of one update."""
        with disk_errors("write", self._path):
            self._file.write(json.dumps({UPDATE: update, **metrics}) + "\n")
            self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(name, value, update)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()


class ProgressDisplay:
    """Shows how a run gets on: a bar on a terminal, plain lines elsewhere; a context manager.

    Args:
        console: Where; None shows nothing.
        update: Updates already done.
        updates: Updates in all.
    """

    def __init__(self, console: Console | None, update: int, updates: int) -> None:
        self._console = console
        self._first, self._updates = update, updates
        self._began = self._spoke = time.monotonic()
        self._figures: dict[str, float] = {}
        self._bar: Progress | None = None
        if console is not None and console.is_terminal:
            self._bar = Progress(
                TextColumn("training"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[metrics]}"),
                TimeRemainingColumn(),
                console=console,
            )
            self._task = self._bar.add_task("", total=updates, completed=update, metrics="")

    def show(self, update: int, metrics: Mapping[str, float]) -> None:
        """Show the newest metrics; those not given stay as they were."""
        self._figures |= metrics
        line = "  ".join(
            f"{label} {form.format(self._figures[name])}"
            for name, (label, form) in SHOWN.items()
            if name in self._figures
        )
        if self._bar is not None:
            self._bar.update(self._task, completed=update, metrics=line)
            return
        now = time.monotonic()
        due = now - self._spoke >= PLAIN_INTERVAL_S or update == self._updates
        if self._console is None or not due:
            return
        self._spoke = now
        left_s = (now - self._began) * (self._updates - update) / max(1, update - self._first)
        self._console.print(
            f"update {update}/{self._updates}  {line}  {left_s:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
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
    """Drop the lines beyond an update, and a last line that a crash left half written."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)[UPDATE] <= update:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue
    write_bytes(file, "".join(f"{line}\n" for line in kept).encode())
