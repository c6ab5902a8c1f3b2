import json
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import VandError
from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.periodic import (
    PeriodicTolerances,
    ReferenceCycle,
    cycle_jitter,
    floquet_multiplier,
    in_tolerance,
    recovery_time,
    score_periodic,
    spectral_frequency,
)
from vand_robot.metrics.reference_cycle import onset, orbit_distance, phase, whole_cycles

DT = 0.1  # the control period of the project [s]
F = 0.43  # no divisor of the sampling rate [1/s]
A = 0.12  # [m]
CENTER = np.array([0.3, -0.2])


def succeeds(signal, dt, reference, **options):
    return score_periodic(signal, dt, reference, **options).success


def times(duration_s, dt=DT):
    return np.arange(round(duration_s / dt)) * dt


def circle(t, f=F, a=A, center=CENTER, start=0.7):
    """A circle; `f` and `a` may be arrays over time."""
    angle = start + 2 * np.pi * np.cumsum(np.broadcast_to(f, t.shape)) * (t[1] - t[0])
    return center + np.broadcast_to(a, t.shape)[:, None] * np.stack(
        [np.cos(angle), np.sin(angle)], axis=1
    )


def approach(signal, duration_s=6.0, origin=(-1.5, 0.9)):
    """Drive in a straight line from `origin` to where the signal begins, slowing down."""
    s = 1 - (1 - np.linspace(0, 1, round(duration_s / DT), endpoint=False)[:, None]) ** 2
    return np.concatenate([np.asarray(origin) * (1 - s) + signal[0] * s, signal])


def eight(t, f=0.1, a=1.0, b=0.6, start=0.0):
    angle = start + 2 * np.pi * f * t
    return np.stack([a * np.sin(angle), b * np.sin(2 * angle)], axis=1)


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(0)
    demonstrations = [
        approach(circle(times(rng.uniform(12, 20)), start=rng.uniform(0, 6)), rng.uniform(4, 6))
        for _ in range(6)
    ]
    return reference_from_demonstrations(demonstrations, DT)


@pytest.fixture(scope="module")
def eight_reference():
    return reference_from_demonstrations([eight(times(45), start=s) for s in (0.0, 1.0, 3.0)], DT)


def test_reference_of_a_circle_has_its_frequency_radius_center_direction_and_onset(reference):
    assert reference.frequency_hz == pytest.approx(F, rel=2e-3)
    assert reference.amplitude == pytest.approx(A, rel=1e-2)
    np.testing.assert_allclose(reference.center, CENTER, atol=2e-3)
    assert reference.turns == 1
    assert 3.0 < reference.onset_s < 6.1


def test_reference_of_a_clockwise_circle_turns_the_other_way_with_positive_frequency():
    clockwise = reference_from_demonstrations([circle(times(20), f=-F)], DT)
    assert clockwise.turns == -1
    assert clockwise.frequency_hz == pytest.approx(F, rel=2e-3)
    assert succeeds(circle(times(60), f=-F), DT, clockwise)
    assert not succeeds(circle(times(60)), DT, clockwise)


def test_reference_survives_json(reference):
    content = json.loads(json.dumps(reference.to_json()))
    copy = ReferenceCycle.from_json(JsonRecord.of("a.json", content))
    np.testing.assert_array_equal(copy.mean_cycle, reference.mean_cycle)
    assert copy.to_json() == reference.to_json()


def test_a_reference_file_that_lacks_a_key_is_named(reference):
    content = reference.to_json()
    del content["amplitude"]
    with pytest.raises(VandError, match="amplitude is missing"):
        ReferenceCycle.from_json(JsonRecord.of("a.json", content))


def test_demonstrations_without_a_cycle_are_refused():
    line = np.linspace([0.0, 0.0], [1.0, 1.0], 200)
    with pytest.raises(VandError, match="no cycle found in 3 demonstrations"):
        reference_from_demonstrations([line] * 3, DT)


def test_demonstrations_noise_does_not_shift_the_reference():
    rng = np.random.default_rng(3)
    noisy = [
        circle(times(20), start=s) + rng.normal(0, 0.08 * A, (200, 2)) for s in rng.uniform(0, 6, 8)
    ]
    measured = reference_from_demonstrations(noisy, DT)
    assert measured.frequency_hz == pytest.approx(F, rel=5e-3)
    assert measured.amplitude == pytest.approx(A, rel=2e-2)


