"""Demonstrates press-abac and press-caba: stand before the console, press button after button.

Between presses the hand is at the same height above the buttons, whichever they are: where it is
tells the button that was pressed last, and not how often.
"""

import numpy as np

from vand_demos.experts.expert import Demonstrator, Script, register_expert
from vand_demos.experts.motion import GoalController, Vector, View, position
from vand_demos.experts.skills import CLOSED, OPEN, Skill, drive, funnel, grip, reach, stand_still
from vand_envs.geometry import to_world
from vand_envs.tasks import press_abac, press_caba
from vand_envs.tasks.buttons import BUTTON_HEIGHT_M, PRESSED_M, body

REACH_SPREAD_M, SIDE_SPREAD_M, YAW_SPREAD_RAD = 0.05, 0.08, 0.12
"""How differently the base is placed before the console from one demonstration to the next."""
HOVER_M = 0.07
"""Height of the finger tips above the buttons between presses."""
NEAR_M = 0.010
"""Difference from that height at which they have come to it."""
AIM_M = 0.010
"""Distance beside a button's middle at which the fingers may come down on it."""
PUSH_M = 0.030
"""How far below its rest a button is pushed towards: more than it travels, so as not to be slow."""
DOWN_M = 0.017
"""Depth at which the hand turns back [m]: well beyond where a press counts. A hand that turned
there would show presses that barely count, and whoever copies them falls short of that."""


def script(order: str) -> Demonstrator:
    """The whole demonstration of an order such as "ABAC"."""

    def demonstrate(motion: GoalController, view: View) -> Skill:
        rng = motion.style.rng
        middle = to_world(view["button_b_pos"].astype(np.float64), view["base_pose"])
        side = rng.uniform(-SIDE_SPREAD_M, SIDE_SPREAD_M)
        reach_m = motion.robot.reach_m + rng.uniform(-REACH_SPREAD_M, REACH_SPREAD_M)
        yaw = -np.pi / 2 + rng.uniform(-YAW_SPREAD_RAD, YAW_SPREAD_RAD)
        stand = np.array([middle[0] + side, middle[1] + reach_m, yaw])
        view = yield from drive(motion, view, stand, gripper=OPEN)
        # Every button is come to along the row: how the arm is bent tells a first press otherwise.
        view = yield from _hover(motion, view, body("B"), stand)
        for letter in order:
            view = yield from _press(motion, view, body(letter), stand)
        view = yield from reach(
            motion,
            view,
            lambda _: motion.style.travel_hand,
            base_world=stand,
            gripper=CLOSED,
            within=0.03,
        )
        # The fingers stay closed: they tell a robot that is done from one that has just come.
        return (
            yield from grip(
                motion, view, base_world=stand, gripper=CLOSED, duration_s=rng.uniform(1.0, 2.0)
            )
        )

    return demonstrate


def _press(motion: GoalController, view: View, button: str, stand: Vector) -> Skill:
    """Press a button down and come back to above it."""
    counted = False
    while (depth := _depth(view, button)) < DOWN_M:
        if counted and depth < PRESSED_M:
            break  # slipped off after it counted, which is seen: none is pressed twice
        counted = counted or depth >= PRESSED_M
        goal = funnel(view, _above(motion, view, button, -PUSH_M), AIM_M, HOVER_M + PUSH_M)
        view = yield _act(motion, view, goal, stand)
    return (yield from _hover(motion, view, button, stand))


def _hover(motion: GoalController, view: View, button: str, stand: Vector) -> Skill:
    """Bring the fingers to the height at which they hover, towards above a button."""
    while True:
        goal = _above(motion, view, button, HOVER_M)
        if abs(float(goal[2] - view["ee_pos"][2])) < NEAR_M:
            return view
        view = yield _act(motion, view, goal, stand)


def _act(motion: GoalController, view: View, hand: Vector, stand: Vector) -> Vector:
    return motion.command(
        view, base_world=stand_still(motion, view, stand), hand=hand, gripper=CLOSED
    )


def _above(motion: GoalController, view: View, button: str, height: float) -> Vector:
    """Where the hand is when its finger tips are at a height above a button at rest, (3,)."""
    surface = [*position(view, button)[:2], BUTTON_HEIGHT_M]
    return np.add(surface, [0.0, 0.0, motion.robot.tip_offset_m + height])


def _depth(view: View, button: str) -> float:
    """How far a button is pressed down [m]."""
    return float(BUTTON_HEIGHT_M - position(view, button)[2])


for _task in (press_abac, press_caba):
    register_expert(_task.TASK.id, Script(script(_task.ORDER)))
