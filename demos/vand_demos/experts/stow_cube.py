"""Demonstrates stow-cube: fetch the cube, drop it into the bin, go home; refetch a lost cube."""

import numpy as np

from vand_demos.experts.cube import carried, drop, fetch, held, out_of_reach
from vand_demos.experts.expert import Script, register_expert
from vand_demos.experts.motion import GoalController, Vector, View, position
from vand_demos.experts.skills import Skill, go_home

DROP_M = np.array([0.0, 0.0, 0.15])
"""Where the hand lets go, from the middle of the bin's floor."""
DROP_SPREAD_M = 0.03
"""Largest difference from it, along and across."""
BIN_FREE_M = 0.05
"""Distance beside the middle of the bin at which the hand may come down into it."""


def script(motion: GoalController, view: View) -> Skill:
    """The whole demonstration."""
    while not _in_bin(view):
        if out_of_reach(view):
            return view
        if not carried(view):
            view = yield from fetch(motion, view)
        if held(view):
            view = yield from drop(
                motion, view, _above_bin, spread_m=DROP_SPREAD_M, free_m=BIN_FREE_M, height_m=0.15
            )
    return (yield from go_home(motion, view))


def _above_bin(view: View) -> Vector:
    return np.asarray(position(view, "bin") + DROP_M)


def _in_bin(view: View) -> bool:
    return float(np.linalg.norm(view["cube_pos"][:2] - view["bin_pos"])) < 0.13


register_expert("stow-cube", Script(script, takes_cube=True))
