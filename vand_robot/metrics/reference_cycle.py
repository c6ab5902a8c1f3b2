"""A cycle that demonstrations of a periodic task show, and the phase of a motion along it.

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
TRACKING_PACE = 4.0
"""A tracked phase moves along the cycle by at most this multiple of the reference's pace."""
JUMP_CYCLES = 0.05
"""A tracked phase jumps where the path without the jump is an amplitude off for longer [cycle]."""
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
    """One cycle at equal steps of time, shape (PHASES, 2) [m]: what is typical at each phase where
    nothing disturbs it."""
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


def resample(
    signal: FloatArray, start: FloatArray, end: FloatArray, points: int = PHASES
) -> FloatArray:
    """Cut a signal into pieces of equal steps of time, each from its start to its end.

    Args:
        signal: Shape (T, 2).
        start: Fractional sample indices, shape (W,).
        end: Fractional sample indices, shape (W,).
        points: Points of each piece, its end not among them.

    Returns:
        Shape (W, points, 2).
    """
    at = start[:, None] + (end - start)[:, None] * (np.arange(points) / points)  # (W, K)
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
    times = times[np.isfinite(times)]  # the last one may be a rounding error away
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


def slope(phases: FloatArray, dt: float) -> float:
    """Mean frequency: the slope of the line nearest to a phase of shape (T,) [1/s]."""
    if len(phases) < 2:
        return float("nan")
    time = (np.arange(len(phases)) - (len(phases) - 1) / 2) * dt
    return float(time @ phases / (time @ time))
