"""Curves of a training run, from its metrics."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vand_envs.errors import VandError
from vand_robot.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    styled,
)
from vand_robot.metrics.history import read_history
from vand_robot.metrics.training_metrics import (
    DROP,
    MEMORY,
    SIGMA,
    SUCCESS,
    TRAIN_NLL,
    UPDATE,
    VALID_NLL,
)


@dataclass(frozen=True)
class _Line:
    """One curve of a panel."""

    name: str
    """Of the metric in `metrics.jsonl`."""
    label: str
    """In the legend; empty where the panel has one curve."""
    color: str


_PANELS: tuple[tuple[str, tuple[_Line, ...]], ...] = (
    (
        "loss [nats per step]",
        (_Line(TRAIN_NLL, "training", BLUE), _Line(VALID_NLL, "held out", ORANGE)),
    ),
    ("memory [nats per step]", (_Line(MEMORY, "", PURPLE),)),
    ("noise scale sigma", (_Line(SIGMA, "", GREEN),)),
    ("drop ratio d", (_Line(DROP, "", VERMILION),)),
)
"""Title of a panel -> its curves."""
_TASK_COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK)


@styled
def training_curve(metrics: str | Path) -> Figure:
    """Curves of a training run: loss, memory, noise, forgetting, validation success.

    Args:
        metrics: The run's `metrics.jsonl`. A last line that is half written is passed over.

    Returns:
        A panel for each quantity that was recorded.

    Raises:
        VandError: The file cannot be read, a line does not fit, or it holds no metric that is
            drawn.
    """
    records = [{UPDATE: r.update, **r.metrics} for r in read_history(Path(metrics))]
    panels = _recorded_panels(dict.fromkeys(name for record in records for name in record))
    if not panels:
        raise VandError(f"{metrics} holds none of the metrics that a training run writes")
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.5 * rows))
    for place, (title, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(title)
        _draw_panel(axes, lines, records)
        if place > len(panels) - columns:
            axes.set_xlabel("update")
    return figure


def _recorded_panels(names: Collection[str]) -> list[tuple[str, tuple[_Line, ...]]]:
    """The panels of what was recorded, each with the curves that there are."""
    panels = [
        (title, lines)
        for title, wanted in _PANELS
        if (lines := tuple(line for line in wanted if line.name in names))
    ]
    tasks = [name for name in names if name.startswith(SUCCESS)]
    if tasks:
        lines = tuple(
            _Line(name, name.removeprefix(SUCCESS), color)
            for name, color in zip(tasks, cycle(_TASK_COLORS), strict=False)
        )
        panels.append(("success on validation seeds", lines))
    return panels


def _draw_panel(axes: Axes, lines: Sequence[_Line], records: Sequence[Mapping[str, float]]) -> None:
    for line in lines:
        points = [(r[UPDATE], r[line.name]) for r in records if line.name in r]
        x, y = np.array(points, dtype=np.float64).T
        axes.plot(
            x,
            y,
            color=line.color,
            label=line.label,
            linewidth=1.2,
            marker="o" if len(x) <= 30 else "",
            markersize=3,
        )
    axes.set_xlim(0, 1.02 * records[-1][UPDATE])
    if lines[0].label:
        axes.legend(frameon=False, fontsize=8, handlelength=1.2)
    if lines[0].name.startswith(SUCCESS):
        axes.set_ylim(-0.02, 1.05)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    elif lines[0].name not in (TRAIN_NLL, VALID_NLL):
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
