"""Curves of a training run, from its metrics."""

import json
import math
from pathlib import Path

import numpy as np
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
from vand_robot.metrics.names import (
    DROP,
    MEMORY,
    SIGMA,
    SUCCESS,
    TRAIN_NLL,
    UPDATE,
    VALID_NLL,
)

_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("loss [nats per step]", ((TRAIN_NLL, "training", BLUE), (VALID_NLL, "held out", ORANGE))),
    ("memory [nats per step]", ((MEMORY, "", PURPLE),)),
    ("noise scale sigma", ((SIGMA, "", GREEN),)),
    ("drop ratio d", ((DROP, "", VERMILION),)),
)


@styled
def training_curve(metrics: str | Path) -> Figure:
    """Curves of a training run: loss, memory, noise, forgetting, validation success.

    Args:
        metrics: The run's `metrics.jsonl`. Lines that are damaged, such as a last one that is half
            written, are passed over.

    Returns:
        A panel for each quantity that was recorded.

    Raises:
        VandError: The file cannot be read, or holds no metric.
    """
    records = _read_records(Path(metrics))
    names = dict.fromkeys(name for record in records for name in record)
    panels = [
        (title, lines)
        for title, wanted in _PANELS
        if (lines := tuple(line for line in wanted if line[0] in names))
    ]
    tasks = [name for name in names if name.startswith(SUCCESS)]
    colors = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK)
    if tasks:
        lines = tuple(
            (name, name.removeprefix(SUCCESS), colors[i % len(colors)])
            for i, name in enumerate(tasks)
        )
        panels.append(("success on validation seeds", lines))
    if not panels:
        raise VandError(f"{metrics} holds none of the metrics that a training run writes")
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.5 * rows))
    for place, (title, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(title)
        for name, label, color in lines:
            points = [(record[UPDATE], record[name]) for record in records if name in record]
            x, y = np.array(points, dtype=np.float64).T
            sparse = len(x) <= 30
            axes.plot(
                x,
                y,
                color=color,
                label=label,
                linewidth=1.2,
                marker="o" if sparse else "",
                markersize=3,
            )
        axes.set_xlim(0, 1.02 * records[-1][UPDATE])
        if lines[0][1]:
            axes.legend(frameon=False, fontsize=8, handlelength=1.2)
        if lines[0][0].startswith(SUCCESS):
            axes.set_ylim(-0.02, 1.05)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        elif not lines[0][0].endswith("nll"):
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if place > len(panels) - columns:
            axes.set_xlabel("update")
    return figure


def _read_records(path: Path) -> list[dict[str, float]]:
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise VandError(f"cannot read {path}: {error}") from error
    return [record for line in lines if (record := _read_record(line))]


def _read_record(line: str) -> dict[str, float]:
    """The metrics in a line; empty where it is damaged."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    metrics = {
        name: float(value) for name, value in record.items() if isinstance(value, int | float)
    }
    return metrics if math.isfinite(metrics.get(UPDATE, math.nan)) else {}
