"""What the numbers of an evaluation are called, their units, and what they mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricInfo:
    """A number of an episode."""

    label: str
    """What it is called in a report."""
    unit: str
    """Its unit; empty for a ratio or a count."""
    meaning: str
    """How it comes about, in a sentence without its end."""


METRICS: dict[str, MetricInfo] = {
    "success_once": MetricInfo(
        "succeeded at some time", "", "all stages in order, at some time within the horizon"
    ),
    "success_at_end": MetricInfo(
        "succeeded at the end", "", "... and the goal, with the right count, holds at the end"
    ),
    "stages_done": MetricInfo("stages in order", "", "stages completed in order"),
    "stage_fraction": MetricInfo("share of the stages", "", "the same / all stages"),
    "out_of_order": MetricInfo(
        "stages out of order", "", "times a stage came true before its turn"
    ),
    "count": MetricInfo("count", "", "how often what is counted came: cycles, or an event"),
    "count_right": MetricInfo("count right", "", "the count is the one asked for, at the end"),
    "returned": MetricInfo("returned", "", "the base is on its dock at the end"),
    "still": MetricInfo("still", "", "the base stands still at the end"),
    "time_s": MetricInfo("time to success", "s", "when the task was first done"),
    "relative_time": MetricInfo(
        "relative time", "", "time to success / the demonstrations' median time"
    ),
    "path_distance": MetricInfo(
        "path distance",
        "m",
        "mean distance of the hand's path from the nearest demonstration, matched by dynamic time"
        " warping",
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
        "frequency error", "", "|f / f* - 1| of the worse of the two; success needs 0.10"
    ),
    "amplitude": MetricInfo("amplitude", "m", "root mean square radius"),
    "amplitude_error": MetricInfo("amplitude error", "", "|a / a* - 1|; success needs 0.20"),
    "cycles": MetricInfo("cycles", "", "net winding since the onset"),
    "phase_drift_rad": MetricInfo(
        "phase drift", "rad", "phase gained on the demonstrations per cycle"
    ),
    "jitter": MetricInfo("jitter", "", "standard deviation of the cycles' durations / their mean"),
    "orbit_distance": MetricInfo(
        "orbit distance", "m", "distance of the mean cycle from the demonstrations' mean cycle"
    ),
    "orbit_error": MetricInfo(
        "orbit error", "", "the same as a share of the amplitude; success needs 0.25"
    ),
    "persistence_s": MetricInfo(
        "persistence", "s", "from the first moment in tolerance to the loss"
    ),
    "in_tolerance": MetricInfo(
        "in tolerance",
        "",
        "share of the scored time that lies in a cycle within all tolerances; success needs 0.90",
    ),
    "longest_loss_s": MetricInfo(
        "longest loss", "s", "longest time out of tolerance; success allows two cycles"
    ),
    "valid": MetricInfo(
        "in contact", "", "share of the scored time that counts; success needs 0.90"
    ),
    "floquet_multiplier": MetricInfo(
        "Floquet multiplier",
        "",
        "share of a deviation that is left after a cycle; below 1 the motion comes back by itself",
    ),
    "recovery_s": MetricInfo("recovery", "s", "from a push until within tolerance again, median"),
    "recovered": MetricInfo("pushes recovered from", "", "share of the pushes after the onset"),
}
"""Name in `results.json` and `episodes.csv` -> metric."""


def metric(name: str) -> MetricInfo:
    """The metric of that name; of an unknown one, the name in words."""
    return METRICS.get(name, MetricInfo(name.replace("_", " "), "", ""))
