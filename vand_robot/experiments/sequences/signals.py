"""Periodic sequences to learn: closed curves of the plane, walked at a steady tempo.

Each sequence has its own tempo and size, and walks its curve forwards or backwards; which way, no
single point tells. What a network sees and is to predict are points with noise; what it generates
is judged against the same sequence without.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from vand_robot.metrics.demonstrated_cycle import reference_from_demonstrations
from vand_robot.metrics.reference_cycle import ReferenceCycle

Floats = npt.NDArray[np.float64]

STEPS_PER_CYCLE = 20
"""Steps of a cycle at tempo 1."""

DT_S = 1 / STEPS_PER_CYCLE
"""Time between two steps [s], which makes a cycle at tempo 1 last a second."""

SPREAD = 0.1
"""Tempo and size lie within a factor of exp(+-SPREAD) of 1."""

NOISE = 0.05
"""Standard deviation of the noise on every point [size of the curve]."""

REFERENCE_CYCLES = 10
"""Cycles that a reference is measured on."""

VAN_DER_POL_MU = 1.0
"""Damping of the van der Pol oscillator x'' = mu (1 - x^2) x' - x."""


def sum_of_sines(phase: Floats) -> Floats:
    """A circle with a third harmonic, so that its radius and speed vary: (..., 2)."""
    z = np.exp(1j * phase) + 0.35 * np.exp(3j * phase + 0.5j)
    return np.stack([z.real, z.imag], axis=-1)


def figure_of_eight(phase: Floats) -> Floats:
    """Sines of one and two times the phase; where it crosses itself, a point is not enough."""
    return np.stack([np.sin(phase), 0.6 * np.sin(2 * phase)], axis=-1)


def van_der_pol(phase: Floats) -> Floats:
    """The limit cycle of the van der Pol oscillator, position and velocity, halved."""
    cycle = _van_der_pol_cycle()
    place = np.mod(phase / (2 * np.pi), 1) * (len(cycle) - 1)
    at = np.arange(len(cycle))
    return np.stack([np.interp(place, at, column) for column in cycle.T], axis=-1)


SIGNALS: Mapping[str, Callable[[Floats], Floats]] = {
    "sum-of-sines": sum_of_sines,
    "figure-of-eight": figure_of_eight,
    "van-der-pol": van_der_pol,
}
"""Name -> point (..., 2) at a phase (...) [rad]."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """B sequences of one signal."""

    points: Floats
    """(T, B, 2) points, with noise."""

    tempo: Floats
    """(B,) cycles per `STEPS_PER_CYCLE` steps, negative backwards."""

    size: Floats
    """(B,) factor of the curve."""


def draw(signal: str, steps: int, count: int, rng: np.random.Generator) -> Sequences:
    """Draw sequences that begin anywhere in the cycle.

    Args:
        signal: One of `SIGNALS`.
        steps: T.
        count: B.
        rng: Source of everything random.

    Returns:
        The sequences.
    """
    tempo = np.exp(rng.uniform(-SPREAD, SPREAD, count)) * rng.choice([-1.0, 1.0], count)
    size = np.exp(rng.uniform(-SPREAD, SPREAD, count))
    start = rng.uniform(0, 2 * np.pi, count)
    clean = walk(signal, steps, start, tempo, size)
    return Sequences(clean + NOISE * rng.normal(size=clean.shape), tempo, size)


def reference(signal: str, tempo: float, size: float) -> ReferenceCycle:
    """The cycle of a sequence without noise, as `vand_robot.metrics.periodic` judges by it."""
    steps = round(REFERENCE_CYCLES * STEPS_PER_CYCLE / abs(tempo))
    points = walk(signal, steps, np.zeros(1), np.array([tempo]), np.array([size]))
    return reference_from_demonstrations([points[:, 0]], DT_S)


def walk(signal: str, steps: int, start: Floats, tempo: Floats, size: Floats) -> Floats:
    """Walk curves without noise.

    Args:
        signal: One of `SIGNALS`.
        steps: T.
        start: Phases at the first step, (B,) [rad].
        tempo: (B,) as in `Sequences`.
        size: (B,) as in `Sequences`.

    Returns:
        Points (T, B, 2).
    """
    turns = np.arange(steps)[:, None] * tempo / STEPS_PER_CYCLE  # (T, B)
    return SIGNALS[signal](start + 2 * np.pi * turns) * size[:, None]


@cache
def _van_der_pol_cycle() -> Floats:
    """One cycle at equal steps of time, (K + 1, 2), the first point again at the end."""

    def flow(_: float, state: Floats) -> list[float]:
        x, v = state
        return [v, VAN_DER_POL_MU * (1 - x * x) * v - x]

    def at_the_right(_: float, state: Floats) -> float:
        return float(state[1])

    at_the_right.direction = -1.0  # type: ignore[attr-defined]  # as solve_ivp wants it
    run = solve_ivp(
        flow, (0, 60), [2.0, 0.0], events=at_the_right, dense_output=True, rtol=1e-9, atol=1e-9
    )
    assert run.t_events is not None  # noqa: S101  (narrows the type)
    assert run.sol is not None  # noqa: S101  (narrows the type)
    start, end = run.t_events[0][-2:]
    cycle: Floats = run.sol(np.linspace(start, end, 513)).T / 2
    return cycle
