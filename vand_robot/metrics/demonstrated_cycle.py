"""The reference that demonstrations of a periodic task set: how it is measured from them.

The ruler must be straight: a policy that moves as the demonstrator does when nothing disturbs him
has an error of 0. So the reference is measured on what is not disturbed. A burst of noise, and what
it takes to recover from it, slows a rhythm down or widens it, but seldom spoils more than a part of
a cycle, and few cycles are free of it. The cycle is therefore cut into parts, and what is
typical is found for each part by itself, from its passages in all demonstrations:

- where it is known which steps are disturbed (`Episode.disturbed`), the mean of the passages that
  are not: what is left is the demonstrator's own variety, whose mean is what an imitator can learn;
- where it is not known (demonstrations by hand, or from elsewhere), the median of all passages,
  which pauses, slips and corrections in less than half of them do not move.

The parts together are the cycle: the sum of their durations is its period, and their points in
turn are its orbit.

Few demonstrations tell a rhythm only as well as they agree: styles and worlds differ. Frequencies
of 25 draws of three demonstrations by the experts were off that of all 50 by 1.9 % (wiping), 1.7 %
(stirring) and 3.2 % (patrol, two cycles each), root mean square. Means over time instead of parts,
each demonstration weighing the same, were no better (1.7, 1.7 and 4.0 %), nor was a pace of its own
for each demonstration (1.9, 1.7 and 2.8 %, the last too slow by 0.9 %). More demonstrations help.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from vand_envs.errors import VandError
from vand_envs.typing import BoolArray, FloatArray, IntArray
from vand_robot.metrics.reference_cycle import (
    PHASES,
    ReferenceCycle,
    as_complex,
    check_signal,
    first_passage,
    onset,
    parabola_peak,
    phase,
    resample,
)

PARTS = 8
"""Parts of a cycle whose passages are compared: short beside a burst of noise, long beside the
noise of a phase, which makes the durations of short passages skewed and their median too short."""
FINE_PARTS = 16
"""Parts where it is known what is disturbed, and means are taken: more of them fit between two
bursts."""
SETTLING_CYCLES = 0.5
"""The beginning of a demonstration's cycles that says nothing about their frequency [cycle]."""
LEAST_MATCH = 0.5
"""Least autocorrelation at its period of a signal that is taken to repeat itself."""
LOOP_AREA = 0.2
"""Below this share of a circle's area a curve has no direction: an eight, a line to and fro."""


@dataclass(frozen=True, eq=False)
class _Motion:
    """The motion of one demonstration in the phase plane, T samples."""

    signal: FloatArray
    """(T, 2) [m], without gaps."""
    valid: BoolArray
    """(T,), which samples may count."""
    disturbed: BoolArray
    """(T,), which steps are known to be disturbed."""
    known: bool
    """Whether it is known which ones are."""

    @classmethod
    def of(
        cls,
        signal: npt.ArrayLike,
        valid: npt.ArrayLike | None,
        disturbed: npt.ArrayLike | None,
    ) -> Self:
        """The motion, its arrays checked.

        Raises:
            ValueError: Shapes do not fit together.
        """
        x, counts = check_signal(signal, valid)
        flags = np.zeros(len(x), np.bool_) if disturbed is None else np.asarray(disturbed, np.bool_)
        if flags.shape != x.shape[:1]:
            raise ValueError(f"disturbed has shape {flags.shape} for a signal of {len(x)} samples")
        return cls(x, counts, flags, disturbed is not None)


