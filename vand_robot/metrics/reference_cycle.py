"""The cycle that demonstrations of a periodic task show, and the phase of a motion along it.

A periodic task is judged in its phase plane, two signals in meters. The demonstrations say what to
expect there: a closed curve (the mean cycle), how often per second it is walked, and in which
direction. Two kinds of curve are told apart by their winding about the center:

- a loop (winding +1 or -1: wiping, stirring): the phase is the angle about the center;
- a curve that does not wind (0: a figure of eight, a line to and fro): the phase is that of the
  nearest point of the mean cycle in position *and velocity*, which tells two branches apart where
  they cross. Where they touch and run along together nothing does, but where the motion came from:
  so the phase is tracked, by the cheapest path that seldom jumps.

A phase is counted in cycles and grows in the direction of the demonstrations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import VandError
from vand_envs.typing import BoolArray, FloatArray
from vand_robot.metrics.phase_tracking import cheapest_path

PHASES = 64
"""Points of a resampled cycle."""
ONSET_DISTANCE = 0.5
"""The neighborhood of an orbit: points nearer to it than this share of its amplitude."""
ONSET_CYCLES = 0.5
"""A motion has begun when it stays in the neighborhood for this part of a cycle [cycle]."""
ONSET_SHARE = 0.9
"""Least share of the samples of that part that must be near: contact may flicker at first."""
SETTLING_CYCLES = 0.5
"""The beginning of a demonstration's cycles that says nothing about their frequency [cycle]."""
LEAST_MATCH = 0.5
"""Least autocorrelation at its period of a signal that is taken to repeat itself."""
TRACKING_PACE = 4.0
"""A tracked phase moves along the cycle by at most this multiple of the reference's pace."""
JUMP_CYCLES = 0.05
"""A tracked phase jumps where the path without the jump is an amplitude off for longer [cycle]."""
LOOP_AREA = 0.2
"""Below this share of a circle's area a curve has no direction: an eight, a line to and fro."""
REST_RADIUS = 0.1
"""Nearer to the center than this share of the amplitude, an angle is noise: the phase is held."""
FREQUENCIES_HZ = (1e-4, 1e4)
"""Bounds of the frequency of a cycle that is read from a file [1/s]."""
LARGEST_M = 1e3
"""Bound of the amplitude of a cycle that is read from a file [m]."""
LONGEST_S = 1e6
"""Bound of the times in a reference that is read from a file [s]."""


@dataclass(frozen=True, eq=False)
class ReferenceCycle:
    """The common cycle of the demonstrations of a periodic task in its phase plane."""

    frequency_hz: float
    """Cycles per second, positive [1/s]."""
    amplitude: float
    """Root mean square distance from the center [m]."""
    center: FloatArray
    """Mean of the mean cycle, shape (2,) [m]."""
    mean_cycle: FloatArray
    """One cycle at equal steps of time, shape (PHASES, 2) [m]: the median at each phase, which
    disturbances of single demonstrations do not smear."""
    turns: int
    """Winding of the cycle about the center: 1 counter-clockwise, -1 clockwise, 0 neither."""
    onset_s: float
    """The latest time at which a demonstration began its first cycle [s]."""

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain numbers and lists, for `json.dump`."""
        return {
            "frequency_hz": self.frequency_hz,
            "amplitude": self.amplitude,
            "center": self.center.tolist(),
            "mean_cycle": self.mean_cycle.tolist(),
            "turns": self.turns,
            "onset_s": self.onset_s,
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The reference that `to_json` described.

        Raises:
            VandError: Something is missing, of another type, or out of range.
        """
        mean_cycle = record.rows("mean_cycle", 2)
        if len(mean_cycle) != PHASES:
            raise VandError(
                f"{record.source}: {record.path}.mean_cycle: expected {PHASES} points,"
                f" got {len(mean_cycle)}"
            )
        return cls(
            frequency_hz=record.number("frequency_hz", *FREQUENCIES_HZ),
            amplitude=record.number("amplitude", 1e-9, LARGEST_M),
            center=np.array(record.pair("center")),
            mean_cycle=np.array(mean_cycle),
            turns=record.integer("turns", -1, 1),
            onset_s=record.number("onset_s", 0.0, LONGEST_S),
        )