@pytest.mark.parametrize("f", [0.2, 0.43, 1.37, -0.43])
def test_spectral_frequency_of_a_pure_tone_is_exact(reference, f):
    measured = spectral_frequency(circle(times(25), f=f), DT, reference)
    assert measured == pytest.approx(f, rel=1e-4)


def test_spectral_frequency_ignores_an_offset_larger_than_the_amplitude(reference):
    assert spectral_frequency(circle(times(25)) + 5 * A, DT, reference) == pytest.approx(
        F, rel=1e-4
    )


def test_spectral_frequency_survives_noise(reference):
    rng = np.random.default_rng(1)
    noisy = circle(times(40)) + rng.normal(0, 0.2 * A, (400, 2))
    assert spectral_frequency(noisy, DT, reference) == pytest.approx(F, rel=5e-3)


def test_spectral_frequency_of_rest_is_unknown(reference):
    assert math.isnan(spectral_frequency(np.tile(CENTER, (300, 1)), DT, reference))


def test_a_perfect_circle_scores_zero_errors(reference):
    score = score_periodic(circle(times(60)), DT, reference)
    assert score.success
    assert score.failures == ()
    assert score.onset_s == 0
    assert score.frequency_error < 5e-3
    assert score.amplitude_error < 1e-2
    assert score.orbit_error < 2e-2
    assert score.cycles == pytest.approx(59.9 * F, rel=1e-3)
    assert abs(score.phase_drift_rad) < 0.02
    assert score.jitter < 1e-2
    assert score.in_tolerance == 1
    assert score.persistence_s == pytest.approx(60)
    assert score.longest_loss_s == 0
    assert score.valid == 1


def test_the_approach_is_not_scored_but_its_end_is_reported(reference):
    score = score_periodic(approach(circle(times(60)), 5.0), DT, reference)
    assert score.success
    assert 3.5 < score.onset_s <= 5.0
    assert score.cycles == pytest.approx(60 * F, abs=0.6)


def test_passing_through_the_orbit_is_no_onset(reference):
    crossing = np.linspace(CENTER - np.array([1.0, A]), CENTER + np.array([1.0, -A]), 40)
    away = np.concatenate([crossing, approach(circle(times(20)), 3.0, origin=crossing[-1])])
    assert onset(away, DT, reference, np.ones(len(away), bool)) > 50


def test_a_motion_that_begins_after_the_deadline_fails_for_that_alone(reference):
    deadline = PeriodicTolerances().deadline_s(reference)
    late = np.concatenate(
        [np.tile([-1.0, 1.0], (round((deadline + 2) / DT), 1)), circle(times(60))]
    )
    assert score_periodic(late, DT, reference).failures == ("onset",)


def test_a_motion_that_never_comes_near_fails_and_is_still_measured(reference):
    score = score_periodic(circle(times(60), a=3 * A), DT, reference)
    assert "onset" in score.failures
    assert math.isnan(score.onset_s)
    assert score.frequency_hz == pytest.approx(F, rel=1e-2)
    assert score.amplitude_error == pytest.approx(2.0, rel=2e-2)


def test_a_robot_that_never_moves_fails_with_json_able_unknowns(reference):
    score = score_periodic(np.tile([-1.0, 1.0], (300, 1)), DT, reference)
    assert not score.success
    assert json.loads(json.dumps(score.as_dict(), allow_nan=False))["onset_s"] is None


@pytest.mark.parametrize(
    ("name", "signal", "broken"),
    [
        ("12 % too fast", circle(times(60), f=1.12 * F), "frequency"),
        ("12 % too slow", circle(times(60), f=0.88 * F), "frequency"),
        ("25 % too wide", circle(times(60), a=1.25 * A), "amplitude"),
        ("25 % too narrow", circle(times(60), a=0.75 * A), "amplitude"),
        (
            "off the center by 30 %",
            circle(times(60), center=CENTER + np.array([0.3 * A, 0])),
            "orbit",
        ),
        ("the wrong way round", circle(times(60), f=-F), "frequency"),
        ("at rest on the orbit", np.tile(CENTER + np.array([A, 0]), (600, 1)), "frequency"),
        ("at rest in the center", np.tile(CENTER, (600, 1)), "onset"),
    ],
)
def test_success_fails(reference, name, signal, broken):
    score = score_periodic(signal, DT, reference)
    assert not score.success, name
    assert broken in score.failures, name


