"""The rhythm of a recording, and how far a generated motion is off it.

Each recording has as many channels as its sensors, and a cycle of its own shape. To compare
rhythms, its fundamental is taken out: a band-pass filter of complex numbers at the own period P,
`w(s) exp(2 pi i s / P)` with a Hann window w of two periods, which lets the period pass and neither
the mean nor the second harmonic; then the combination of channels that holds most of it. The
outcome, one complex number a step, walks about the origin once a cycle, and is judged as any
periodic motion is (`vand_robot.metrics.periodic`). A generated motion is filtered the same way.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from vand_envs.errors import VandError
from vand_envs.typing import FloatArray
from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.periodic import score_periodic
from vand_robot.metrics.reference_cycle import ReferenceCycle

Complex = npt.NDArray[np.complex128]

LEAST_CYCLES = 5
"""Cycles that a recording must show."""

PERIODS = 2
"""Length of the filter [cycle]."""


def period_of(points: FloatArray, least_cycles: float = LEAST_CYCLES) -> float | None:
    """The period of a motion, by the autocorrelation of all its channels together.

    It is the first of the high peaks after the autocorrelation has been negative.

    Args:
        points: (T, C).
        least_cycles: Cycles that it must show, so that longer periods are not looked for.

    Returns:
        The period [step]; None where the motion does not repeat itself.
    """
    x = points - points.mean(axis=0)
    n = len(x)
    lags = np.arange(int(n / least_cycles) + 1)
    spectrum = np.fft.rfft(x, 2 * n, axis=0)
    power = np.concatenate([[0], np.cumsum((x**2).sum(axis=1))])  # (n + 1,)
    overlap = np.sqrt(power[n - lags] * (power[n] - power[lags]))
    match = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1))[lags] / np.maximum(overlap, 1e-12)
    negative = np.flatnonzero(match <= 0)
    if not len(negative) or power[n] <= 0:
        return None
    inner = np.arange(negative[0], lags[-1])
    peaks = inner[(match[inner] >= match[inner - 1]) & (match[inner] > match[inner + 1])]
    if not len(peaks) or match[peaks].max() <= 0:
        return None
    return float(peaks[match[peaks] >= 0.8 * match[peaks].max()][0])


@dataclass(frozen=True, eq=False)
class Rhythm:
    """The rhythm of a recording, and the filter that takes it out."""

    dt_s: float
    """Time between two points [s]."""
    period: float
    """Its period [step]."""
    mean: FloatArray
    """(C,) mean of its points."""
    direction: Complex
    """(C,) weights of the channels."""
    amplitude: float
    """Root mean square over steps and channels of the distance from the mean."""
    reference: ReferenceCycle
    """Its cycle, filtered."""

    @classmethod
    def of(cls, points: FloatArray, dt_s: float) -> "Rhythm":
        """The rhythm of a recording (T, C).

        Raises:
            VandError: It shows no cycle.
        """
        period = period_of(points)
        if period is None or period * (PERIODS + LEAST_CYCLES) > len(points):
            raise VandError(f"no cycle found in a recording of {len(points)} steps")
        mean = points.mean(axis=0)
        filtered = _filtered(points - mean, period)
        direction = np.linalg.svd(filtered, full_matrices=False)[2][0].conj()
        plane = _as_plane(filtered @ direction)
        reference = reference_from_demonstrations([plane], dt_s)
        amplitude = float(np.sqrt(((points - mean) ** 2).mean()))
        return cls(dt_s, period, mean, direction, amplitude, reference)

    def plane(self, points: FloatArray) -> FloatArray:
        """The fundamental of a motion (T, C), shorter by the filter: (T', 2)."""
        return _as_plane(_filtered(points - self.mean, self.period) @ self.direction)

    def score(self, points: FloatArray) -> dict[str, float | None]:
        """How far a motion (T, C) is off it.

        Returns:
            None where a number cannot be told. "in_tolerance", the share of time within 10 % of the
            frequency, 20 % of the amplitude and 25 % of the orbit; "frequency_error", of the peak
            of the spectrum; "amplitude_error", of the points' root mean square distance from their
            mean over all channels, unfiltered; "phase_drift_rad", gained per cycle [rad].
        """
        found = score_periodic(self.plane(points), self.dt_s, self.reference)
        amplitude = float(np.sqrt(((points - points.mean(axis=0)) ** 2).mean()))
        values: dict[str, Any] = {
            "in_tolerance": found.in_tolerance,
            "frequency_error": abs(found.frequency_hz / self.reference.frequency_hz - 1),
            "amplitude_error": abs(amplitude / self.amplitude - 1),
            "phase_drift_rad": found.phase_drift_rad,
        }
        return {k: float(v) if np.isfinite(v) else None for k, v in values.items()}


def _filtered(x: FloatArray, period: float) -> Complex:
    """The band of one period of channels (T, C): (T - `PERIODS` periods, C)."""
    length = round(PERIODS * period)
    window = np.hanning(length + 2)[1:-1]
    places = np.arange(length) - (length - 1) / 2
    taps = 2 * window / window.sum() * np.exp(2j * np.pi * places / period)
    band: Complex = fftconvolve(x, taps[:, None], mode="valid", axes=0)
    return band


def _as_plane(z: Complex) -> FloatArray:
    return np.stack([z.real, z.imag], axis=-1)
