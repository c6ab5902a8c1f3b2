"""Methods compared over training seeds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vand_robot.figures.style import BLUE, INK, styled


@styled
def method_chart(study: Mapping[str, Any]) -> Figure:
    """Interquartile mean of each method under each perturbation, with its bootstrap interval.

    Args:
        study: The content of `study.json`.

    Returns:
        A panel for each perturbation, in it a mark for each method.
    """
    methods, perturbations = study["methods"], study["perturbations"]
    figure = Figure(figsize=(1.8 + 1.9 * max(len(perturbations), 2), 0.95 + 0.36 * len(methods)))
    panels = figure.subplots(1, len(perturbations), squeeze=False, sharey=True)[0]
    for axes, perturbation in zip(panels, perturbations, strict=True):
        axes.set_title(perturbation)
        for row, method in enumerate(methods.values()):
            score = method["perturbations"][perturbation]
            axes.plot(score["bootstrap_95"], [row, row], color=BLUE, linewidth=5, alpha=0.35)
            axes.plot(score["iqm"], row, marker="|", color=INK, markersize=11, markeredgewidth=2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.5, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.spines["left"].set_visible(False)
    panels[0].set_yticks(range(len(methods)), list(map(_label, methods)), color=INK)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    return figure


@styled
def method_matrix(study: Mapping[str, Any]) -> Figure:
    """Mean success of each method on each task under the first perturbation, as a heat map.

    The last column, apart, is the mean over the tasks.
    """
    perturbation = study["perturbations"][0]
    methods = study["methods"]
    tasks = list(next(iter(methods.values()))["perturbations"][perturbation]["tasks"])
    rates = np.array(
        [
            [it["perturbations"][perturbation]["tasks"][task] for task in tasks]
            for it in methods.values()
        ]
    )
    figure = Figure(figsize=(2.4 + 0.62 * len(tasks), 1.5 + 0.36 * len(methods)))
    axes, mean = figure.subplots(
        1, 2, sharey=True, width_ratios=[len(tasks), 1], gridspec_kw={"wspace": 0.02}
    )
    axes.set_title(f"Success on held-out episodes [%], {perturbation}")
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
    seeds = sorted({len(it["seeds"]) for it in methods.values()})
    axes.set_xlabel(f"{' to '.join(map(str, seeds))} training seeds each")
    return figure


def _label(method: str) -> str:
    """A method's name, as it is read: it comes from a folder's."""
    return method.replace("_", " ")
