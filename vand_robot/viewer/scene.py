"""The world that a viewer draws: one, or two side by side."""

from typing import Any

import mujoco
import numpy as np

from vand_demos.ui.frames import PoseInterpolator
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.base_reader import base_body
from vand_envs.typing import FloatArray
from vand_envs.world import World
from vand_robot.viewer.player import Player

GAP_M = 0.5
"""Between two worlds [m]."""

LABEL_M = 1.75
"""Height of a robot's label above its base [m]."""

_BESIDE = "beside/"


class SceneView:
    """The scene that a player shows, as poses of one model.

    Two worlds are put into one model, so that whatever can draw a model draws them side by side.

    Args:
        player: The player, with the episodes that are open now.
    """

    def __init__(self, player: Player) -> None:
        self._player = player
        self._sources = [player.source, *([player.beside] if player.beside else [])]
        self._worlds = [source.world for source in self._sources]
        self._between = [PoseInterpolator(world.model) for world in self._worlds]
        self.model: Any = self._worlds[0].model
        """The model to draw, `mujoco.MjModel`."""
        if len(self._worlds) > 1:
            left, right = self._worlds
            self._offset_m = _width(left.model) + GAP_M
            self.model = _joined(left, right, self._offset_m)
            # free joints of the second world count from the origin, all others from their body
            free = np.flatnonzero(right.model.jnt_type == int(mujoco.mjtJoint.mjJNT_FREE))
            self._free = left.model.nq + right.model.jnt_qposadr[free]  # their x
            self._data = mujoco.MjData(self.model)

    @property
    def camera(self) -> str | int:
        """Where to look from at first, see `place_camera`."""
        return -1 if len(self._worlds) > 1 else "overview"

    @property
    def labels(self) -> list[tuple[str, FloatArray]]:
        """Name and place above the head (3,) of each robot [m] in the last pose; none of one."""
        if len(self._worlds) == 1:
            return []
        labels = []
        for i, (source, world) in enumerate(zip(self._sources, self._worlds, strict=True)):
            prefix = (_BESIDE if i else "") + ROBOT_PREFIX
            body = base_body(self.model, world.robot, prefix)
            place = self._data.xpos[body] + [0.0, 0.0, LABEL_M]
            labels.append((source.title, np.asarray(place, np.float64)))
        return labels

    @property
    def is_current(self) -> bool:
        """Whether the open episodes are still of the worlds that this scene was made of."""
        return all(
            source.world is world for source, world in zip(self._sources, self._worlds, strict=True)
        )

    def pose(self) -> Any:
        """The pose at the time that the player shows; the same `mujoco.MjData` each time."""
        poses = []
        for source, between in zip(self._sources, self._between, strict=True):
            now, later, part = self._player.around(source)
            poses.append(between.at(now.state, later.state, part))
        if len(poses) == 1:
            return poses[0]
        left, right = poses
        self._data.qpos[:] = np.concatenate([left.qpos, right.qpos])
        self._data.qpos[self._free] += self._offset_m
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        return self._data


def _joined(left: World, right: World, offset_m: float) -> Any:
    """One model of two worlds, the second further along x, on the same floor."""
    spec, other = (
        mujoco.MjSpec.from_string(world.xml, assets=dict(world.files)) for world in (left, right)
    )
    for plane in [geom for geom in other.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]:
        other.delete(plane)
    for light in list(other.lights):
        other.delete(light)
    for plane in [geom for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_PLANE]:
        half = plane.size[0] and offset_m / 2  # an endless one has no size
        plane.size, plane.pos = np.add(plane.size, [half, 0, 0]), np.add(plane.pos, [half, 0, 0])
    spec.attach(other, prefix=_BESIDE, frame=spec.worldbody.add_frame(pos=[offset_m, 0.0, 0.0]))
    spec.stat.center = np.add(spec.stat.center, [offset_m / 2, 0.0, 0.0])
    spec.stat.extent = spec.stat.extent + 0.6 * offset_m  # so that both fit in
    view = spec.visual.global_  # from in front of both, and from above the hands
    view.azimuth, view.elevation = 90.0, -52.0
    spec.assets = {**left.files, **right.files}
    return spec.compile()


def _width(model: Any) -> float:
    """Extent along x of everything but planes, at the model's default pose [m]."""
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    solid = model.geom_type != int(mujoco.mjtGeom.mjGEOM_PLANE)
    x, reach = data.geom_xpos[solid, 0], model.geom_rbound[solid]
    return float((x + reach).max() - (x - reach).min())