@dataclass(frozen=True, eq=False)
class _Passages:
    """Passages of parts of the cycle, P of them."""

    part: IntArray
    """(P,), which part of the cycle."""
    steps: FloatArray
    """(P,) durations [sample]."""
    points: FloatArray
    """(P, PHASES / parts, 2) points at equal steps of time [m]."""
    doubt: IntArray
    """(P,): 0 where nothing is known against it, 1 where it is disturbed, 2 where the motion has
    not settled yet."""
    known: BoolArray
    """(P,), whether it is known that it is not disturbed."""

    @classmethod
    def of(cls, motion: _Motion, begin: int, guess: ReferenceCycle, dt: float, parts: int) -> Self:
        """The passages of a motion from its onset on, by the phase along a first guess."""
        signal, disturbed = motion.signal[begin:], motion.disturbed[begin:]
        phases = phase(signal, dt, guess)
        levels = np.arange(math.ceil(phases[0] * parts), math.floor(phases.max() * parts) + 1)
        times = first_passage(phases, levels / parts)
        start, end = times[:-1], times[1:]
        total = np.concatenate([[0], np.cumsum(disturbed)])
        first, last = np.floor(start).astype(np.int64), np.ceil(end).astype(np.int64)
        bad = total[last] > total[first]  # a step ends where the next sample is taken
        settled = levels[:-1] / parts >= phases[0] + SETTLING_CYCLES
        return cls(
            levels[:-1].astype(np.int64) % parts,
            end - start,
            resample(signal, start, end, PHASES // parts),
            np.where(settled, np.where(bad, 1, 0), 2),
            np.full(len(start), motion.known) & ~bad,
        )

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """The passages of several motions in one."""
        return cls(
            *(np.concatenate([getattr(p, item.name) for p in several]) for item in fields(cls))
        )

    @property
    def counted(self) -> BoolArray:
        """(P,), which ones count: of each part of the cycle, those with the least doubt."""
        least = np.full(self.part.max() + 1, np.iinfo(np.int64).max)
        np.minimum.at(least, self.part, self.doubt)
        return np.asarray(self.doubt == least[self.part])

    def only(self, which: BoolArray) -> Self:
        """Those of them that a mask (P,) names."""
        return type(self)(*(getattr(self, item.name)[which] for item in fields(self)))


def reference_from_demonstrations(
    signals: Sequence[npt.ArrayLike],
    dt: float,
    valid: Sequence[npt.ArrayLike] | None = None,
    disturbed: Sequence[npt.ArrayLike | None] | None = None,
) -> ReferenceCycle:
    """Measure the common cycle of demonstrations, each of which may begin with an approach.

    A first guess comes from the second halves, where the approach is over, or else, of cycles that
    are long, from whole demonstrations: the one that repeats itself best, by its autocorrelation,
    folded at its period. The guess then tells where each demonstration's cycles begin, and when
    it passes each part of the cycle. The typical passages, put together, replace it; twice.

    - Frequency: the inverse of the sum of the typical durations of the parts.
    - Orbit: the typical points of the parts, in turn, at equal steps of time.
    - Amplitude: the root of the mean over time of the typical squared distance from the center.
    - Typical: the mean of the passages that are known not to be disturbed, or, where that is not
      known, the median of all of them. Of a part that was never passed without disturbance, or
      never after the motion had settled, the passages that there are count.

    Args:
        signals: Phase-plane signals, each of shape (T, 2) [m].
        dt: Time between samples [s].
        valid: For each signal, which samples may count (contact with the board...), shape (T,).
        disturbed: For each signal, in which steps a disturbance acts or is being recovered from,
            shape (T,), or None where that is not known; None: of no signal.

    Returns:
        The reference.

    Raises:
        ValueError: Shapes do not fit together.
        VandError: The demonstrations show no common cycle.
    """
    motions = [
        _Motion.of(
            signal,
            None if valid is None else valid[i],
            None if disturbed is None else disturbed[i],
        )
        for i, signal in enumerate(signals)
    ]
    reference = _first_guess([m.signal[int(m.valid.argmax()) :] for m in motions], dt)
    for _ in range(2):
        reference = _refine(reference, motions, dt)
    return reference


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
    return _describe(cycle, None, frequency_hz=1 / (period * dt), onset_s=0.0)


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


def _refine(guess: ReferenceCycle, motions: Sequence[_Motion], dt: float) -> ReferenceCycle:
    begins = [onset(m.signal, dt, guess, m.valid) for m in motions]
    begun = [(m, begin) for m, begin in zip(motions, begins, strict=True) if begin is not None]
    parts = FINE_PARTS if all(m.known for m in motions) else PARTS
    found = [_Passages.of(m, begin, guess, dt, parts) for m, begin in begun]
    passages = _Passages.joined(found) if found else None
    if passages is None or len(np.unique(passages.part)) < parts:
        raise VandError(
            f"no cycle found in {len(motions)} demonstrations: none is near the common "
            "orbit, valid, for one and a half cycles"
        )
    passages = passages.only(passages.counted)
    middle = np.mean if passages.known.all() else np.median
    steps, points, spread = np.empty(parts), [], []
    for part in range(parts):
        here = passages.only(passages.part == part)
        steps[part] = middle(here.steps)
        points.append(middle(here.points, axis=0))  # (PHASES / parts, 2)
        spread.append(middle(((here.points - points[-1]) ** 2).sum(axis=-1), axis=0))
    return _describe(
        _at_equal_times(np.concatenate(points), steps),
        _at_equal_times(np.concatenate(spread)[:, None], steps)[:, 0],
        frequency_hz=1 / (float(steps.sum()) * dt),
        onset_s=max(begin for _, begin in begun) * dt,
    )


def _at_equal_times(values: FloatArray, steps: FloatArray) -> FloatArray:
    """Values along a cycle at equal steps of time.

    Args:
        values: Values at equal steps of time within each part, shape (PHASES, d).
        steps: Durations of the parts, shape (parts,).

    Returns:
        Shape (PHASES, d).
    """
    each = np.repeat(steps, PHASES // len(steps))  # (PHASES,)
    times = np.cumsum(each) - each
    wanted = np.arange(PHASES) / PHASES * each.sum()
    columns = [np.interp(wanted, times, column, period=each.sum()) for column in values.T]
    return np.stack(columns, axis=-1)


def _describe(
    cycle: FloatArray, spread: FloatArray | None, *, frequency_hz: float, onset_s: float
) -> ReferenceCycle:
    """A reference from its cycle (K, 2) and the squared deviations of single passages, (K,)."""
    center = cycle.mean(axis=0)  # (2,)
    squares = ((cycle - center) ** 2).sum(axis=-1)  # (K,)
    if spread is not None:
        squares = squares + spread
    return ReferenceCycle(
        frequency_hz=frequency_hz,
        amplitude=float(np.sqrt(squares.mean())),
        center=center,
        mean_cycle=cycle,
        turns=_turns(as_complex(cycle - center)),
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
