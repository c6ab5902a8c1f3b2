"""The tables that the command prints."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.results import evaluation_result, perturbation_result, task_result
from vand_robot.cli.console import comparison_table, results_table
from vand_robot.evaluation.results import MetricSpread
from vand_robot.metrics.comparison import Comparison, MethodResult, MethodScore


@pytest.mark.parametrize(("median", "text"), [(None, "-"), (-0.02, "0.0"), (23.04, "23.0")])
def test_a_small_negative_median_is_shown_as_zero(median, text):
    names = ("frequency_error", "amplitude_error", "cycles")
    metrics = {name: MetricSpread(median, None, 0) for name in names}
    wipe = task_result({"nominal": perturbation_result(0, 1, metrics=metrics)}, kind="periodic")
    _, rows = results_table(evaluation_result({"wipe": wipe}))
    assert rows[0][-1].endswith(f"cycles {text}")


def test_of_several_perturbations_the_table_shows_successes():
    wipe = task_result(
        {"nominal": perturbation_result(3, 4), "long": perturbation_result(1, 4)}, kind="periodic"
    )
    stow = task_result({"nominal": perturbation_result(2, 4)})
    columns, rows = results_table(evaluation_result({"stow-cube": stow, "wipe": wipe}))
    assert columns == ("task", ">nominal", ">long")
    assert rows == [["stow-cube", "2/4", ""], ["wipe", "3/4", "1/4"]]


def test_two_training_seeds_have_no_interval_in_the_table():
    few = MethodScore.of({"wipe": [2 / 3, 2 / 3]})
    many = MethodScore.of({"wipe": [0.0, 0.5, 1.0]})
    methods = {"few": MethodResult((0, 1), {"nominal": few})}
    methods["many"] = MethodResult((0, 1, 2), {"nominal": many})
    table = comparison_table(Comparison("2", ("nominal",), ("wipe",), methods, (), ()))
    assert table[1][0] == ["few", "2", "67 % (2 seeds: no interval)"]
    assert table[1][1] == ["many", "3", "50 % (0 to 100)"]


def test_json_stands_alone_on_standard_output_whatever_libraries_print(tmp_path):
    (tmp_path / "chatty.py").write_text("print('hello from a library')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "vand_robot", "--plugin", "chatty", "tasks", "--json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "wipe" in str(json.loads(done.stdout))
    assert "hello from a library" in done.stderr
