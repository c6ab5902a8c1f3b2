"""Stages of sequential tasks against time."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vand_robot.figures.style import styled
from vand_robot.metrics.sequential import in_order


@styled
def stage_completion(
    stage_times_s: npt.ArrayLike, names: Sequence[str], horizon_s: float
) -> Figure:
    """Share of episodes that have completed at least k stages in order, against time.

    Args:
        stage_times_s: When each stage was first completed, shape (n, S) [s]; nan: never.
        names: Names of the S stages.
        horizon_s: Length of the episodes [s].

    Returns:
        A rising step curve for each stage.

    Raises:
        ValueError: There are not S names.
    """
    times = np.asarray(stage_times_s, dtype=np.float64)
    if times.ndim != 2 or times.shape[1] != len(names):
        raise ValueError(f"{len(names)} stage names for stage times of shape {times.shape}")
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.add_subplot()
    # Viridis without its pale end: ordered in lightness, so that it also reads in gray.
    colors = mpl.colormaps["viridis"](np.linspace(0.05, 0.75, len(names)))
    kept = np.where(in_order(times), times, np.nan)  # (n, S)
    shares = []
    for k, color in enumerate(colors):
        done = np.sort(kept[np.isfinite(kept[:, k]), k])
        risen = np.arange(len(done) + 1) / max(len(times), 1)
        x, y = np.concatenate([[0], done, [horizon_s]]), np.append(risen, risen[-1])
        axes.step(x, y, where="post", color=color)
        axes.fill_between(x, y, step="post", color=color, alpha=0.05, linewidth=0)
        shares.append(float(risen[-1]))
    places = _spread_labels(shares, gap=0.075)
    for k, (name, share, place) in enumerate(zip(names, shares, places, strict=True)):
        axes.annotate(
            f"{k + 1}  {name}  {share:.0%}",
            xy=(1.0, share),
            xytext=(1.035, place),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=colors[k],
            arrowprops={
                "arrowstyle": "-",
                "color": colors[k],
                "linewidth": 0.7,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
        )
    axes.set_xlim(0, horizon_s)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("time [s]")
    axes.set_ylabel("episodes with stage completed")
    return figure


def _spread_labels(places: Sequence[float], gap: float) -> list[float]:
    """Move labels apart by at least a gap, in order from the top, none above 1 or below 0."""
    order = sorted(range(len(places)), key=lambda i: (-places[i], i))
    spread = [0.0] * len(places)
    ceiling = 1.0
    for rank, i in enumerate(order):
        floor = gap * (len(places) - 1 - rank)  # leaves room for those below
        spread[i] = max(min(places[i], ceiling), floor)
        ceiling = spread[i] - gap
    return spread