@pytest.mark.parametrize(
    "signal",
    [
        circle(times(60), f=1.07 * F),
        circle(times(60), f=0.93 * F),
        circle(times(60), a=1.15 * A),
        circle(times(60), a=0.85 * A),
        circle(times(60), center=CENTER + np.array([0.15 * A, 0.1 * A])),
        circle(times(60)) + np.random.default_rng(0).normal(0, 0.05 * A, (600, 2)),
    ],
)
def test_success_allows_deviations_within_the_tolerances(reference, signal):
    assert score_periodic(signal, DT, reference).failures == ()


def test_an_offset_orbit_is_as_far_as_its_offset(reference):
    for offset in (0.02, 0.05):
        x = circle(times(40), center=CENTER + np.array([0, offset]))
        cycle = whole_cycles(x, phase(x, DT, reference))[0].mean(axis=0)
        assert orbit_distance(cycle, reference) == pytest.approx(offset, rel=0.03)


def test_orbit_distance_does_not_depend_on_where_the_cycle_starts(reference):
    t = np.arange(64) / (64 * F)
    starts = np.linspace(0, 2 * np.pi, 37)
    cycles = np.stack([circle(t, a=1.1 * A, start=s) for s in starts])
    distances = orbit_distance(cycles, reference)
    assert distances.max() < 1.15 * distances.min()
    assert distances == pytest.approx(0.1 * A, rel=0.15)


def test_a_policy_that_stops_after_the_training_horizon_fails(reference):
    score = score_periodic(circle(times(150), f=np.where(times(150) < 30, F, 0.0)), DT, reference)
    assert not score.success
    assert score.persistence_s == pytest.approx(30, abs=1.5)
    assert score.in_tolerance == pytest.approx((30 - 2 / F) / (150 - 2 / F), abs=0.02)


def test_a_policy_that_stops_near_the_end_fails_although_the_means_are_good(reference):
    stops = circle(times(150), f=np.where(times(150) < 140, F, 0.0))
    score = score_periodic(stops, DT, reference)
    assert score.frequency_error < 0.1
    assert score.failures == ("persistence",)
    assert score.longest_loss_s == pytest.approx(10, abs=1)


def test_a_policy_that_leaves_the_orbit_for_good_persists_until_then(reference):
    t = times(100)
    leaves = circle(t, a=A * np.where(t < 50, 1.0, 1.0 + 0.1 * (t - 50)))
    score = score_periodic(leaves, DT, reference)
    assert not score.success
    assert 50 < score.persistence_s < 55


def test_a_chirp_is_lost_where_its_cycles_become_too_short(reference):
    t = times(100)
    f = F * (1 + t / 200)  # 10 % too fast at 20 s
    score = score_periodic(circle(t, f=f), DT, reference)
    assert "persistence" in score.failures
    assert score.persistence_s == pytest.approx(20, abs=2)
    assert score.mean_frequency_hz == pytest.approx(F * 1.25, rel=0.03)


def test_a_missing_cycle_is_a_loss_of_its_length_and_forgiven_like_a_push(reference):
    t = times(150)
    pause = (t >= 60) & (t < 60 + 1 / F)
    score = score_periodic(circle(t, f=np.where(pause, 0.0, F)), DT, reference)
    assert score.longest_loss_s == pytest.approx(1 / F, abs=0.7)
    assert score.success
    assert not succeeds(
        circle(t, f=np.where(pause, 0.0, F)),
        DT,
        reference,
        tolerances=PeriodicTolerances(loss_cycles=0.5),
    )


def test_reversing_half_way_cancels_the_cycles(reference):
    t = times(100)
    score = score_periodic(circle(t, f=np.where(t < 50, F, -F)), DT, reference)
    assert not score.success
    assert score.cycles == pytest.approx(0, abs=0.1)


def test_jitter_of_alternating_cycles_is_their_relative_spread():
    durations = np.array([1.8, 2.2] * 10)  # mean 2, standard deviation 0.2
    edges = np.concatenate([[0], np.cumsum(durations)])
    phases = np.interp(np.arange(0, edges[-1] + 1e-9, 0.01), edges, np.arange(len(edges)))
    assert cycle_jitter(phases) == pytest.approx(0.1, rel=1e-2)