def reference_from_demonstrations(
    signals: Sequence[npt.ArrayLike],
    dt: float,
    valid: Sequence[npt.ArrayLike] | None = None,
) -> ReferenceCycle:
    """Measure the common cycle of demonstrations, each of which may begin with an approach.

    A first guess comes from the second halves, where the approach is over, or else, of cycles that
    are long, from whole demonstrations: the one that repeats itself best, by its autocorrelation,
    folded at its period. The guess then tells where each demonstration's cycles begin and end, and
    their median replaces it; twice.

    Args:
        signals: Phase-plane signals, each of shape (T, 2) [m].
        dt: Time between samples [s].
        valid: For each signal, which samples may count (contact with the board...), shape (T,).

    Returns:
        The reference.

    Raises:
        VandError: The demonstrations show no common cycle.
    """
    checked = [
        check_signal(signal, None if valid is None else valid[i])
        for i, signal in enumerate(signals)
    ]
    reference = _first_guess([signal[int(counts.argmax()) :] for signal, counts in checked], dt)
    for _ in range(2):
        reference = _refine(reference, checked, dt)
    return reference


def check_signal(
    signal: npt.ArrayLike, valid: npt.ArrayLike | None
) -> tuple[FloatArray, BoolArray]:
    """A signal without gaps: samples that are not finite repeat the last good one and are invalid.

    Args:
        signal: Shape (T, 2) [m].
        valid: Shape (T,), or None: all are.

    Returns:
        The signal, shape (T, 2), and which of its samples count, shape (T,).

    Raises:
        ValueError: The shapes are others, or no sample is finite.
    """
    x = np.asarray(signal, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"a phase-plane signal has shape (T, 2), not {x.shape}")
    counts = np.ones(len(x), dtype=np.bool_) if valid is None else np.asarray(valid, dtype=np.bool_)
    if counts.shape != x.shape[:1]:
        raise ValueError(f"valid has shape {counts.shape} for a signal of {len(x)} samples")
    finite = np.isfinite(x).all(axis=1)
    if not finite.any():
        raise ValueError("a phase-plane signal has no finite sample")
    latest = np.maximum.accumulate(np.where(finite, np.arange(len(x)), -1))
    return x[np.where(latest < 0, int(finite.argmax()), latest)], counts & finite


def phase(signal: FloatArray, dt: float, reference: ReferenceCycle) -> FloatArray:
    """The unwrapped phase of a motion along the reference's cycle.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: The cycle.

    Returns:
        Shape (T,) [cycle]; held while the motion rests at the center.
    """
    centered = as_complex(signal - reference.center)  # (T,)
    if reference.turns:
        wrapped = np.angle(centered) / (2 * np.pi) * np.sign(reference.turns)
        moving = np.abs(centered) >= REST_RADIUS * reference.amplitude
    else:
        wrapped, moving = _tracked_phase(centered, dt, reference)
    if not moving.any():
        return np.zeros(len(signal))
    samples = np.arange(len(signal))
    latest = np.maximum.accumulate(np.where(moving, samples, int(moving.argmax())))
    unwrapped: FloatArray = np.unwrap(wrapped[latest], period=1.0)
    return unwrapped


