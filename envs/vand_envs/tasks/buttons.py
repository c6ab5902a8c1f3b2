"""The console's three buttons: what a press is, and the stages of pressing them in an order."""

from functools import cache

from vand_envs.simulation import Simulation
from vand_envs.tasks.base import Predicate, Stage
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
    pressed, released = _limits(letter)
    return Stage(name, pressed, until=released, exact=True)


@cache
def _limits(letter: str) -> tuple[Predicate, Predicate]:
    """Whether a button is pressed, whether released: the same functions at each call."""

    def pressed(sim: Simulation) -> BoolArray:
        return depth(sim, letter) >= PRESSED_M

    def released(sim: Simulation) -> BoolArray:
        return depth(sim, letter) < RELEASED_M

    return pressed, released
