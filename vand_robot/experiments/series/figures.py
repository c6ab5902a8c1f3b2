"""Figures of recordings and of what networks make of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vand_robot.figures.style import BLUE, FAINT, styled

SHOWN_S = 12.0
"""Time that is drawn, the first and the last part of it [s]."""


@styled
def generation_figure(outcomes: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> Figure:
    """Motions that networks generate, over the recordings that they go on with.

    Args:
        outcomes: Of trials, with their "first" motion.
        titles: One for each.

    Returns:
        A row for each: the first channel right after the warm-up, and at the end.
    """
    figure = Figure(figsize=(11, 1.5 * len(outcomes) + 0.5))
    rows = figure.subplots(len(outcomes), 2, squeeze=False)
    for (begun, ended), outcome, title in zip(rows, outcomes, titles, strict=True):
        first = outcome["first"]
        true, generated = (np.array(first[key])[:, 0] for key in ("true", "generated"))  # (T,)
        time_s = np.arange(len(true)) * first["dt_s"]
        shown = min(round(SHOWN_S / first["dt_s"]), len(true))
        for axes, part in ((begun, slice(None, shown)), (ended, slice(len(true) - shown, None))):
            axes.plot(time_s[part], true[part], color=FAINT, linewidth=3, alpha=0.35)
            axes.plot(time_s[part], generated[part], color=BLUE, linewidth=1.2)
            axes.set_ylim(-3.5, 3.5)
        begun.set_title(title, fontsize=9.5)
    for axes in rows[-1]:
        axes.set_xlabel("time after the warm-up [s]", fontsize=8.5)
    return figure
