"""Demonstrates wipe-4: wipe as in `wipe`, lift the hand after four circles, go home."""

from vand_demos.experts.expert import Script, register_expert
from vand_demos.experts.motion import GoalController, View
from vand_demos.experts.skills import Skill, go_home, raise_hand
from vand_demos.experts.wipe import Wiping, wipe
from vand_envs.tasks.wipe_4 import CIRCLES_WANTED

OVERRUN = (0.0, 0.15)
"""Range of how far the hand goes on after the last circle [circle]: never less than was asked."""


def script(motion: GoalController, view: View, circles: int = CIRCLES_WANTED) -> Skill:
    """The whole demonstration."""
    rng = motion.style.rng
    wiping = Wiping.draw(motion, view)
    view = yield from wipe(motion, view, wiping, circles + rng.uniform(*OVERRUN))
    view = yield from raise_hand(motion, view, wiping.stand)
    return (yield from go_home(motion, view))


register_expert("wipe-4", Script(script))
