"""Figures of training and evaluation.

Every function returns a `matplotlib.figure.Figure` that belongs to no window.
"""

from vand_robot.figures.methods import method_chart, method_matrix
from vand_robot.figures.phase import phase_portrait
from vand_robot.figures.rates import confusion_matrix, success_chart
from vand_robot.figures.stages import stage_completion
from vand_robot.figures.style import png_bytes, write_png
from vand_robot.figures.training import training_curve

__all__ = [
    "confusion_matrix",
    "method_chart",
    "method_matrix",
    "phase_portrait",
    "png_bytes",
    "stage_completion",
    "success_chart",
    "training_curve",
    "write_png",
]
