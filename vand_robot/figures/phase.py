"""Periodic motions in their phase plane."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vand_robot.figures.style import BLUE, INK, VERMILION, styled
from vand_robot.metrics.periodic import score_periodic
from vand_robot.metrics.reference_cycle import ReferenceCycle


@styled
def phase_portrait(
    signals: Sequence[npt.ArrayLike],
    reference: ReferenceCycle,
    dt: float,
    *,
    valid: Sequence[npt.ArrayLike] | None = None,
    names: tuple[str, str] = ("first signal", "second signal"),
) -> Figure:
    """Rollouts in the phase plane over the demonstrations' mean cycle.

    The approach before the onset is drawn fainter. The plane is cut at 2.2 times the amplitude.

    Args:
        signals: Phase-plane signals of the rollouts, each of shape (T, 2) [m].
        reference: The cycle of the demonstrations.
        dt: Time between samples [s].
        valid: For each signal which samples count, shape (T,); None: all.
        names: Names of the two signals.

    Returns:
        Two panels: rollouts that succeeded, and rollouts that failed; one where all are alike.
    """
    arrays = [np.asarray(signal, dtype=np.float64) for signal in signals]
    scores = [
        score_periodic(x, dt, reference, valid=None if valid is None else valid[i])
        for i, x in enumerate(arrays)
    ]
    groups = [
        (word, color, [i for i, score in enumerate(scores) if score.success is success])
        for word, color, success in (("succeeded", BLUE, True), ("failed", VERMILION, False))
    ]
    groups = [group for group in groups if group[2]] or groups[:1]
    figure = Figure(figsize=(3.9 * len(groups), 4.2))
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (word, color, members) in zip(panels, groups, strict=True):
        axes.set_title(f"{len(members)} of {len(arrays)} {word}", color=color)
        for i in members:
            onset_s = scores[i].onset_s
            begin = len(arrays[i]) if np.isnan(onset_s) else round(onset_s / dt)
            alpha = float(np.clip(2.5 / len(members), 0.08, 0.8))
            axes.plot(*arrays[i][: begin + 1].T, color=color, alpha=0.15, linewidth=0.8)
            axes.plot(*arrays[i][begin:].T, color=color, alpha=alpha, linewidth=0.8)
        _draw_cycle(axes, reference)
        span = 2.2 * reference.amplitude
        axes.set_xlim(reference.center[0] - span, reference.center[0] + span)
        axes.set_ylim(reference.center[1] - span, reference.center[1] + span)
        axes.set_aspect("equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{names[0]} [m]")
    panels[0].set_ylabel(f"{names[1]} [m]")
    return figure


def _draw_cycle(axes: Axes, reference: ReferenceCycle) -> None:
    cycle = np.concatenate([reference.mean_cycle, reference.mean_cycle[:1]])
    axes.plot(*cycle.T, color="white", linewidth=4.5)
    axes.plot(*cycle.T, color=INK, linewidth=2.0)
    for start in (0, len(reference.mean_cycle) // 2):
        axes.annotate(
            "",
            tuple(cycle[start + 2]),
            tuple(cycle[start]),
            arrowprops={"arrowstyle": "-|>", "color": INK, "mutation_scale": 17, "linewidth": 0},
        )
    axes.annotate(
        f"demonstrations\n{reference.frequency_hz:.2f} Hz, {100 * reference.amplitude:.1f} cm",
        tuple(reference.center),
        ha="center",
        va="center",
        color=INK,
        fontsize=8.5,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )
