"""References: the yardstick is straight, with and without knowledge of what was disturbed."""

from dataclasses import replace

import numpy as np
import pytest

from vand_demos.experts import Disturbance
from vand_demos.experts.demonstrate import demonstrate
from vand_envs import VANDER, get_task
from vand_robot.evaluation.reference import (
    TaskReference,
    from_extras,
    reference_from_episodes,
    to_extras,
)
from vand_robot.metrics.periodic import PeriodicTolerances, score_periodic

DEMONSTRATIONS = (("wipe", 8), ("stir", 4), ("patrol", 6))
"""A rhythm and its disturbed demonstrations; as many undisturbed ones in the same styles are
measured."""
MORE = (("stir", 8), ("patrol", 16))
"""For `make slow`."""
FROM_THE_FIRST_CYCLE = PeriodicTolerances(grace_cycles=0.25)
"""An undisturbed demonstration needs no time to settle, and of patrol it is but two cycles long."""


@pytest.fixture(
    scope="module",
    params=[*DEMONSTRATIONS, *(pytest.param(more, marks=pytest.mark.slow) for more in MORE)],
    ids=lambda param: "-".join(map(str, param)),
)
def demonstrated(request):
    """A rhythm: its disturbed demonstrations, and the same without disturbance."""
    task, count = request.param
    seeds = range(count)
    disturbed = demonstrate(task, seeds, disturbance=Disturbance(), parallel=len(seeds))
    return list(disturbed), list(demonstrate(task, seeds, parallel=len(seeds)))


def measured(episodes, reference):
    """Mean errors of frequency and amplitude, with sign, and the median error of the orbit."""
    cycle = get_task(episodes[0].task).cycle
    scores = [
        score_periodic(
            cycle.phase_plane(episode.observations, VANDER),
            episode.control_dt_s,
            reference,
            valid=cycle.valid(episode.observations, VANDER),
            tolerances=FROM_THE_FIRST_CYCLE,
        )
        for episode in episodes
    ]
    return (
        np.mean([score.mean_frequency_hz for score in scores]) / reference.frequency_hz - 1,
        np.mean([score.amplitude for score in scores]) / reference.amplitude - 1,
        np.median([score.orbit_error for score in scores]),
    )


def test_the_undisturbed_expert_measures_below_one_percent(demonstrated):
    """Its styles differ by 4 %, so it is their mean that must be met."""
    disturbed, undisturbed = demonstrated
    frequency, amplitude, orbit = measured(
        undisturbed, reference_from_episodes(disturbed[0].task, disturbed).cycle
    )
    assert abs(frequency) < 0.01
    assert abs(amplitude) < 0.015  # of patrol over parts of a cycle
    assert orbit < 0.05


def test_the_estimate_is_robust_where_it_is_not_known_what_was_disturbed(demonstrated):
    """As of demonstrations by hand, or recorded before it was stored."""
    disturbed, undisturbed = demonstrated
    unknown = [replace(episode, disturbed=None) for episode in disturbed]
    frequency, amplitude, orbit = measured(
        undisturbed, reference_from_episodes(disturbed[0].task, unknown).cycle
    )
    assert abs(frequency) < 0.025
    assert abs(amplitude) < 0.025
    assert orbit < 0.06


def test_a_counted_cycle_is_judged_by_its_count_and_needs_no_cycle_in_a_checkpoint():
    """wipe-4 has a cycle, four times, and comes to an end: what is kept of it is durations."""
    assert get_task("wipe-4").cycle is not None
    kept = {"wipe-4": TaskReference(2, 200, (15.0, 16.5), None)}
    assert to_extras(from_extras(to_extras(kept))) == to_extras(kept)
