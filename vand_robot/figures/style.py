"""The style of all figures, legible without telling colors apart, and writing them as PNG."""

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from matplotlib import style
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from vand_demos.system.files import write_bytes

INK, FAINT, GRID = "#1c2733", "#66727f", "#e3e7eb"
BLUE, VERMILION, GREEN, ORANGE, PURPLE = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7"
"""Okabe and Ito's palette, safe for color-blind eyes."""

DPI = 160
"""Resolution of a PNG [pixel per inch]."""

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same everywhere
    "font.size": 9.5,
    "text.parse_math": False,  # names come from outside, and `$` in them is a dollar sign
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


def styled(draw: Callable[_Arguments, Figure]) -> Callable[_Arguments, Figure]:
    """Draw in this module's style, whatever the process has set."""

    @wraps(draw)
    def wrapper(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> Figure:
        with style.context(_STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return wrapper


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis plainly: no text here is set as mathematics."""
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))


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
