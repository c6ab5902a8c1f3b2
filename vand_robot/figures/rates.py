"""Rates of success by task and perturbation, and of behaviors by instruction."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from vand_robot.figures.style import BLUE, FAINT, INK, styled
from vand_robot.metrics.statistics import SuccessRate


@styled
def success_chart(tasks: Sequence[str], rates: Mapping[str, Mapping[str, SuccessRate]]) -> Figure:
    """Success rate of each task under each perturbation, with its Wilson 95 % interval.

    Args:
        tasks: Task ids, from the top.
        rates: Perturbation -> task -> success; tasks that were not evaluated are left out.

    Returns:
        A panel for each perturbation, in it a bar for each task with its successes / episodes.
    """
    figure = Figure(figsize=(1.5 + 2.3 * max(len(rates), 2), 0.95 + 0.4 * len(tasks)))
    panels = figure.subplots(1, len(rates), squeeze=False, sharey=True)[0]
    for axes, (perturbation, of_task) in zip(panels, rates.items(), strict=True):
        axes.set_title(perturbation)
        for row, task in enumerate(tasks):
            if task in of_task:
                _draw_rate(axes, row, of_task[task])
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(tasks)), list(tasks), color=INK)
    panels[0].set_ylim(len(tasks) - 0.5, -0.5)
    figure.supxlabel("episodes that succeeded, with 95 % interval", fontsize=9, color=FAINT)
    return figure


def _draw_rate(axes: Axes, row: int, success: SuccessRate) -> None:
    axes.barh(row, 1, height=0.62, color="#f2f4f6")
    axes.barh(row, success.rate, height=0.62, color=BLUE, alpha=0.85)
    axes.plot(success.interval, [row, row], color=INK, linewidth=1.2, solid_capstyle="butt")
    for end in success.interval:
        axes.plot([end, end], [row - 0.12, row + 0.12], color=INK, linewidth=1.2)
    axes.annotate(
        str(success),
        (1, row),
        (5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color=FAINT,
    )


@styled
def confusion_matrix(matrix: Mapping[str, Mapping[str, int]], episodes: int) -> Figure:
    """Behavior shown against instruction given.

    Args:
        matrix: Instruction -> behavior, or `none` -> episodes; the columns are those of the
            first row.
        episodes: Of each instruction.

    Returns:
        A heat map; the diagonal, which is success, is framed.
    """
    rows, columns = list(matrix), list(next(iter(matrix.values())))
    shares = np.array([[matrix[r][c] / episodes for c in columns] for r in rows])
    figure = Figure(figsize=(2.2 + 0.62 * len(columns), 1.6 + 0.42 * len(rows)))
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(rows):
        for k, column in enumerate(columns):
            count = matrix[row][column]
            axes.text(
                k,
                i,
                f"{100 * shares[i, k]:.0f}" if count else "\N{MIDDLE DOT}",
                ha="center",
                va="center",
                color="white" if shares[i, k] > 0.55 else INK if count else "#c3cad1",
            )
            if row == column:
                corner = (k - 0.5, i - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.2))
    axes.axvline(len(columns) - 1.5, color=FAINT, linewidth=0.8)
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", color=INK)
    axes.set_yticks(range(len(rows)), rows, color=INK)
    axes.set_xlabel("behavior shown [% of the episodes]")
    axes.set_ylabel("instruction given")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