def _tracked_phase(
    z: npt.NDArray[np.complex128], dt: float, ref: ReferenceCycle
) -> tuple[FloatArray, BoolArray]:
    """Phase of points near in position and velocity, the latter per radian, so in meters.

    The path of least total squared distance, in which a sample's phase is reached from one that is
    `TRACKING_PACE` steps away at most, or by a jump.
    """
    cycle = as_complex(ref.mean_cycle - ref.center)  # (K,)
    slope = (np.roll(cycle, -1) - np.roll(cycle, 1)) * (len(cycle) / (4 * np.pi))  # (K,)
    velocity = np.gradient(z, dt) / (2 * np.pi * ref.frequency_hz)  # (T,)
    distance = np.abs(z[:, None] - cycle) ** 2 + np.abs(velocity[:, None] - slope) ** 2  # (T, K)
    path = cheapest_path(
        distance / ref.amplitude**2,
        math.ceil(TRACKING_PACE * ref.frequency_hz * dt * len(cycle)),
        JUMP_CYCLES / (ref.frequency_hz * dt),
    )  # (T,)
    rows = np.arange(len(z))
    before, here, after = (distance[rows, (path + s) % len(cycle)] for s in (-1, 0, 1))
    wrapped = (path + parabola_peak(before, here, after)) / len(cycle)
    return wrapped, np.hypot(np.abs(z), np.abs(velocity)) >= REST_RADIUS * ref.amplitude


def onset(signal: FloatArray, dt: float, reference: ReferenceCycle, valid: BoolArray) -> int | None:
    """The sample at which a motion enters the neighborhood of the orbit and stays for a while.

    Passing through on the way to somewhere else is no beginning, nor is being near while invalid.

    Args:
        signal: Shape (T, 2) [m].
        dt: Time between samples [s].
        reference: The cycle; see `ONSET_DISTANCE`, `ONSET_CYCLES`, `ONSET_SHARE`.
        valid: Which samples may count, shape (T,).

    Returns:
        The index of the sample, or None: the motion never begins.
    """
    gap = np.abs(as_complex(signal)[:, None] - as_complex(reference.mean_cycle))  # (T, K)
    near = (gap.min(axis=1) <= ONSET_DISTANCE * reference.amplitude) & valid  # (T,)
    span = max(1, round(ONSET_CYCLES / (reference.frequency_hz * dt)))
    if len(near) < span:
        return None
    total = np.concatenate([[0], np.cumsum(near)])
    stays = near[: len(near) - span + 1] & (total[span:] - total[:-span] >= ONSET_SHARE * span)
    return int(stays.argmax()) if stays.any() else None


def first_passage(phases: FloatArray, levels: npt.ArrayLike) -> FloatArray:
    """When a phase first reaches given levels, between samples by linear interpolation.

    Args:
        phases: Unwrapped phase, shape (T,) [cycle].
        levels: Any shape [cycle].

    Returns:
        Fractional sample indices of the shape of `levels`; infinite where it never does.
    """
    wanted = np.asarray(levels, dtype=np.float64)
    reached = np.searchsorted(np.maximum.accumulate(phases), wanted)
    after = np.minimum(reached, len(phases) - 1)
    before = np.maximum(after - 1, 0)
    rise = phases[after] - phases[before]
    part = np.where(rise > 0, (phases[after] - wanted) / np.where(rise > 0, rise, 1.0), 0.0)
    return np.where(reached < len(phases), after - np.clip(part, 0.0, 1.0), np.inf)


