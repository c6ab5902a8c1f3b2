"""Figures of the comparison: methods side by side, what was generated, what VAND's options do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from vand_robot.experiments.comparison.figures import Summary
from vand_robot.experiments.sequences.signals import DT_S, STEPS_PER_CYCLE, walk
from vand_robot.experiments.sequences.trial import TRAINING_STEPS
from vand_robot.figures.style import BLUE, FAINT, INK, styled

SCORES = {
    "in_tolerance": "share of time in tolerance",
    "frequency_error": "frequency error",
    "amplitude_error": "amplitude error",
    "phase_drift_rad": "phase drift [rad per cycle]",
}
"""Score -> what its axis says."""

SHOWN_CYCLES = 3
"""Cycles of a generated sequence that are drawn, the last ones."""


@styled
def variation_figure(variations: Sequence[Summary]) -> Figure:
    """The share of time in tolerance as VAND's options vary, one at a time.

    Args:
        variations: `results["variations"]`.

    Returns:
        A panel for each option.
    """
    options = list(dict.fromkeys(entry["option"] for entry in variations))
    counts = [sum(entry["option"] == option for entry in variations) for option in options]
    figure = Figure(figsize=(11, 2.9))
    panels = figure.subplots(1, len(options), squeeze=False, sharey=True, width_ratios=counts)[0]
    for axes, option in zip(panels, options, strict=True):
        entries = [entry for entry in variations if entry["option"] == option]
        for place, entry in enumerate(entries):
            spread = entry["in_tolerance"]
            axes.plot([place, place], [spread["low"], spread["high"]], color=BLUE, linewidth=1.6)
            axes.plot(place, spread["iqm"], "o", color=BLUE, markersize=5)
        axes.set_title(option)
        labels = [_label(entry["value"]) for entry in entries]
        axes.set_xticks(range(len(labels)), labels, color=INK, fontsize=8.5)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.grid(visible=False, axis="x")
    panels[0].set_ylim(0, 1.02)
    panels[0].set_ylabel(SCORES["in_tolerance"])
    return figure


@styled
def generation_figure(outcomes: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> Figure:
    """Motions that networks generate at the end of ten times the training length, over the truth.

    Args:
        outcomes: Of trials, with their "first" rollout.
        titles: One for each.

    Returns:
        For each the curve, and below it one coordinate against time.
    """
    figure = Figure(figsize=(2.75 * len(outcomes), 4.6))
    rows = figure.subplots(2, len(outcomes), squeeze=False, height_ratios=(2, 1))
    for curve, course, outcome, title in zip(*rows, outcomes, titles, strict=True):
        first = outcome["first"]
        path = np.array(first["path"])  # (T, 2)
        shown = round(SHOWN_CYCLES * STEPS_PER_CYCLE / abs(first["tempo"]))
        truth = walk(outcome["trial"]["signal"], shown, *_one(0.0, first["tempo"], first["size"]))
        curve.plot(*truth[:, 0].T, color=FAINT, linewidth=4, alpha=0.3)
        curve.plot(*path[-shown:].T, color=BLUE, linewidth=1.2)
        curve.set_title(title, fontsize=9.5)
        curve.set_aspect("equal")
        curve.set_xlim(-1.6, 1.6)
        curve.set_ylim(-1.6, 1.6)
        time_s = np.arange(len(path)) * DT_S
        course.plot(time_s[-shown:], path[-shown:, 0], color=BLUE, linewidth=1.2)
        course.set_ylim(-1.6, 1.6)
        course.set_xlabel(f"time [s], training: {TRAINING_STEPS * DT_S:g} s", fontsize=8.5)
    return figure


def _one(*values: float) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    return [np.array([value]) for value in values]


def _label(value: Any) -> str:
    return value.replace("-", "-\n") if isinstance(value, str) else f"{value:g}"
