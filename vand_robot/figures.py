"""Figures of training and evaluation, in one style, legible without telling colours apart.

Every function returns a `matplotlib.figure.Figure` that belongs to no window.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from vand_demos.files import write_bytes
from vand_envs.errors import VandError
from vand_robot.metrics.periodic import score_periodic
from vand_robot.metrics.reference import Reference
from vand_robot.metrics.sequential import in_order

INK, FAINT, GRID = "#1c2733", "#66727f", "#e3e7eb"
BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7"
"""Okabe and Ito's palette, safe for colour-blind eyes."""

DPI = 160
"""Of a PNG [pixel per inch]."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#aab4be",
    "axes.labelcolor": FAINT,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}

_Arguments = ParamSpec("_Arguments")


def _styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Draw in this module's style, whatever the process has set."""

    @wraps(draw)
    def styled(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with style.context(_STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return styled


def png_bytes(figure: Figure) -> bytes:
    """A figure as the content of a PNG file; the same figure gives the same bytes."""
    with style.context(_STYLE, after_reset=True):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def write_png(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG file that appears whole or not at all.

    Raises:
        VandError: The disk is full or fails.
    """
    write_bytes(Path(path), png_bytes(figure))


@_styled
def success_chart(results: Mapping[str, Any]) -> Figure:
    """Success rate of each task with its Wilson 95 % interval.

    Args:
        results: The content of `results.json`.

    Returns:
        A bar for each task, with its successes / episodes.
    """
    tasks = results["tasks"]
    figure = Figure(figsize=(6.4, 0.75 + 0.46 * len(tasks)))
    axes = figure.add_subplot()
    for row, task in enumerate(tasks.values()):
        rate, (low, high) = task["success_rate"], task["wilson_95"]
        axes.barh(row, 1, height=0.58, color="#f2f4f6")
        axes.barh(row, rate, height=0.58, color=BLUE, alpha=0.85)
        axes.plot([low, high], [row, row], color=INK, linewidth=1.4, solid_capstyle="butt")
        for end in (low, high):
            axes.plot([end, end], [row - 0.1, row + 0.1], color=INK, linewidth=1.4)
        axes.annotate(
            f"{rate:.0%}",
            (1, row),
            (10, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold",
        )
        axes.annotate(
            f"{task['successes']}/{task['episodes']}",
            (1, row),
            (48, 0),
            textcoords="offset points",
            va="center",
            color=FAINT,
        )
    axes.set_yticks(range(len(tasks)), list(tasks), color=INK)
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("episodes that succeeded, with 95 % interval")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return figure


@_styled
def stage_completion(
    stage_times_s: npt.ArrayLike, names: Sequence[str], horizon_s: float
) -> Figure:
    """Share of episodes that have completed at least k stages in order, against time.

    Args:
        stage_times_s: When each stage was first completed, shape (n, S) [s]; nan: never.
        names: Of the S stages.
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
    # Viridis without its pale end: ordered in lightness, so that it also reads in grey.
    colours = mpl.colormaps["viridis"](np.linspace(0.05, 0.75, len(names)))
    kept = np.where(in_order(times), times, np.nan)  # (n, S)
    shares = []
    for k, colour in enumerate(colours):
        done = np.sort(kept[np.isfinite(kept[:, k]), k])
        risen = np.arange(len(done) + 1) / max(len(times), 1)
        x, y = np.concatenate([[0], done, [horizon_s]]), np.append(risen, risen[-1])
        axes.step(x, y, where="post", color=colour)
        axes.fill_between(x, y, step="post", color=colour, alpha=0.05, linewidth=0)
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
            color=colours[k],
            arrowprops={
                "arrowstyle": "-",
                "color": colours[k],
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


@_styled
def phase_portrait(
    signals: Sequence[npt.ArrayLike],
    reference: Reference,
    dt: float,
    *,
    valid: Sequence[npt.ArrayLike] | None = None,
    names: tuple[str, str] = ("first signal", "second signal"),
) -> Figure:
    """Rollouts in the phase plane over the demonstrations' mean cycle.

    The approach before the onset is drawn fainter. The plane is cut at 2.2 times the amplitude.

    Args:
        signals: Phase-plane signals of the rollouts, each of shape (T, 2) [m].
        reference: What the demonstrations show.
        dt: Time between samples [s].
        valid: For each signal which samples count, shape (T,); None: all.
        names: Of the two signals.

    Returns:
        Two panels: rollouts that succeeded, and rollouts that failed; one where all are alike.
    """
    arrays = [np.asarray(signal, dtype=np.float64) for signal in signals]
    scores = [
        score_periodic(x, dt, reference, valid=None if valid is None else valid[i])
        for i, x in enumerate(arrays)
    ]
    groups = [
        (word, colour, [i for i, score in enumerate(scores) if score.success is success])
        for word, colour, success in (("succeeded", BLUE, True), ("failed", VERMILION, False))
    ]
    groups = [group for group in groups if group[2]] or groups[:1]
    figure = Figure(figsize=(3.9 * len(groups), 4.2))
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for axes, (word, colour, members) in zip(panels, groups, strict=True):
        axes.set_title(f"{len(members)} of {len(arrays)} {word}", color=colour)
        for i in members:
            onset_s = scores[i].onset_s
            begin = len(arrays[i]) if np.isnan(onset_s) else round(onset_s / dt)
            alpha = float(np.clip(2.5 / len(members), 0.08, 0.8))
            axes.plot(*arrays[i][: begin + 1].T, color=colour, alpha=0.15, linewidth=0.8)
            axes.plot(*arrays[i][begin:].T, color=colour, alpha=alpha, linewidth=0.8)
        _draw_cycle(axes, reference)
        span = 2.2 * reference.amplitude
        axes.set_xlim(reference.centre[0] - span, reference.centre[0] + span)
        axes.set_ylim(reference.centre[1] - span, reference.centre[1] + span)
        axes.set_aspect("equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{names[0]} [m]")
    panels[0].set_ylabel(f"{names[1]} [m]")
    return figure


def _draw_cycle(axes: Axes, reference: Reference) -> None:
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
        tuple(reference.centre),
        ha="center",
        va="center",
        color=INK,
        fontsize=8.5,
        bbox={"boxstyle": "round", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
    )


_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("loss [nats per step]", (("train/nll", "training", BLUE), ("valid/nll", "held out", ORANGE))),
    ("memory [nats per step]", (("train/memory_nats", "", PURPLE),)),
    ("noise scale sigma", (("train/sigma", "", GREEN),)),
    ("drop ratio d", (("train/drop", "", VERMILION),)),
)
_SUCCESS = "rollouts/success/"


@_styled
def training_curve(metrics: str | Path) -> Figure:
    """What a training run wrote down: loss, memory, noise, forgetting, validation success.

    Args:
        metrics: The run's `metrics.jsonl`.

    Returns:
        A panel for each quantity that was recorded.

    Raises:
        VandError: The file cannot be read, or holds no figure.
    """
    records = _read_records(Path(metrics))
    names = dict.fromkeys(name for record in records for name in record)
    panels = [
        (title, lines)
        for title, wanted in _PANELS
        if (lines := tuple(line for line in wanted if line[0] in names))
    ]
    tasks = [name for name in names if name.startswith(_SUCCESS)]
    colours = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, INK)
    if tasks:
        lines = tuple(
            (name, name.removeprefix(_SUCCESS), colours[i % len(colours)])
            for i, name in enumerate(tasks)
        )
        panels.append(("success on validation seeds", lines))
    if not panels:
        raise VandError(f"{metrics} holds none of the figures that a training run writes")
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.5 * rows))
    for place, (title, lines) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(title)
        for name, label, colour in lines:
            points = [(record["update"], record[name]) for record in records if name in record]
            x, y = np.array(points, dtype=np.float64).T
            sparse = len(x) <= 30
            axes.plot(
                x,
                y,
                color=colour,
                label=label,
                linewidth=1.2,
                marker="o" if sparse else "",
                markersize=3,
            )
        axes.set_xlim(0, 1.02 * records[-1]["update"])
        if lines[0][1]:
            axes.legend(frameon=False, fontsize=8, handlelength=1.2)
        if lines[0][0].startswith(_SUCCESS):
            axes.set_ylim(-0.02, 1.05)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        elif not lines[0][0].endswith("nll"):
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if place > len(panels) - columns:
            axes.set_xlabel("update")
    return figure


def _read_records(path: Path) -> list[dict[str, float]]:
    try:
        lines = path.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise VandError(f"cannot read {path}: {error}") from error


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
