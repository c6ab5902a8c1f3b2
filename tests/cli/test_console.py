"""The tables that the command prints."""

import pytest

from vand_robot.cli.console import results_table


@pytest.mark.parametrize(("median", "text"), [(None, "-"), (-0.02, "0.0"), (23.04, "23.0")])
def test_a_median_is_rounded_without_a_minus_before_nothing(median, text):
    names = ("frequency_error", "amplitude_error", "cycles")
    entry = {
        "successes": 0,
        "episodes": 1,
        "success_rate": 0.0,
        "wilson_95": (0.0, 0.79),
        "metrics": {name: {"median": median} for name in names},
    }
    wipe = {"kind": "periodic", "perturbations": {"nominal": entry}}
    _, rows = results_table({"perturbations": {"nominal": {}}, "tasks": {"wipe": wipe}})
    assert rows[0][-1].endswith(f"cycles {text}")
