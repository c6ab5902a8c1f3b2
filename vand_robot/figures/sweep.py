"""Success over the values of a key that a sweep varied."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vand_robot.figures.style import plain_numbers, styled
from vand_robot.metrics.comparison import MethodScore

_WIDE_RATIO = 20
"""Values whose ends are so many times apart are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Curve:
    """Success of one method under one perturbation, by the values of an axis."""

    method: str
    """Name of the method."""
    perturbation: str
    """Name of the perturbation."""
    points: Mapping[Any, MethodScore]
    """Value -> score."""


@styled
def axis_chart(axis: str, curves: Sequence[Curve]) -> Figure:
    """Interquartile mean of success over an axis, with bootstrap intervals where there are any.

    Args:
        axis: Name of the axis.
        curves: A curve for each method and perturbation.

    Returns:
        A panel for each perturbation. Numbers are in their places; other values side by side.
    """
    perturbations = list(dict.fromkeys(curve.perturbation for curve in curves))
    figure = Figure(figsize=(1.2 + 2.9 * len(perturbations), 2.9))
    panels = figure.subplots(1, len(perturbations), squeeze=False, sharey=True)[0]
    values = list(dict.fromkeys(value for curve in curves for value in curve.points))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    for panel, perturbation in zip(panels, perturbations, strict=True):
        for curve in curves:
            if curve.perturbation == perturbation:
                _draw(panel, curve, values, numbers=numbers)
        panel.set_title(perturbation)
        panel.set_xlabel(axis.replace("_", " "))
        panel.set_ylim(-0.02, 1.02)
        panel.yaxis.set_major_formatter(PercentFormatter(1))
        if not numbers:
            panel.set_xticks(range(len(values)), [str(value) for value in values])
        elif min(values) > 0 and max(values) / min(values) >= _WIDE_RATIO:
            panel.set_xscale("log")
            plain_numbers(panel.xaxis)
    panels[0].set_ylabel("success, interquartile mean")
    panels[-1].legend(loc="best", frameon=False)
    return figure


def _draw(panel: Axes, curve: Curve, values: Sequence[Any], *, numbers: bool) -> None:
    places = sorted(curve.points) if numbers else list(curve.points)
    x = places if numbers else [values.index(value) for value in places]
    scores = [curve.points[value] for value in places]
    (line,) = panel.plot(x, [score.iqm for score in scores], marker="o", label=curve.method)
    for where, score in zip(x, scores, strict=True):
        if score.interval is not None:
            panel.plot([where] * 2, score.interval, color=line.get_color(), linewidth=4, alpha=0.3)
