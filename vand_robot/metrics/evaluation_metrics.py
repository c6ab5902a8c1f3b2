"""The metrics of an evaluation: their labels, units, meaning and weight.

This is the only list of their names, which are those in `results.json` and `episodes.csv`. Those of
a training run are in `vand_robot.metrics.training_metrics`.
"""

from dataclasses import dataclass
from typing import Literal

Weight = Literal["headline", "detail"]
"""Headline metrics tell how good an episode was; details explain why."""


@dataclass(frozen=True)
class MetricInfo:
    """Description of a metric."""

    label: str
    """Name in a report."""
    unit: str
    """Its unit; empty for a ratio or a count."""
    meaning: str
    """Definition, as a phrase without a full stop."""
    weight: Weight = "detail"
    """Prominence in a report."""


METRICS: dict[str, MetricInfo] = {
    "success_once": MetricInfo(
        "succeeded at some time", "", "all stages in order, at some time within the horizon"
    ),
    "success_at_end": MetricInfo(
        "succeeded at the end",
        "",
        "all stages in order, and the goal, with the right count, holds at the end",
    ),
    "stages_done": MetricInfo("stages in order", "", "stages completed in order"),
    "stage_fraction": MetricInfo(
        "share of the stages", "", "stages completed in order / all stages"
    ),
    "out_of_order": MetricInfo(
        "stages out of order", "", "times a stage came true before its turn", weight="headline"
    ),
    "count": MetricInfo("count", "", "how often what is counted came: cycles, or an event"),
    "count_right": MetricInfo("count right", "", "the count is the one asked for, at the end"),
    "returned": MetricInfo("returned", "", "the base is on its dock at the end"),
    "still": MetricInfo("still", "", "the base stands still at the end"),
    "time_s": MetricInfo("time to success", "s", "when the task was first done", weight="headline"),
    "relative_time": MetricInfo(
        "relative time",
        "",
        "time to success / the demonstrations' median time, as without disturbance",
    ),
    "path_distance": MetricInfo(
        "path distance",
        "m",
        "mean distance of the hand's path from the nearest demonstration, matched by dynamic time"
        " warping",
        weight="headline",
    ),
    "jerk": MetricInfo("jerk of the hand", "m/s³", "root mean square of its third derivative"),
    "onset_s": MetricInfo(
        "onset", "s", "when the motion came to the demonstrations' cycle to stay"
    ),
    "scored_s": MetricInfo("time scored", "s", "from two cycles after the onset to the end"),
    "frequency_hz": MetricInfo("frequency", "Hz", "peak of the spectrum"),
    "mean_frequency_hz": MetricInfo(
        "mean frequency", "Hz", "slope of the phase, which also counts pauses"
    ),
    "frequency_error": MetricInfo(
        "frequency error",
        "",
        "|f / f* - 1| of the worse of the two; success needs 0.10",
        weight="headline",
    ),
    "amplitude": MetricInfo("amplitude", "m", "root mean square radius"),
    "amplitude_error": MetricInfo(
        "amplitude error", "", "|a / a* - 1|; success needs 0.20", weight="headline"
    ),
    "cycles": MetricInfo("cycles", "", "net winding since the onset", weight="headline"),
    "phase_drift_rad": MetricInfo(
        "phase drift", "rad", "phase gained on the demonstrations per cycle"
    ),
    "jitter": MetricInfo("jitter", "", "standard deviation of the cycles' durations / their mean"),
    "orbit_distance": MetricInfo(
        "orbit distance", "m", "distance of the mean cycle from the demonstrations' mean cycle"
    ),
    "orbit_error": MetricInfo(
        "orbit error",
        "",
        "orbit distance / the amplitude; success needs 0.25",
        weight="headline",
    ),
    "persistence_s": MetricInfo(
        "persistence", "s", "from the first moment in tolerance to the loss"
    ),
    "in_tolerance": MetricInfo(
        "in tolerance",
        "",
        "share of the scored time that lies in a cycle within all tolerances; success needs 0.90",
        weight="headline",
    ),
    "longest_loss_s": MetricInfo(
        "longest loss", "s", "longest time out of tolerance; success allows two cycles"
    ),
    "valid": MetricInfo(
        "in contact",
        "",
        "share of the scored time that counts; success needs 0.90",
        weight="headline",
    ),
    "floquet_multiplier": MetricInfo(
        "Floquet multiplier",
        "",
        "share of a deviation that is left after a cycle; below 1 the motion comes back by itself",
    ),
    "recovery_s": MetricInfo("recovery", "s", "from a push until within tolerance again, median"),
    "recovered": MetricInfo(
        "pushes recovered from", "", "share of the pushes after the onset", weight="headline"
    ),
    "return": MetricInfo(
        "return", "", "sum of the environment's rewards over the episode", weight="headline"
    ),
    "length_steps": MetricInfo("length", "steps", "control steps until the episode ended"),
}
"""Name in `results.json` and `episodes.csv` -> metric."""

STAGES_DONE, STAGE_FRACTION, IN_TOLERANCE = "stages_done", "stage_fraction", "in_tolerance"
"""Metrics that tell how far an episode came: of sequential tasks the first two."""
COUNTED = ("count_right", "returned", "still")
"""Metrics that hold or do not, of tasks that count."""
SHARES = (*COUNTED, "success_once", "success_at_end")
"""Metrics that hold or do not: they are reported as rates of episodes."""

FAILURES: dict[str, str] = {
    "onset": "did not begin in time",
    "horizon": "began too late to be judged",
    "frequency": "wrong frequency",
    "amplitude": "wrong amplitude",
    "orbit": "wrong shape of the path",
    "persistence": "did not keep it up",
    "valid": "too little contact",
}
"""Criterion of a periodic task -> what an episode did wrong that missed it."""


def metric(name: str) -> MetricInfo:
    """The metric of that name; of an unknown one, the name in words."""
    return METRICS.get(name, MetricInfo(name.replace("_", " "), "", ""))
