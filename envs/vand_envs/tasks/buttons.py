"""The console's three buttons: what a press is, and the stages of pressing them in an order."""

from dataclasses import dataclass

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Stage
from vand_envs.typing import BoolArray, FloatArray

# Constants

BUTTON_HEIGHT_M = 0.745
"""Height of a button's upper surface at rest."""
PRESSED_M = 0.012
"""How far a button goes down to count as pressed, of 0.020."""
RELEASED_M = 0.005
"""How far down it may still be to count as released: one press is not to be counted twice."""

# Measurements


def body(letter: str) -> str:
    """Name of the body of button A, B or C."""
    return f"button_{letter.lower()}"


def depth(sim: Simulation, letter: str) -> FloatArray:
    """How far a button is pressed down [m], (n,)."""
    return BUTTON_HEIGHT_M - sim.xpos[:, sim.body_id(body(letter)), 2]


# Stages


def presses(order: str) -> tuple[Stage, ...]:
    """A stage for each press of an order such as "ABAC". Any other press spoils the episode."""
    names = (
        f"{letter} pressed" + " again" * order[:k].count(letter) for k, letter in enumerate(order)
    )
    return tuple(map(_press, order, names))


def _press(letter: str, name: str) -> Stage:
    return Stage(name, _Pressed(letter), until=_Released(letter), exact=True)


# Classes and no closures: equal letters are the same event, and a task can be pickled.


@dataclass(frozen=True)
class _Pressed:
    """Whether a button is pressed, (n,)."""

    letter: str

    def __call__(self, sim: Simulation) -> BoolArray:
        return depth(sim, self.letter) >= PRESSED_M


@dataclass(frozen=True)
class _Released:
    """Whether a button is well up again, (n,)."""

    letter: str

    def __call__(self, sim: Simulation) -> BoolArray:
        return depth(sim, self.letter) < RELEASED_M
