"""Names from outside in every figure, and numbers of logarithmic axes, as they are written."""

import json
import math

import numpy as np
import pytest

from vand_robot import figures
from vand_robot.experiments.comparison.figures import comparison_figure
from vand_robot.experiments.language.figures import perplexity_curves
from vand_robot.experiments.language.training import Epoch
from vand_robot.experiments.sequences.figures import (
    SCORES,
    generation_figure,
    variation_figure,
)
from vand_robot.figures.demonstrations import (
    Trajectory,
    action_histograms,
    durations,
    film_strip,
    observed_signals,
    trajectories,
)
from vand_robot.figures.sweep import Curve, axis_chart
from vand_robot.metrics.comparison import Comparison, MethodResult, MethodScore
from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.statistics import SuccessRate

NAME = "$^$"
"""No mathematics, though it looks like it, and matplotlib fails on it."""


def paths():
    return [Trajectory(np.zeros((5, 2)), np.ones((5, 3)), 0.1, success=True)]


def score():
    return MethodScore(0.6, (0.4, 0.7), 0.6, {NAME: 0.5})


def compared():
    methods = {NAME: MethodResult((0, 1), {NAME: score()})}
    return Comparison("2", (NAME,), (NAME,), methods, (), ())


def portrait():
    angle = np.arange(200) * 0.3
    circle = 0.1 * np.stack([np.cos(angle), np.sin(angle)], 1)
    reference = reference_from_demonstrations([circle], 0.1)
    return figures.phase_portrait([circle], reference, 0.1, names=(NAME, NAME))


def curve(folder):
    file = folder / "metrics.jsonl"
    records = ({"update": u, "train/nll": 1.0, f"rollouts/success/{NAME}": 0.5} for u in (1, 2))
    file.write_text("\n".join(map(json.dumps, records)))
    return figures.training_curve(file)


def summary():
    spread = {"iqm": 0.5, "low": 0.4, "high": 0.6}
    about = {"cell": NAME, "signals": NAME, "n": 3, "method": NAME, "option": NAME, "value": NAME}
    return {**about, **dict.fromkeys(SCORES, spread)}


def generation():
    first = {"path": np.zeros((200, 2)).tolist(), "tempo": 1.0, "size": 1.0}
    return generation_figure([{"first": first, "trial": {"signal": "sum-of-sines"}}], [NAME])


DRAWN = {
    "trajectories": lambda _: trajectories(paths(), NAME),
    "durations": lambda _: durations({NAME: [1.0, 2.0]}),
    "actions": lambda _: action_histograms({NAME: np.arange(40)}),
    "signals": lambda _: observed_signals({NAME: [np.zeros((5, 2))]}, 0.1, NAME),
    "film strip": lambda _: film_strip(np.zeros((2, 8, 8, 3), np.uint8), [0, 1], NAME),
    "methods": lambda _: figures.method_chart(compared()),
    "matrix": lambda _: figures.method_matrix(compared()),
    "portrait": lambda _: portrait(),
    "success": lambda _: figures.success_chart(
        [NAME], {NAME: {NAME: SuccessRate.of_counts(8, 10)}}
    ),
    "confusion": lambda _: figures.confusion_matrix({NAME: {NAME: 3, "none": 1}}, 4),
    "stages": lambda _: figures.stage_completion([[1.0]], [NAME], 10.0),
    "sweep": lambda _: axis_chart(NAME, [Curve(NAME, NAME, {NAME: score()})]),
    "training": curve,
    "perplexity": lambda _: perplexity_curves({NAME: [Epoch(1, 5.0, 5.0, 1.0, 1.0)]}),
    "sequences": lambda _: comparison_figure([summary()], SCORES),
    "variations": lambda _: variation_figure([summary()]),
    "generation": lambda _: generation(),
}


def texts(figure):
    """Every text that is drawn, ticks and legends among them."""
    return [
        text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))
    ]


@pytest.mark.parametrize("which", DRAWN)
def test_a_name_that_looks_like_mathematics_is_drawn_as_it_is(which, tmp_path):
    figure = DRAWN[which](tmp_path)
    figures.png_bytes(figure)
    drawn = texts(figure)
    assert any(NAME in text for text in drawn)
    assert not any("mathdefault" in text for text in drawn)


def test_the_numbers_of_a_logarithmic_axis_are_plain():
    epochs = [Epoch(i, math.log(90 / i), math.log(900 / i), 1.0, 1.0) for i in range(1, 9)]
    figure = perplexity_curves({"run": epochs})
    figures.png_bytes(figure)
    assert "100" in texts(figure)
    figures.png_bytes(perplexity_curves({"diverged": [Epoch(1, 1e4, 1e4, 1.0, 1.0)]}))