def test_phase_drift_is_the_angle_gained_per_cycle(reference):
    score = score_periodic(circle(times(60), f=1.05 * reference.frequency_hz), DT, reference)
    assert score.phase_drift_rad == pytest.approx(0.05 * 2 * np.pi, rel=0.02)


def test_lost_contact_fails_and_a_flicker_does_not(reference):
    x, rng = circle(times(60)), np.random.default_rng(2)
    assert succeeds(x, DT, reference, valid=rng.random(600) > 0.03)
    lost = score_periodic(x, DT, reference, valid=times(60) < 40)
    assert {"valid", "persistence"} <= set(lost.failures)
    assert lost.persistence_s == pytest.approx(40, abs=1)
    never = score_periodic(x, DT, reference, valid=np.zeros(600, bool))
    assert "onset" in never.failures


def test_samples_that_are_not_finite_are_invalid_and_do_not_spread(reference):
    x = circle(times(60))
    x[300] = np.nan
    score = score_periodic(x, DT, reference)
    assert score.success
    assert score.valid == pytest.approx(1 - 1 / (600 - 2 / F / DT), abs=1e-3)
    x[200:] = np.nan
    assert not succeeds(x, DT, reference)


def test_a_signal_of_another_shape_is_refused(reference):
    with pytest.raises(ValueError, match=r"\(T, 2\), not \(30, 3\)"):
        score_periodic(np.zeros((30, 3)), DT, reference)
    with pytest.raises(ValueError, match="valid"):
        score_periodic(np.zeros((30, 2)), DT, reference, valid=np.ones(29, bool))


def test_a_short_horizon_fails_instead_of_crashing(reference):
    for n in (1, 2, 3, 10, 50):
        score = score_periodic(circle(times(10))[:n], DT, reference)
        assert not score.success
        assert "horizon" in score.failures or n == 50


def test_rest_with_sensor_noise_winds_no_cycles(reference):
    rest = CENTER + np.random.default_rng(4).normal(0, 0.02 * A, (600, 2))
    assert score_periodic(rest, DT, reference).cycles == pytest.approx(0, abs=1)


@pytest.mark.parametrize("multiplier", [0.3, 0.6, 0.9])
def test_floquet_multiplier_of_a_decaying_deviation(reference, multiplier):
    t = times(40)
    a = A * (1 + 0.4 * multiplier ** (t * F))
    assert floquet_multiplier(circle(t, a=a), DT, reference) == pytest.approx(multiplier, rel=0.02)


@pytest.mark.parametrize("multiplier", [0.8, 1.1])
def test_floquet_multiplier_of_a_spiral(reference, multiplier):
    t = times(30)
    spiral = circle(t, a=A * multiplier ** (t * F))
    assert floquet_multiplier(spiral, DT, reference) == pytest.approx(multiplier, rel=0.02)


def test_floquet_multiplier_of_an_orbit_that_is_never_left_is_unknown(reference):
    assert math.isnan(floquet_multiplier(circle(times(60)), DT, reference))
    assert math.isnan(floquet_multiplier(circle(times(4)), DT, reference))


def test_floquet_multiplier_of_independent_radii_is_near_zero(reference):
    t = times(400)
    rng = np.random.default_rng(0)
    knots = np.arange(0, 400 * F + 2)
    a = A * (1 + 0.05 * np.interp(t * F, knots, rng.normal(size=len(knots))))
    # Radii interpolated between independent values a cycle apart: neighbors share half.
    assert abs(floquet_multiplier(circle(t, a=a), DT, reference)) < 0.35


def test_floquet_multiplier_of_the_van_der_pol_oscillator():
    """Its other multiplier is exp of the integral of the divergence mu (1 - x^2) over a cycle."""
    mu, dt = 0.15, 0.1

    def flow(_, s):
        return [s[1], mu * (1 - s[0] ** 2) * s[1] - s[0], mu * (1 - s[0] ** 2)]

    def run(x0, duration):
        t = np.arange(0, duration, dt)
        return solve_ivp(flow, (0, duration), [*x0, 0.0], t_eval=t, rtol=1e-9, atol=1e-9).y.T

    settled = run([2.0, 0.0], 240)
    cycle = reference_from_demonstrations([settled[1200:, :2]], dt)
    assert cycle.turns == -1
    periods = 12 / cycle.frequency_hz
    start, end = np.interp([140.0, 140.0 + periods], np.arange(len(settled)) * dt, settled[:, 2])
    known = math.exp((end - start) / 12)
    for scale in (0.95, 1.05):
        pushed = run(scale * settled[1500, :2], 60)[:, :2]
        assert floquet_multiplier(pushed, dt, cycle) == pytest.approx(known, rel=0.05)


