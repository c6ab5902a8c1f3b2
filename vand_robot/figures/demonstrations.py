"""Figures of demonstrations: paths of hand and base, durations, values of the actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vand_envs.typing import FloatArray, IntArray
from vand_robot.figures.style import BLUE, FAINT, INK, VERMILION, plain_numbers, styled

BINS = 40
"""Bins of a histogram of actions, over [-1, 1]."""


@dataclass(frozen=True)
class Trajectory:
    """Path of hand and base in one demonstration of N steps."""

    base: FloatArray
    """Place of the base in the world, (N, 2) [m]."""
    hand: FloatArray
    """Place of the end effector in the world, (N, 3) [m]."""
    dt: float
    """Time between steps [s]."""
    success: bool
    """Whether the task was done by the end."""


@styled
def trajectories(paths: Sequence[Trajectory], title: str) -> Figure:
    """Demonstrations of one task from above, and the height of the hand against time.

    Args:
        paths: At least one.
        title: The task.

    Returns:
        Two panels. Failures are dashed; a dot marks each start of the hand, a cross its end.
    """
    figure = Figure(figsize=(9.2, 4.2))
    above, height = figure.subplots(1, 2, width_ratios=(1.25, 1))
    alpha = float(np.clip(4 / len(paths), 0.12, 0.9))
    for path in paths:
        color, line = (BLUE, "-") if path.success else (VERMILION, "--")
        above.plot(*path.base.T, color=FAINT, alpha=alpha, linewidth=0.9, linestyle=line)
        above.plot(*path.hand[:, :2].T, color=color, alpha=alpha, linewidth=1.0, linestyle=line)
        above.plot(*path.hand[0, :2], "o", color=INK, markersize=2.5, alpha=alpha)
        above.plot(*path.hand[-1, :2], "x", color=INK, markersize=4, alpha=alpha)
        time_s = np.arange(len(path.hand)) * path.dt
        height.plot(
            time_s, path.hand[:, 2], color=color, alpha=alpha, linewidth=1.0, linestyle=line
        )
    done = sum(path.success for path in paths)
    above.set_title(f"{title}: {len(paths)} demonstrations, {done} succeeded")
    above.set_aspect("equal", adjustable="datalim")
    above.set_xlabel("x [m]")
    above.set_ylabel("y [m]")
    for label, color in (("hand", BLUE), ("hand, failure", VERMILION), ("base", FAINT)):
        if color != VERMILION or done < len(paths):
            above.plot([], [], color=color, label=label)
    above.legend(frameon=False, fontsize=8, handlelength=1.2)
    height.set_title("height of the hand")
    height.set_xlabel("time [s]")
    height.set_ylabel("z [m]")
    height.set_xlim(left=0)
    return figure


@styled
def durations(seconds: Mapping[str, Sequence[float]]) -> Figure:
    """Durations of the demonstrations of each task.

    Args:
        seconds: Task -> durations [s]; at least one each.

    Returns:
        A row of dots for each task, with the median as a bar and in numbers.
    """
    figure = Figure(figsize=(6.4, 0.9 + 0.42 * len(seconds)))
    axes = figure.add_subplot()
    for row, values in enumerate(seconds.values()):
        spread = np.linspace(-0.16, 0.16, len(values)) if len(values) > 1 else np.zeros(1)
        axes.plot(values, row + spread, "o", color=BLUE, markersize=3, alpha=0.55)
        middle = float(np.median(values))
        axes.plot([middle, middle], [row - 0.3, row + 0.3], color=INK, linewidth=1.6)
        axes.annotate(
            f"{middle:.1f} s",
            (1, row),
            (8, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(range(len(seconds)), list(seconds), color=INK)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(len(seconds) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("duration [s], and its median")
    return figure


@styled
def action_histograms(counts: Mapping[str, IntArray]) -> Figure:
    """Histograms of the numbers of the actions.

    Args:
        counts: Name of the number -> how many steps fell into each of the bins that divide [-1, 1]
            evenly, (BINS,).

    Returns:
        A panel for each number; the share of steps on a logarithmic scale, since most are near 0.
    """
    columns = min(len(counts), 5)
    rows = -(-len(counts) // columns)
    figure = Figure(figsize=(2.1 * columns, 0.4 + 1.7 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    edges = np.linspace(-1, 1, BINS + 1)
    for axes, (name, count) in zip(panels.flat, counts.items(), strict=False):
        axes.stairs(count / max(count.sum(), 1), edges, fill=True, color=BLUE, alpha=0.85)
        axes.set_title(name, fontsize=8.5)
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_xlim(-1, 1)
        axes.xaxis.set_major_locator(MaxNLocator(2))
    for axes in list(panels.flat)[len(counts) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("share of steps")
    return figure


@styled
def observed_signals(signals: Mapping[str, Sequence[FloatArray]], dt: float, title: str) -> Figure:
    """What was observed in demonstrations of one task, number by number, against time.

    Args:
        signals: Observation -> (N, d) of each demonstration; at least one.
        dt: Time between steps [s].
        title: The task.

    Returns:
        A panel for each observation, a color for each of its numbers, a line for each
        demonstration.
    """
    columns = min(len(signals), 3)
    rows = -(-len(signals) // columns)
    figure = Figure(figsize=(3.4 * columns, 0.6 + 2.2 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, (name, episodes) in zip(panels.flat, signals.items(), strict=False):
        alpha = float(np.clip(3 / len(episodes), 0.15, 0.9))
        for values in episodes:
            axes.set_prop_cycle(None)
            axes.plot(np.arange(len(values)) * dt, values, alpha=alpha, linewidth=0.8)
        axes.set_title(f"{name} ({episodes[0].shape[1]})", fontsize=8.5)
        axes.set_xlim(left=0)
    for axes in list(panels.flat)[len(signals) :]:
        axes.set_visible(False)
    for axes in panels[-1]:
        axes.set_xlabel("time [s]")
    figure.suptitle(title, fontsize=9.5)
    return figure


@styled
def film_strip(frames: NDArray[np.uint8], times_s: Sequence[float], title: str) -> Figure:
    """A few images of one demonstration side by side.

    Args:
        frames: (K, H, W, 3).
        times_s: Time of each [s].
        title: Which images of which demonstration.
    """
    height, width = frames.shape[1:3]
    figure = Figure(figsize=(1.7 * len(frames), 0.7 + 1.6 * height / width))
    panels = figure.subplots(1, len(frames), squeeze=False)
    for axes, frame, time_s in zip(panels[0], frames, times_s, strict=True):
        axes.imshow(frame)
        axes.set_title(f"{time_s:.1f} s", fontsize=8)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure
