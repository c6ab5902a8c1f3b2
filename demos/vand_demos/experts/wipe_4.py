"""Demonstrates wipe-4: wipe as in `wipe`, lift the hand after four circles, go home."""

from vand_demos.experts.motion import Motion, View
from vand_demos.experts.skills import DOCK, OPEN, Skill, drive, reach, rest
from vand_demos.experts.wipe import Wiping, wipe
from vand_envs.tasks.wipe_4 import CIRCLES_WANTED

OVERRUN = (0.0, 0.15)
"""Range of how far the hand goes on after the last circle [circle]: never less than was asked."""


def script(motion: Motion, view: View, circles: int = CIRCLES_WANTED) -> Skill:
    """The whole demonstration."""
    rng = motion.style.rng
    wiping = Wiping.draw(motion, view)
    view = yield from wipe(motion, view, wiping, circles + rng.uniform(*OVERRUN))
    view = yield from reach(
        motion,
        view,
        lambda _: motion.style.travel_hand,
        base_world=wiping.stand,
        gripper=OPEN,
        within=0.10,
    )
    view = yield from drive(motion, view, DOCK, gripper=OPEN, within=(0.05, 0.06))
    return (yield from rest(motion, view, DOCK, gripper=OPEN, duration_s=rng.uniform(1.0, 2.5)))