def test_recovery_time_after_a_push(reference):
    t = times(60)
    pushed = circle(t, a=A * (1 + np.where(t >= 30, 1.5 * 0.4 ** ((t - 30) * F), 0.0)))
    back = recovery_time(pushed, DT, reference, push_s=30.0)
    # The radius is 20 % too wide until 1.5 * 0.4^n = 0.2, n = 2.2 cycles; windows average it.
    assert 1.2 / F < back < 2.4 / F
    assert recovery_time(circle(t), DT, reference, push_s=30.0) == 0
    stops = circle(t, f=np.where(t < 30, F, 0.0))
    assert recovery_time(stops, DT, reference, push_s=30.0) == math.inf
    with pytest.raises(ValueError, match="outside"):
        recovery_time(circle(t), DT, reference, push_s=100.0)


def test_every_sample_of_a_good_motion_is_in_tolerance(reference):
    assert in_tolerance(circle(times(30)), DT, reference).all()
    assert not in_tolerance(circle(times(1.5)), DT, reference).any()  # less than a cycle


def test_reference_of_a_figure_of_eight_does_not_wind_and_keeps_its_fundamental(eight_reference):
    assert eight_reference.turns == 0
    assert eight_reference.frequency_hz == pytest.approx(0.1, rel=5e-3)
    assert eight_reference.amplitude == pytest.approx(math.sqrt((1 + 0.6**2) / 2), rel=1e-2)


def test_figure_of_eight_succeeds_and_counts_whole_eights(eight_reference):
    score = score_periodic(eight(times(200), start=0.5), DT, eight_reference)
    assert score.failures == ()
    assert score.cycles == pytest.approx(20, abs=0.05)
    assert score.frequency_hz == pytest.approx(0.1, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("one loop only", np.abs(eight(times(200))) * [1, 1]),
        ("backwards", eight(-times(200))),
        ("too fast", eight(times(200), f=0.12)),
        ("mirrored: the other loop turns the other way", eight(times(200)) * [1, -1]),
        ("a circle", circle(times(200), f=0.1, a=1.0, center=np.zeros(2))),
        ("stops", eight(np.minimum(times(200), 60.0))),
    ],
)
def test_figure_of_eight_fails(eight_reference, name, signal):
    assert not succeeds(signal, DT, eight_reference), name


def test_figure_of_eight_deviation_decays_with_the_known_multiplier(eight_reference):
    t = times(150)
    scale = 1 + 0.3 * 0.5 ** (t * 0.1)
    measured = floquet_multiplier(eight(t) * scale[:, None], DT, eight_reference)
    assert measured == pytest.approx(0.5, rel=0.1)


def test_a_line_to_and_fro_has_no_direction_and_can_be_reproduced():
    def line(f, duration=60):
        return np.sin(2 * np.pi * f * times(duration))[:, None] * np.array([0.3, 0.1])

    to_and_fro = reference_from_demonstrations([line(0.4, 20)], DT)
    assert to_and_fro.turns == 0
    assert to_and_fro.frequency_hz == pytest.approx(0.4, rel=1e-2)
    assert score_periodic(line(0.42), DT, to_and_fro).failures == ()
    assert not succeeds(line(0.5), DT, to_and_fro)
    assert not succeeds(1.4 * line(0.4), DT, to_and_fro)


def test_disturbances_of_single_cycles_do_not_smear_the_reference():
    rng = np.random.default_rng(0)
    demonstrations = []
    for start in rng.uniform(0, 6, 12):
        t = times(20)
        burst = rng.uniform(4, 16)
        slow = np.where((t > burst) & (t < burst + 1.5), 0.2 * F, F)
        wide = A * (1 + 0.8 * np.exp(-((t - burst) ** 2)))
        demonstrations.append(circle(t, f=slow, a=wide, start=start))
    measured = reference_from_demonstrations(demonstrations, DT)
    assert measured.frequency_hz == pytest.approx(F, rel=2e-2)
    assert measured.amplitude == pytest.approx(A, rel=3e-2)
    assert score_periodic(circle(times(60)), DT, measured).orbit_error < 0.05
