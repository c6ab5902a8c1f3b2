"""Scripted demonstrators, one per task, built from a few motion skills.

An expert is registered by the file that defines it.
"""

from importlib import import_module

from vand_demos.experts.disturbance import Disturbance, DisturbanceProcess
from vand_demos.experts.expert import EXPERTS, Expert, Script, make_expert, register_expert
from vand_demos.experts.motion import GoalController, Style, View
from vand_demos.experts.skills import Skill

BUILT_IN = (
    "stow_cube",
    "press",
    "drawer_stow",
    "wipe",
    "stir",
    "patrol",
    "wipe_4",
    "knock_3",
)
"""Modules of this folder that register an expert."""

for _module in BUILT_IN:
    import_module(f"{__name__}.{_module}")
EXPERTS.seal()

__all__ = [
    "EXPERTS",
    "Disturbance",
    "DisturbanceProcess",
    "Expert",
    "GoalController",
    "Script",
    "Skill",
    "Style",
    "View",
    "make_expert",
    "register_expert",
]
