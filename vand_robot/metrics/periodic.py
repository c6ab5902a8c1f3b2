"""Metrics of periodic tasks: pure functions of the phase-plane signal of a motion.

A *window* is one cycle of the motion itself: from a sample to where its phase has grown by one. A
window is within tolerance when its duration, its radius, its shape and its valid share all are; a
sample is *in tolerance* when some such window holds it. Everything that asks "how long" rests on
that, so that a motion that stops, slows down, shrinks or turns round is out of tolerance from where
it does so.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from vand_envs.typing import BoolArray, FloatArray, IntArray
from vand_robot.metrics.reference_cycle import (
    ReferenceCycle,
    as_complex,
    check_signal,
    first_passage,
    onset,
    orbit_distance,
    parabola_peak,
    phase,
    resample,
    slope,
    whole_cycles,
)

__all__ = [
    "PeriodicScore",
    "PeriodicTolerances",
    "ReferenceCycle",
    "cycle_jitter",
    "floquet_multiplier",
    "in_tolerance",
    "recovery_time",
    "score_periodic",
    "spectral_frequency",
]

_ZERO_PADDING = 16  # Spectra are sampled this much finer than the signal's length gives.
_HARMONICS = 4  # Harmonics of the mean cycle that its frequency is read from.
_SECTIONS = 16  # Poincare sections, at equal phases; each gives the same multiplier.
_SECTION_UPSAMPLING = 8  # Crossings are read off a spline, this much finer than the samples.
_LEAST_EXCURSION = 1e-3  # Share of the amplitude: spreads below are interpolation error.


@dataclass(frozen=True)
class PeriodicTolerances:
    """Tolerances within which a motion reproduces the demonstrations."""

    frequency: float = 0.10
    """Relative error of the frequency."""
    amplitude: float = 0.20
    """Relative error of the root mean square radius."""
    orbit: float = 0.25
    """Distance between the mean cycles, as a share of the reference's amplitude."""
    valid: float = 0.90
    """Least share of valid samples (contact with the board...)."""
    in_tolerance: float = 0.90
    """Least share of the scored time that must be in tolerance."""
    grace_cycles: float = 2.0
    """Time to settle after the onset, which is not scored [reference cycle]."""
    loss_cycles: float = 2.0
    """Longest time out of tolerance, as after a push: the grace once more [reference cycle]."""
    onset_factor: float = 2.0
    """The motion must begin before this multiple of the latest demonstration's onset, and grace."""

    def deadline_s(self, reference: ReferenceCycle) -> float:
        """The latest time at which a motion may begin [s]."""
        return self.onset_factor * reference.onset_s + self.grace_cycles / reference.frequency_hz


