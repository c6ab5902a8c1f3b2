"""What the numbers of an evaluation are called, their units, and what they mean."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number of an episode."""

    label: str
    """What it is called in a report."""
    unit: str
    """Its unit; empty for a ratio or a count."""
    meaning: str
    """How it comes about, in a sentence without its end."""


GLOSSARY: dict[str, Metric] = {
    "success_once": Metric(
        "succeeded at some time", "", "all stages in order, at some time within the horizon"
    ),
    "success_at_end": Metric(
        "succeeded at the end", "", "... and the goal, with the right count, holds at the end"
    ),
    "stages_done": Metric("stages in order", "", "stages completed in order"),
    "stage_fraction": Metric("share of the stages", "", "the same / all stages"),
    "out_of_order": Metric("stages out of order", "", "times a stage came true before its turn"),
    "count": Metric("count", "", "how often what is counted came: cycles, or an event"),
    "count_right": Metric("count right", "", "the count is the one asked for, at the end"),
    "returned": Metric("returned", "", "the base is on its dock at the end"),
    "still": Metric("still", "", "the base stands still at the end"),
    "time_s": Metric("time to success", "s", "when the task was first done"),
    "relative_time": Metric(
        "relative time", "", "time to success / the demonstrations' median time"
    ),
    "path_distance": Metric(
        "path distance",
        "m",
        "mean distance of the hand's path from the nearest demonstration, matched by dynamic time"
        " warping",
    ),
    "jerk": Metric("jerk of the hand", "m/s³", "root mean square of its third derivative"),
    "onset_s": Metric("onset", "s", "when the motion came to the demonstrations' cycle to stay"),
    "scored_s": Metric("time scored", "s", "from two cycles after the onset to the end"),
    "frequency_hz": Metric("frequency", "Hz", "peak of the spectrum"),
    "mean_frequency_hz": Metric(
        "mean frequency", "Hz", "slope of the phase, which also counts pauses"
    ),
    "frequency_error": Metric(
        "frequency error", "", "|f / f* - 1| of the worse of the two; success needs 0.10"
    ),
    "amplitude": Metric("amplitude", "m", "root mean square radius"),
    "amplitude_error": Metric("amplitude error", "", "|a / a* - 1|; success needs 0.20"),
    "cycles": Metric("cycles", "", "net winding since the onset"),
    "phase_drift_rad": Metric("phase drift", "rad", "phase gained on the demonstrations per cycle"),
    "jitter": Metric("jitter", "", "standard deviation of the cycles' durations / their mean"),
    "orbit_distance": Metric(
        "orbit distance", "m", "distance of the mean cycle from the demonstrations' mean cycle"
    ),
    "orbit_error": Metric(
        "orbit error", "", "the same as a share of the amplitude; success needs 0.25"
    ),
    "persistence_s": Metric("persistence", "s", "from the first moment in tolerance to the loss"),
    "in_tolerance": Metric(
        "in tolerance",
        "",
        "share of the scored time that lies in a cycle within all tolerances; success needs 0.90",
    ),
    "longest_loss_s": Metric(
        "longest loss", "s", "longest time out of tolerance; success allows two cycles"
    ),
    "valid": Metric("in contact", "", "share of the scored time that counts; success needs 0.90"),
    "floquet_multiplier": Metric(
        "Floquet multiplier",
        "",
        "share of a deviation that is left after a cycle; below 1 the motion comes back by itself",
    ),
    "recovery_s": Metric("recovery", "s", "from a push until within tolerance again, median"),
    "recovered": Metric("pushes recovered from", "", "share of the pushes after the onset"),
}
"""Name in `results.json` and `episodes.csv` -> metric."""


def metric(name: str) -> Metric:
    """The metric of that name; of an unknown one, the name in words."""
    return GLOSSARY.get(name, Metric(name.replace("_", " "), "", ""))
