"""The camera that sees the hand."""

import mujoco
import numpy as np
import pytest

from vand_robot.viewer.camera import motion_camera
from vand_robot.viewer.replay import demonstration_motion, write_motion

WORLD = """
<mujoco>
  <visual><global azimuth="40"/></visual>
  <worldbody>
    <geom type="plane" size="5 5 .1"/>
    {walls}
    <body name="base" pos="0 0 .2">
      <joint type="slide" axis="1 0 0"/>
      <geom type="box" size=".1 .1 .1"/>
      <body pos="0 0 .2">
        <joint type="hinge" axis="0 0 1"/>
        <geom type="capsule" size=".02" fromto="0 0 0 .3 0 0"/>
        <site name="hand" pos=".33 0 0"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
MOTION = np.stack([np.linspace(0.0, 0.5, 30), np.zeros(30)], axis=1)


def azimuth(walls):
    model = mujoco.MjModel.from_xml_string(WORLD.format(walls=walls))
    return motion_camera(model, MOTION, "hand").azimuth


def test_one_looks_from_the_usual_side_unless_something_stands_between():
    assert azimuth("") == 45.0  # of the turns that are tried the nearest to 40
    wall = '<geom type="box" pos="-.4 -.9 1" euler="0 0 -45" size="1 .05 1"/>'
    turned = azimuth(wall)
    assert 30 <= abs(turned - 45.0) < 180
    invisible = wall.replace("size=", 'group="3" size=')
    assert azimuth(invisible) == 45.0


def test_the_whole_way_is_in_the_picture(demos):
    motion = demonstration_motion(demos, "stow-cube", None)
    camera = motion_camera(motion.model, motion.path, motion.hand)
    assert camera.type == mujoco.mjtCamera.mjCAMERA_FREE
    assert 2.0 < camera.distance < 8.0
    assert np.abs(camera.lookat[:2]).max() < 2.5


def test_a_page_looks_from_there_and_from_a_camera_that_is_asked_for(demos, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(
        "vand_robot.viewer.html.place_camera",
        lambda server, model, data, camera: looked.append(camera),
    )
    motion = demonstration_motion(demos, "wipe", None)
    write_motion(motion, tmp_path / "a.html", "html")
    write_motion(motion, tmp_path / "b.html", "html", camera="table")
    assert isinstance(looked[0], mujoco.MjvCamera)
    assert looked[1] == "table"
    assert looked[0].azimuth == pytest.approx(
        motion_camera(motion.model, motion.path, motion.hand).azimuth
    )