@dataclass(frozen=True)
class PeriodicScore:
    """Metrics of one motion of a periodic task; nan where a number cannot be told."""

    success: bool
    """All tolerances were kept over the whole horizon after the grace."""
    failures: tuple[str, ...]
    """Criteria that were missed, of `metrics.evaluation_metrics.FAILURES`."""
    onset_s: float
    """When the motion came to the orbit to stay [s]; nan: never."""
    scored_s: float
    """Time from the end of the grace to the end of the signal [s]."""
    frequency_hz: float
    """Peak of the spectrum, negative against the reference's direction [1/s]."""
    mean_frequency_hz: float
    """Slope of the phase, which also counts pauses [1/s]."""
    frequency_error: float
    """|f / f* - 1| of the worse of the two frequencies."""
    amplitude: float
    """Root mean square radius [m]."""
    amplitude_error: float
    """|a / a* - 1|."""
    cycles: float
    """Net winding since the onset; negative against the reference's direction [cycle]."""
    phase_drift_rad: float
    """Phase gained on the reference per cycle [rad]."""
    jitter: float
    """Standard deviation of the cycles' durations / their mean."""
    orbit_distance: float
    """Root mean square distance between the mean cycles after phase alignment [m]."""
    orbit_error: float
    """`orbit_distance` / the reference's amplitude."""
    persistence_s: float
    """Time from the first moment in tolerance to the first loss [s]."""
    in_tolerance: float
    """Share of the scored time that is in tolerance."""
    longest_loss_s: float
    """Longest time out of tolerance within the scored time [s]."""
    valid: float
    """Share of the scored samples that are valid."""
    floquet_multiplier: float
    """Largest Floquet multiplier; below 1 the motion comes back to its orbit by itself."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None where a number cannot be told."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in (asdict(self) | {"failures": list(self.failures)}).items()
        }


def score_periodic(
    signal: npt.ArrayLike,
    dt: float,
    reference: ReferenceCycle,
    *,
    valid: npt.ArrayLike | None = None,
    tolerances: PeriodicTolerances = PeriodicTolerances(),
) -> PeriodicScore:
    """Measure a motion from its onset on, and judge it after the grace.

    A motion that never begins fails; it is still measured, from the deadline on, to say how.

    Args:
        signal: Phase-plane signal, shape (T, 2) [m].
        dt: Time between samples [s].
        reference: The cycle of the demonstrations.
        valid: Which samples count (contact with the board...), shape (T,); None: all.
        tolerances: Tolerances of success.

    Returns:
        The score.

    Raises:
        ValueError: The arrays have other shapes.
    """
    x, counts = check_signal(signal, valid)
    found = onset(x, dt, reference, counts)
    deadline = round(tolerances.deadline_s(reference) / dt)
    begin = found if found is not None else min(deadline, len(x) - 1)
    x, counts = x[begin:], counts[begin:]
    good = in_tolerance(x, dt, reference, valid=counts, tolerances=tolerances)
    grace = min(round(tolerances.grace_cycles / (reference.frequency_hz * dt)), len(x) - 1)
    moving = _measure(x, phase(x, dt, reference), good, grace, dt, reference)
    scored = replace(
        moving,
        onset_s=float("nan") if found is None else found * dt,
        valid=float(counts[grace:].mean()),
    )
    kept = {
        "onset": found is not None and found <= deadline,
        "horizon": scored.scored_s * reference.frequency_hz >= 1,
        "frequency": scored.frequency_error <= tolerances.frequency,
        "amplitude": scored.amplitude_error <= tolerances.amplitude,
        "orbit": scored.orbit_error <= tolerances.orbit,
        "persistence": scored.in_tolerance >= tolerances.in_tolerance
        and scored.longest_loss_s * reference.frequency_hz <= tolerances.loss_cycles,
        "valid": scored.valid >= tolerances.valid,
    }
    failures = tuple(name for name, met in kept.items() if not met)
    return replace(scored, success=not failures, failures=failures)


def _measure(
    x: FloatArray,
    phases: FloatArray,
    good: BoolArray,
    grace: int,
    dt: float,
    reference: ReferenceCycle,
) -> PeriodicScore:
    """Measure a motion that begins at its onset, after the grace; nothing is judged yet.

    Args:
        x: Phase-plane signal from the onset on, shape (T, 2) [m].
        phases: Its phase, shape (T,) [cycles].
        good: Which samples are in tolerance, shape (T,).
        grace: Number of samples that are not measured.
        dt: Time between samples [s].
        reference: The cycle of the demonstrations.
    """
    settled, settled_phases, settled_good = x[grace:], phases[grace:], good[grace:]
    frequency = spectral_frequency(settled, dt, reference)
    mean_frequency = slope(settled_phases, dt)
    amplitude = _rms_radius(settled, reference)
    cycles, _ = whole_cycles(settled, settled_phases)
    distance = (
        float(orbit_distance(cycles.mean(axis=0), reference)) if len(cycles) else float("nan")
    )
    return PeriodicScore(
        success=False,
        failures=(),
        onset_s=float("nan"),
        scored_s=(len(settled) - 1) * dt,
        frequency_hz=frequency,
        mean_frequency_hz=mean_frequency,
        frequency_error=max(  # A nan in either must not be swallowed by max().
            (abs(f / reference.frequency_hz - 1) for f in (frequency, mean_frequency)),
            key=lambda error: math.inf if math.isnan(error) else error,
        ),
        amplitude=amplitude,
        amplitude_error=abs(amplitude / reference.amplitude - 1),
        cycles=float(phases[-1] - phases[0]),
        phase_drift_rad=2 * math.pi * (mean_frequency / reference.frequency_hz - 1),
        jitter=cycle_jitter(settled_phases),
        orbit_distance=distance,
        orbit_error=distance / reference.amplitude,
        persistence_s=_first_run(good) * dt,
        in_tolerance=float(settled_good.mean()),
        longest_loss_s=_longest_run(~settled_good) * dt,
        valid=float("nan"),
        floquet_multiplier=floquet_multiplier(x, dt, reference),
    )


def spectral_frequency(signal: FloatArray, dt: float, reference: ReferenceCycle) -> float:
    """Frequency of a motion from its spectrum, in the reference's direction.

    The spectrum of the complex signal (Hann window, zero-padded) tells the two directions apart,
    where the reference has one: a figure of eight has the same spectrum forwards and backwards. It
    is summed over the harmonics of the mean cycle with their strengths as weights, so that a figure
    of eight, whose second harmonic may be the stronger, is not taken for twice its frequency; for a
    circle, with its single harmonic, this is the plain peak. A parabola through the logarithms
    refines the peak.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: Gives the harmonics.

    Returns:
        The frequency, negative against the reference's direction (never so where it has none)
        [1/s]; nan for a signal too short or at rest.
    """
    n = len(signal)
    if n < 4:
        return float("nan")
    window = np.hanning(n + 2)[1:-1]
    z = as_complex(signal)
    z = (z - window @ z / window.sum()) * window  # (T,) no offset: the spectrum is 0 at 0
    size = 1 << (_ZERO_PADDING * n - 1).bit_length()
    spectrum = np.abs(np.fft.fft(z, size))  # (size,)
    bins = np.arange(math.ceil(size / n), size // 2)  # from one cycle per signal to Nyquist
    if reference.turns:
        bins = np.concatenate([-bins[::-1], bins])

    cycle = np.fft.fft(as_complex(reference.mean_cycle - reference.center))
    harmonics = [m for m in range(-_HARMONICS, _HARMONICS + 1) if m]
    strengths = np.abs([cycle[m] for m in harmonics])
    power = np.zeros(len(bins))
    for m, strength in zip(harmonics, strengths / strengths.max(), strict=True):
        below_nyquist = np.abs(m * bins) < size // 2
        power += strength * np.where(below_nyquist, spectrum[(m * bins) % size], 0.0)
    peak = int(power.argmax())
    if power[peak] <= 1e-9 * n * reference.amplitude or not 0 < peak < len(bins) - 1:
        return float("nan")
    left, middle, right = np.log(np.maximum(power[peak - 1 : peak + 2], 1e-300))
    return float((bins[peak] + parabola_peak(left, middle, right)) / (size * dt))


def in_tolerance(
    signal: npt.ArrayLike,
    dt: float,
    reference: ReferenceCycle,
    *,
    valid: npt.ArrayLike | None = None,
    tolerances: PeriodicTolerances = PeriodicTolerances(),
) -> BoolArray:
    """Which samples lie in a window of one cycle that keeps all tolerances.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: The cycle of the demonstrations.
        valid: Which samples count, shape (T,); None: all.
        tolerances: Of frequency, amplitude, orbit and validity.

    Returns:
        Shape (T,).
    """
    x, counts = check_signal(signal, valid)
    phases = phase(x, dt, reference)
    starts = np.arange(len(x), dtype=np.float64)
    ends = first_passage(phases, phases + 1)  # (T,)
    whole = np.isfinite(ends) & (ends > starts)
    if not whole.any():
        return whole
    starts, ends = starts[whole], ends[whole]  # (W,)
    pieces = resample(x, starts, ends)  # (W, K, 2)
    radius = np.sqrt(((pieces - reference.center) ** 2).sum(axis=-1).mean(axis=-1))  # (W,)
    first, last = starts.astype(np.int64), np.ceil(ends).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(counts)])
    keeps = (
        (np.abs(1 / ((ends - starts) * dt * reference.frequency_hz) - 1) <= tolerances.frequency)
        & (np.abs(radius / reference.amplitude - 1) <= tolerances.amplitude)
        & (orbit_distance(pieces, reference) <= tolerances.orbit * reference.amplitude)
        & ((total[last + 1] - total[first]) / (last + 1 - first) >= tolerances.valid)
    )  # (W,)
    edges = np.zeros(len(x) + 1, dtype=np.int64)
    np.add.at(edges, first[keeps], 1)
    np.add.at(edges, last[keeps] + 1, -1)
    inside: BoolArray = np.cumsum(edges)[:-1] > 0
    return inside


def cycle_jitter(phases: FloatArray) -> float:
    """Standard deviation of the durations of successive cycles / their mean.

    Args:
        phases: Unwrapped phase, shape (T,) [cycle].

    Returns:
        The ratio; nan for fewer than two cycles.
    """
    passages = first_passage(phases, np.arange(phases[0], phases.max() + 1e-9, 1.0))
    durations = np.diff(passages[np.isfinite(passages)])  # the last: a rounding error away
    return float(durations.std() / durations.mean()) if len(durations) > 1 else float("nan")


def floquet_multiplier(signal: FloatArray, dt: float, reference: ReferenceCycle) -> float:
    """Share of a deviation from the orbit that is left after one cycle, as a signed factor.

    Deviations are read where the motion crosses Poincare sections at equal phases. The multiplier
    is the slope of the least-squares line from one crossing of a section to the next, with an
    intercept per section, so that the orbit need not be known. A section of a plane has one
    coordinate: where the motion has more, the direction of the slowest return dominates.

    The multiplier is a property of small deviations; after large ones this is their mean
    contraction. Noise on a steady orbit draws the slope towards 0: a small push tells most.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: Gives the phase.

    Returns:
        The multiplier; nan for fewer than four cycles, or for a motion that never leaves its orbit
        by more than interpolation error.
    """
    if len(signal) < 4:
        return float("nan")
    fine = np.linspace(0, len(signal) - 1, (len(signal) - 1) * _SECTION_UPSAMPLING + 1)
    smooth = CubicSpline(np.arange(len(signal)), signal)(fine)
    if reference.turns:
        phases = phase(smooth, dt / _SECTION_UPSAMPLING, reference)
    else:  # tracking is costly
        phases = np.interp(fine, np.arange(len(signal)), phase(signal, dt, reference))
    sections = np.arange(math.ceil(phases[0] * _SECTIONS), math.floor(phases.max() * _SECTIONS) + 1)
    rows = len(sections) // _SECTIONS
    if rows < 4:
        return float("nan")
    sections = sections[: rows * _SECTIONS]
    times = first_passage(phases, sections / _SECTIONS)
    crossings = np.stack(
        [np.interp(times, np.arange(len(smooth)), smooth[:, axis]) for axis in (0, 1)], axis=-1
    )
    off = _deviation(crossings, sections, reference).reshape(rows, _SECTIONS)  # (rows, sections)
    if off.std(axis=0).max() < _LEAST_EXCURSION * reference.amplitude:
        return float("nan")
    now, later = off[:-1] - off[:-1].mean(axis=0), off[1:] - off[1:].mean(axis=0)
    return float((now * later).sum() / (now * now).sum())


def recovery_time(
    signal: npt.ArrayLike,
    dt: float,
    reference: ReferenceCycle,
    push_s: float,
    *,
    valid: npt.ArrayLike | None = None,
    tolerances: PeriodicTolerances = PeriodicTolerances(),
) -> float:
    """Time from a push until the motion is within tolerance again.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: The cycle of the demonstrations.
        push_s: When the push came [s].
        valid: Which samples count, shape (T,); None: all.
        tolerances: Tolerances of recovery.

    Returns:
        The time [s]: 0 where the push did not disturb the motion within the grace after it,
        infinite where it never recovered.
    """
    good = in_tolerance(signal, dt, reference, valid=valid, tolerances=tolerances)
    push = math.ceil(push_s / dt - 1e-9)
    if not 0 <= push < len(good):
        raise ValueError(f"a push at {push_s} s lies outside a signal of {(len(good) - 1) * dt} s")
    lost = np.flatnonzero(~good[push:])  # samples after the push
    if not len(lost) or lost[0] * dt * reference.frequency_hz > tolerances.grace_cycles:
        return 0.0
    back = np.flatnonzero(good[push + lost[0] :])
    return float(lost[0] + back[0]) * dt if len(back) else math.inf


def _deviation(crossings: FloatArray, sections: IntArray, reference: ReferenceCycle) -> FloatArray:
    """Coordinates along Poincare sections, shape of `sections`: radii, or normal distances."""
    if reference.turns:
        return np.abs(as_complex(crossings - reference.center))
    cycle = as_complex(reference.mean_cycle)
    index = (sections % _SECTIONS) * (len(cycle) // _SECTIONS)
    tangent = np.roll(cycle, -1) - np.roll(cycle, 1)
    normal = 1j * tangent / np.abs(tangent)
    return ((as_complex(crossings) - cycle[index]) * np.conj(normal[index])).real


def _rms_radius(signal: FloatArray, reference: ReferenceCycle) -> float:
    return float(np.sqrt(((signal - reference.center) ** 2).sum(axis=-1).mean()))


def _longest_run(flags: BoolArray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _first_run(flags: BoolArray) -> int:
    if not flags.any():
        return 0
    begun = flags[int(flags.argmax()) :]
    return len(begun) if begun.all() else int(begun.argmin())
