"""Methods compared over training seeds."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vand_robot.figures.style import BLUE, INK, styled
from vand_robot.metrics.comparison import Comparison


@styled
def method_chart(comparison: Comparison) -> Figure:
    """Interquartile mean of each method under each perturbation, with its bootstrap interval.

    Args:
        comparison: The methods.

    Returns:
        A panel for each perturbation, in it a mark for each method, and a bar where there is an
        interval.
    """
    methods, perturbations = comparison.methods, comparison.perturbations
    figure = Figure(figsize=(1.8 + 1.9 * max(len(perturbations), 2), 0.95 + 0.36 * len(methods)))
    panels = figure.subplots(1, len(perturbations), squeeze=False, sharey=True)[0]
    for axes, perturbation in zip(panels, perturbations, strict=True):
        axes.set_title(perturbation)
        for row, method in enumerate(methods.values()):
            score = method.perturbations[perturbation]
            if score.interval is not None:
                axes.plot(score.interval, [row, row], color=BLUE, linewidth=5, alpha=0.35)
            axes.plot(score.iqm, row, marker="|", color=INK, markersize=11, markeredgewidth=2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.5, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(methods)), list(map(_label, methods)), color=INK)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


@styled
def method_matrix(comparison: Comparison) -> Figure:
    """Mean success of each method on each task under the first perturbation, as a heat map.

    The last column, apart, is the mean over the tasks.
    """
    perturbation, methods = comparison.perturbations[0], comparison.methods
    scores = [method.perturbations[perturbation] for method in methods.values()]
    tasks = list(scores[0].tasks)
    rates = np.array([[score.tasks[task] for task in tasks] for score in scores])
    width = max(2.4 + 0.62 * len(tasks), 5.0)  # the title must fit
    figure = Figure(figsize=(width, 1.5 + 0.36 * len(methods)))
    axes, mean = figure.subplots(
        1, 2, sharey=True, width_ratios=[len(tasks), 1], gridspec_kw={"wspace": 0.02}
    )
    figure.suptitle(f"Success on held-out episodes [%], {perturbation}", fontweight="bold")
    for panel, columns in ((axes, rates), (mean, rates.mean(axis=1, keepdims=True))):
        panel.imshow(columns, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, k in np.ndindex(columns.shape):
            color = "white" if columns[i, k] > 0.55 else INK
            text = f"{100 * columns[i, k]:.0f}"
            panel.text(k, i, text, ha="center", va="center", color=color)
        panel.grid(visible=False)
        for spine in panel.spines.values():
            spine.set_visible(False)
    axes.set_xticks(range(len(tasks)), tasks, rotation=40, ha="right", color=INK)
    mean.set_xticks([0], ["mean"], rotation=40, ha="right", color=INK, fontweight="bold")
    axes.set_yticks(range(len(methods)), list(map(_label, methods)), color=INK)
    seeds = sorted({len(method.seeds) for method in methods.values()})
    word = "seed" if seeds == [1] else "seeds"
    axes.set_xlabel(f"{' to '.join(map(str, seeds))} training {word} each")
    return figure


def _label(method: str) -> str:
    """A method's name as it is read: it comes from the name of a folder."""
    return method.replace("_", " ")
