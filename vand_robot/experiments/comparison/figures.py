"""Methods side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vand_robot.figures.style import BLUE, GREEN, INK, PURPLE, VERMILION, styled

Summary = Mapping[str, Any]
"""An entry of `results["methods"]`, or of the like."""

LOOKS = ((BLUE, "o"), (PURPLE, "D"), (VERMILION, "s"), (GREEN, "^"))
"""Color and mark of each group of networks, in turn."""

SHARES = ("in_tolerance",)
"""Scores between 0 and 1."""


@styled
def comparison_figure(methods: Sequence[Summary], scores: Mapping[str, str]) -> Figure:
    """Interquartile mean and interval of every method, cell by cell.

    Args:
        methods: `results["methods"]`.
        scores: Score -> what its axis says; a panel for each.

    Returns:
        A panel for each score; in it a row for each method, and a mark for each cell with the
        signals it was run on.
    """
    groups = list(dict.fromkeys(_group(entry) for entry in methods))
    names = list(dict.fromkeys(entry["method"] for entry in methods))
    apart = min(0.19, 0.8 / len(groups))  # rows of one method's marks
    figure = Figure(figsize=(11, 1.4 + max(0.55, 0.12 * len(groups)) * len(names)))
    panels = figure.subplots(1, len(scores), sharey=True)
    for axes, (score, label) in zip(panels, scores.items(), strict=True):
        for entry in methods:
            group = groups.index(_group(entry))
            row = names.index(entry["method"]) + apart * (group - (len(groups) - 1) / 2)
            _draw_interval(axes, entry[score], row, *_look(group))
        if score in SHARES:
            axes.set_xlim(0, 1)
        elif all(entry[score]["low"] >= 0 for entry in methods):
            axes.set_xlim(left=0)
        axes.set_title(label)
        axes.spines["left"].set_visible(False)
        for row in range(1, len(names)):
            axes.axhline(row - 0.5, color="#eef1f4", linewidth=0.8)
        axes.grid(visible=False, axis="y")
    panels[0].set_yticks(range(len(names)), names, color=INK)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    for group, name in enumerate(groups):
        color, mark = _look(group)
        panels[0].plot([], [], mark, color=color, label=name, markersize=4.5)
    # below: above the panels, four entries would read as their titles
    figure.legend(loc="outside lower center", ncols=min(len(groups), 4), frameon=False)
    return figure


def _look(group: int) -> tuple[str, str]:
    """Color and mark of a group: colors in turn, and with each round the next marks."""
    count = len(LOOKS)
    return LOOKS[group % count][0], LOOKS[(group + group // count) % count][1]


def _group(entry: Summary) -> str:
    signals = "all signals" if entry["signals"] == "all" else entry["signals"]
    return f"{entry['cell']}, {signals} (n = {entry['n']})"


def _draw_interval(
    axes: Axes, spread: Mapping[str, float], row: float, color: str, mark: str
) -> None:
    axes.plot([spread["low"], spread["high"]], [row, row], color=color, linewidth=1.4)
    axes.plot(spread["iqm"], row, mark, color=color, markersize=4.5)