def resample(signal: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
    """Cut a signal into pieces of `PHASES` equal steps of time, each from its start to its end.

    Args:
        signal: Shape (T, 2).
        start: Fractional sample indices, shape (W,).
        end: Fractional sample indices, shape (W,).

    Returns:
        Shape (W, PHASES, 2).
    """
    at = start[:, None] + (end - start)[:, None] * (np.arange(PHASES) / PHASES)  # (W, K)
    low = np.clip(at.astype(np.int64), 0, max(len(signal) - 2, 0))
    high = np.minimum(low + 1, len(signal) - 1)
    part = (at - low)[..., None]  # (W, K, 1)
    pieces: FloatArray = signal[low] * (1 - part) + signal[high] * part
    return pieces


def whole_cycles(signal: FloatArray, phases: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The cycles that a motion completes one after the other, from its first sample on.

    Args:
        signal: Shape (T, 2).
        phases: Its phase, shape (T,) [cycle].

    Returns:
        The cycles, each turned round to begin where the phase is whole, shape (C, PHASES, 2), and
        their durations, shape (C,) [sample]; C may be 0.
    """
    times = first_passage(phases, np.arange(phases[0], phases.max() + 1e-9))
    pieces = resample(signal, times[:-1], times[1:])
    return np.roll(pieces, round(phases[0] % 1 * PHASES), axis=1), np.diff(times)


def orbit_distance(cycles: FloatArray, reference: ReferenceCycle) -> FloatArray:
    """Distance of cycles from the reference's mean cycle, root mean square over the phases.

    Each cycle is first shifted in phase to where it fits best (the peak of its circular
    correlation with the mean cycle, refined by a parabola); it is not moved in the plane.

    Args:
        cycles: Shape (..., PHASES, 2) [m].
        reference: The cycle.

    Returns:
        Shape (...) [m].
    """
    own = as_complex(cycles - reference.center)  # (..., K)
    other = as_complex(reference.mean_cycle - reference.center)  # (K,)
    match = np.fft.ifft(np.fft.fft(own) * np.conj(np.fft.fft(other))).real  # (..., K)
    best = match.argmax(axis=-1)[..., None]  # (..., 1)
    left, peak, right = (
        np.take_along_axis(match, (best + s) % PHASES, axis=-1)[..., 0] for s in (-1, 0, 1)
    )
    top = peak + (right - left) / 4 * parabola_peak(left, peak, right)
    power = (np.abs(own) ** 2).mean(axis=-1) + (np.abs(other) ** 2).mean()
    distance: FloatArray = np.sqrt(np.maximum(power - 2 * top / PHASES, 0.0))
    return distance


def as_complex(points: FloatArray) -> npt.NDArray[np.complex128]:
    """Points of the plane, shape (..., 2), as complex numbers, shape (...)."""
    z: npt.NDArray[np.complex128] = points[..., 0] + 1j * points[..., 1]
    return z


def parabola_peak(left: FloatArray, middle: FloatArray, right: FloatArray) -> FloatArray:
    """Where the parabola through three equidistant values has its extremum, in -1/2 ... 1/2."""
    bend = left - 2 * middle + right
    flat = bend == 0
    peak = (left - right) / (2 * np.where(flat, 1.0, bend))
    return np.where(flat, 0.0, np.clip(peak, -0.5, 0.5))


def _first_guess(signals: Sequence[FloatArray], dt: float) -> ReferenceCycle:
    """One demonstration's cycle: that of the tail which repeats itself best.

    Not the mean of all: disturbed demonstrations have periods that differ, and would blur it.
    """
    found: list[tuple[float, float, FloatArray]] = []
    for share, repeats in _FOLDS:
        tails = [signal[round((1 - share) * len(signal)) :] for signal in signals]
        rhythms = [(_rhythm(tail, repeats), tail) for tail in tails]
        found = [(*r, tail) for r, tail in rhythms if r is not None and r[0] >= LEAST_MATCH]
        if found:
            break
    else:
        raise VandError(
            f"no cycle found in {len(signals)} demonstrations: one of a periodic task must repeat "
            "itself, one and a half times at least"
        )
    _, period, tail = max(found, key=lambda rhythm: rhythm[0])
    steps = np.arange(int((len(tail) - 1) / period) + 1, dtype=np.float64)
    edges: FloatArray = len(tail) - 1 - period * steps  # backwards from the end
    cycle = resample(tail, edges[1:], edges[:-1]).mean(axis=0)  # (K, 2)
    return _describe(cycle[None], 1 / (period * dt), onset_s=0.0)


_FOLDS = ((0.5, 2.0), (1.0, 1.5))
"""Parts searched by the first guess: the last share of a demonstration, and how often a cycle must
fit into it."""


def _rhythm(signal: FloatArray, repeats: float) -> tuple[float, float] | None:
    """How well a signal repeats itself, at most 1, and its period [sample].

    The period is the first high peak of the autocorrelation after it has turned down.

    Args:
        signal: Shape (T, 2).
        repeats: How often the period must fit into the signal at least.
    """
    z = as_complex(signal - signal.mean(axis=0))
    n = len(z)
    lags = np.arange(int(n / repeats) + 1)
    spectrum = np.fft.fft(z, 2 * n)
    power = np.concatenate([[0], np.cumsum(np.abs(z) ** 2)])  # (n + 1,)
    overlap = np.sqrt(power[n - lags] * (power[n] - power[lags]))  # (lags,)
    match = np.fft.ifft(np.abs(spectrum) ** 2).real[lags] / np.maximum(overlap, 1e-300)
    low = np.flatnonzero(match <= 0)
    if not len(low) or power[n] <= 0:
        return None
    inner = np.arange(max(low[0], 1), lags[-1])
    peaks = inner[(match[inner] >= match[inner - 1]) & (match[inner] > match[inner + 1])]
    if not len(peaks) or match[peaks].max() <= 0:
        return None
    k = int(peaks[match[peaks] >= 0.8 * match[peaks].max()][0])  # 0.8: noise makes peaks unequal
    return float(match[k]), k + float(parabola_peak(match[k - 1], match[k], match[k + 1]))


def _refine(
    guess: ReferenceCycle, demonstrations: Sequence[tuple[FloatArray, BoolArray]], dt: float
) -> ReferenceCycle:
    settling = round(SETTLING_CYCLES / (guess.frequency_hz * dt))
    onsets, durations, cycles = [], [], []
    for signal, valid in demonstrations:
        begin = onset(signal, dt, guess, valid)
        if begin is None or begin + settling >= len(signal):
            continue
        settled = signal[begin + settling :]
        whole, steps = whole_cycles(settled, phase(settled, dt, guess))
        if len(whole):
            onsets.append(begin * dt)
            durations.append(steps * dt)
            cycles.append(whole)
    if not cycles:
        raise VandError(
            f"no cycle found in {len(demonstrations)} demonstrations: none is near the common "
            "orbit, valid, for one and a half cycles"
        )
    return _describe(
        np.concatenate(cycles), 1 / float(np.median(np.concatenate(durations))), onset_s=max(onsets)
    )


def slope(phases: FloatArray, dt: float) -> float:
    """Mean frequency: the slope of the line nearest to a phase of shape (T,) [1/s]."""
    if len(phases) < 2:
        return float("nan")
    time = (np.arange(len(phases)) - (len(phases) - 1) / 2) * dt
    return float(time @ phases / (time @ time))


def _describe(cycles: FloatArray, frequency_hz: float, *, onset_s: float) -> ReferenceCycle:
    """A reference from cycles (C, K, 2); by medians, as disturbances spoil single cycles badly."""
    typical = np.median(cycles, axis=0)  # (K, 2)
    center = typical.mean(axis=0)  # (2,)
    radii = np.sqrt(((cycles - center) ** 2).sum(axis=-1).mean(axis=-1))  # (C,)
    return ReferenceCycle(
        frequency_hz=frequency_hz,
        amplitude=float(np.median(radii)),
        center=center,
        mean_cycle=typical,
        turns=_turns(as_complex(typical - center)),
        onset_s=onset_s,
    )


def _turns(z: npt.NDArray[np.complex128]) -> int:
    """Direction of a closed curve (K,) about 0: 1 or -1, or 0 where it has none.

    From the area that it encloses with sign, relative to that of a circle of the same root mean
    square radius. The angle at 0 would not do: a figure of eight passes through 0.
    """
    area = (np.conj(z) * np.roll(z, -1)).imag.sum() / 2
    share = area / (np.pi * (np.abs(z) ** 2).mean())
    return int(np.sign(share)) if abs(share) >= LOOP_AREA else 0
