import io
import json

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from vand_envs.errors import VandError
from vand_robot.figures import (
    confusion_matrix,
    method_chart,
    method_matrix,
    phase_portrait,
    png_bytes,
    stage_completion,
    success_chart,
    training_curve,
    write_png,
)
from vand_robot.metrics.comparison import Comparison, MethodResult, MethodScore
from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.statistics import SuccessRate

DT = 0.1
TASKS = ("stow-cube", "wipe")


def circle(duration_s, radius=0.1, f=0.5):
    angle = 2 * np.pi * f * np.arange(round(duration_s / DT)) * DT
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


@pytest.fixture(scope="module")
def reference():
    return reference_from_demonstrations([circle(20)], DT)


@pytest.fixture(scope="module")
def rates():
    many, few = SuccessRate.of_counts(8, 10), SuccessRate.of_counts(3, 10)
    return TASKS, {"nominal": dict.fromkeys(TASKS, many), "long": {"wipe": few}}


def texts(figure):
    return {text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)} | {
        axes.get_title(loc="left") for axes in figure.axes
    }


def pixels(figure):
    return np.asarray(Image.open(io.BytesIO(png_bytes(figure))).convert("RGB"))


def test_success_chart_names_every_task_and_perturbation_with_its_numbers(rates):
    figure = success_chart(*rates)
    assert {"nominal", "long", "8/10", "3/10"} <= texts(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["stow-cube", "wipe"]
    assert [len(axes.texts) for axes in figure.axes] == [2, 1]  # the one task that has no such


def test_confusion_matrix_shows_shares_and_frames_success():
    matrix = {"a": {"a": 3, "b": 0, "none": 1}, "b": {"a": 2, "b": 2, "none": 0}}
    figure = confusion_matrix(matrix, 4)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75", "·", "25", "50", "50", "·"]
    assert len(axes.patches) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "none"]


def test_methods_are_drawn_with_their_intervals():
    score = MethodScore(0.6, (0.4, 0.7), 0.6, {"wipe": 0.5, "stir": 0.7})
    chart = method_chart(compared(score))
    assert list(chart.axes[1].lines[0].get_xdata()) == [0.4, 0.7]
    matrix = method_matrix(compared(score))
    assert [text.get_text() for text in matrix.axes[0].texts] == ["50", "70"] * 2
    assert [text.get_text() for text in matrix.axes[1].texts] == ["60"] * 2
    names = [label.get_text() for label in matrix.axes[0].get_yticklabels()]
    assert names == ["vand", "input noise"]
    assert "2 training seeds each" in matrix.axes[0].get_xlabel()


def compared(score, seeds=(0, 1)):
    method = MethodResult(seeds, {"nominal": score, "push": score})
    methods = {"vand": method, "input_noise": method}
    return Comparison("2", ("nominal", "push"), tuple(score.tasks), methods, (), ())


def test_a_method_without_interval_is_drawn_as_a_mark_alone():
    score = MethodScore(0.6, None, 0.6, {"wipe": 0.6})
    assert [len(axes.lines) for axes in method_chart(compared(score, (0,))).axes] == [2, 2]
    matrix = method_matrix(compared(score, (0,)))
    assert matrix.axes[0].get_xlabel() == "1 training seed each"


def test_the_title_of_a_narrow_matrix_is_not_clipped():
    figure = method_matrix(compared(MethodScore(0.6, None, 0.6, {"wipe": 0.6})))
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_stage_completion_ends_at_the_share_completed_in_order():
    times = [[1.0, 2.0], [3.0, np.nan], [2.0, 1.0], [np.nan, 4.0]]  # the last two: out of order
    figure = stage_completion(times, ["reach", "grasp"], 10.0)
    assert {"1  reach  75%", "2  grasp  25%"} <= texts(figure)
    reach, grasp = (line.get_ydata() for line in figure.axes[0].lines)
    assert list(reach) == [0, 0.25, 0.5, 0.75, 0.75]
    assert list(grasp) == [0, 0.25, 0.25]


def test_stage_completion_of_no_success_is_drawn():
    figure = stage_completion(np.full((5, 3), np.nan), ["a", "b", "c"], 10.0)
    assert pixels(figure).std() > 5
    heights = sorted(text.xyann[1] for text in figure.axes[0].texts)
    assert min(np.diff(heights)) > 0.07  # the labels do not lie on one another


def test_stage_completion_refuses_names_that_do_not_fit():
    with pytest.raises(ValueError, match="2 stage names"):
        stage_completion(np.zeros((5, 3)), ["a", "b"], 10.0)


def test_phase_portrait_tells_success_from_failure(reference):
    figure = phase_portrait([circle(30), circle(30), circle(30, f=-0.5)], reference, DT)
    assert {"2 of 3 succeeded", "1 of 3 failed"} <= texts(figure)


def test_phase_portrait_judges_by_validity(reference):
    figure = phase_portrait([circle(30)], reference, DT, valid=[np.zeros(300, bool)])
    assert "1 of 1 failed" in texts(figure)


def test_phase_portrait_of_rollouts_that_never_come_near_is_drawn(reference):
    figure = phase_portrait([circle(30) + 5], reference, DT, names=("board x", "board y"))
    assert pixels(figure).std() > 5
    assert figure.axes[0].get_xlabel() == "board x [m]"


def test_training_curve_shows_what_was_recorded(tmp_path):
    path = tmp_path / "metrics.jsonl"
    records = [
        {"update": u, "train/nll": 3 - u / 100, "train/memory_nats": 9.0} for u in range(1, 100)
    ]
    records[49] |= {"valid/nll": 2.7, "rollouts/success/wipe": 0.5}
    path.write_text("\n".join(map(json.dumps, records)))
    figure = training_curve(path)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "loss [nats per step]",
        "memory [nats per step]",
        "success on validation seeds",
    ]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [99, 1]


def test_training_curve_names_the_file_that_it_cannot_use(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with pytest.raises(VandError, match=r"cannot read .*metrics\.jsonl"):
        training_curve(path)
    path.write_text('{"update": 1}\n')
    with pytest.raises(VandError, match=r"metrics\.jsonl holds none"):
        training_curve(path)
    path.write_text('{"update": 1, "train/n')
    with pytest.raises(VandError, match=r"metrics\.jsonl holds none"):
        training_curve(path)


def test_training_curve_names_a_line_that_does_not_fit(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = [json.dumps({"update": u, "train/nll": 3.0 - u}).encode() for u in (1, 2)]
    damaged = [b'{"update": 9, "train/n', b"\xff\x00", b"[1]", b'{"train/nll": 1.0}', b"[" * 10**6]
    damaged += [b'{"update": "x"}', b'{"update": NaN}', b'{"update": null, "train/nll": 2.0}']
    for line in damaged:
        path.write_bytes(b"\n".join([good[0], line, good[1], line]))
        with pytest.raises(VandError, match=r"^[^\n]*metrics\.jsonl, line 2: [^\n]*$"):
            training_curve(path)
        path.write_bytes(b"\n".join([*good, line]))  # as a crash leaves it
        (drawn,) = training_curve(path).axes[0].lines
        assert list(drawn.get_xdata()) == [1, 2]


def test_training_curve_with_a_loss_without_bounds_is_drawn(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1, "train/nll": 3}\n{"update": 2, "train/nll": Infinity}\n')
    assert pixels(training_curve(path)).std() > 5


def test_png_is_the_same_twice_and_whatever_the_process_has_set(rates, tmp_path):
    path = tmp_path / "a.png"
    write_png(success_chart(*rates), path)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 20}):
        assert png_bytes(success_chart(*rates)) == path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
