"""A scene that nobody here described: a table, a mesh, a texture, a drawer, two free boxes."""

import numpy as np
from imageio.v3 import imwrite

from vand_demos.teleop import Command

MAIN = """
<mujoco model="kitchen">
  <compiler meshdir="meshes" texturedir="pictures"/>
  <include file="parts/table.xml"/>
  <option timestep="0.005"/>
  <asset>
    <mesh name="wedge" file="wedge.obj"/>
    <texture name="wood" type="2d" file="wood.png"/>
    <material name="wood" texture="wood"/>
  </asset>
  <worldbody>
    <geom name="floor" type="plane" size="3 3 0.1" material="wood"/>
    <body name="red box" pos="0.62 0.1 0.73">
      <freejoint/>
      <geom type="box" size="0.025 0.025 0.025" mass="0.1" rgba="0.8 0.2 0.2 1"/>
    </body>
    <body name="wedge" pos="0.62 -0.15 0.73">
      <freejoint/>
      <geom type="mesh" mesh="wedge" mass="0.1"/>
    </body>
    <body name="ee" pos="0.75 1 0.1">
      <joint name="slider" type="slide" axis="0 1 0" range="0 0.2"/>
      <geom type="box" size="0.1 0.1 0.1" mass="1"/>
    </body>
  </worldbody>
  <keyframe>
    <key name="start" qpos="0.62 0.1 0.73 1 0 0 0 0.62 -0.15 0.73 1 0 0 0 0"/>
  </keyframe>
</mujoco>
"""
TABLE = """
<mujocoinclude>
  <worldbody>
    <body name="table" pos="0.75 0 0.35">
      <geom name="table_top" type="box" size="0.25 0.5 0.35"/>
    </body>
  </worldbody>
</mujocoinclude>
"""
WEDGE = """
v 0 0 0
v 0.04 0 0
v 0 0.04 0
v 0 0 0.04
f 1 3 2
f 1 2 4
f 1 4 3
f 2 3 4
"""


def write_scene(folder, main=MAIN):
    """The scene's files; the path of the main one."""
    for name, text in (("parts/table.xml", TABLE), ("meshes/wedge.obj", WEDGE)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pictures").mkdir(exist_ok=True)
    imwrite(folder / "pictures" / "wood.png", np.full((4, 4, 3), [180, 140, 90], np.uint8))
    path = folder / "kitchen.xml"
    path.write_text(main)
    return path


class Person:
    """Somebody who moves the hand for a while in each episode, then says how it went."""

    def __init__(self, verdicts, steps=6):
        moves = [Command(ee_linear=(0.2, 0.1, -0.1), gripper=-1.0)] * steps
        self.commands = [
            command
            for verdict in verdicts
            for command in (Command(events=("start",)), *moves, Command(events=(verdict,)))
        ]
        self.commands.append(Command(events=("quit",)))
        self.seen = []

    def read(self):
        return self.commands.pop(0)

    def show(self, status, pose):
        self.seen.append(status)

    def close(self):
        pass
