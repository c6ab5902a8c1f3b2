"""A camera for a motion: from where the hand is seen, and the whole of the way."""

from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from vand_envs.typing import FloatArray
from vand_robot.viewer.motion import poses_at

USUAL = "overview"
"""Camera of the scene from whose side one looks, unless something stands between."""

_SAMPLES = 24
"""Moments of the motion that are looked at."""
_TURNS_DEG = np.arange(0.0, 360.0, 15.0)
_TILT_DEG = -32.0
_FOV_DEG = 45.0
_MARGIN_M = 0.45
"""What is to be seen around hand and base [m]."""
_NEAREST_M = 2.4
_HAND_M = 0.12
"""What is closer to the hand than this belongs to it [m]."""
_LOYALTY = 0.15
"""Share of the moments that the usual side is worth; the opposite side is worth none."""
_SEEN_GROUPS = np.array([1, 1, 1, 0, 0, 0], np.uint8)
"""Groups of geoms that are drawn."""


def motion_camera(model: Any, motion: npt.ArrayLike, hand: str) -> Any:
    """The camera that sees the hand most of the time, nearest to the usual side of the scene.

    Args:
        model: The `mujoco.MjModel`.
        motion: As `vand_robot.viewer.motion.poses_at` takes it.
        hand: Name of the site of the end effector.

    Returns:
        A free `mujoco.MjvCamera`.
    """
    rows = len(np.asarray(motion))
    moments = np.unique(np.linspace(0, rows - 1, min(_SAMPLES, rows)).astype(int))
    site = model.site(hand).id
    root = model.body_rootid[model.site_bodyid[site]]
    poses = [
        (data.site_xpos[site].copy(), data.xpos[_base(model, site, root)].copy(), _snapshot(data))
        for data in poses_at(model, motion, [(int(i), 0.0) for i in moments])
    ]
    hands, bases = (np.array([pose[i] for pose in poses]) for i in (0, 1))
    places = np.concatenate([hands, bases])
    low, high = places.min(axis=0), places.max(axis=0)
    camera = mujoco.MjvCamera()
    mujoco.mjv_defaultFreeCamera(model, camera)
    camera.lookat[:] = (low + high) / 2
    camera.elevation = _TILT_DEG
    radius = float(np.linalg.norm(high - low)) / 2 + _MARGIN_M
    camera.distance = max(_NEAREST_M, radius / np.tan(np.radians(_FOV_DEG / 2)))
    usual = _usual_turn(model, poses[0][2])
    values = [
        _share_seen(model, camera.lookat, turn, camera.distance, poses)
        + _LOYALTY * (1 + np.cos(np.radians(turn - usual))) / 2
        for turn in _TURNS_DEG
    ]
    camera.azimuth = float(_TURNS_DEG[int(np.argmax(values))])
    return camera


def _base(model: Any, site: int, root: int) -> int:
    """The body that stands for the robot's place: the first below its root that moves."""
    body = int(model.site_bodyid[site])
    moving = body
    while body != root:
        body = int(model.body_parentid[body])
        moving = body if model.body_dofnum[body] else moving
    return moving


def _snapshot(data: Any) -> Any:
    """A copy of a pose, which the next one leaves alone."""
    return data.__copy__()


def _usual_turn(model: Any, data: Any) -> float:
    """Azimuth of the usual camera [deg]; of the free one where the scene has none."""
    names = [model.camera(i).name for i in range(model.ncam)]
    if USUAL not in names:
        return float(model.vis.global_.azimuth)
    ahead = -data.cam_xmat[names.index(USUAL)].reshape(3, 3)[:, 2]
    return float(np.degrees(np.arctan2(ahead[1], ahead[0])))


def _share_seen(
    model: Any, target: FloatArray, turn: float, distance: float, poses: list[Any]
) -> float:
    """Share of the moments at which nothing stands between a camera and the hand."""
    yaw, tilt = np.radians([turn, _TILT_DEG])
    ahead = np.array([np.cos(tilt) * np.cos(yaw), np.cos(tilt) * np.sin(yaw), np.sin(tilt)])
    eye = np.asarray(target) - distance * ahead
    seen, geom = 0, np.zeros(1, np.int32)
    for hand, _, data in poses:
        way = hand - eye
        far = float(np.linalg.norm(way))
        hit = mujoco.mj_ray(model, data, eye, way / far, _SEEN_GROUPS, 1, -1, geom, None)
        seen += hit < 0 or hit > far - _HAND_M
    return seen / len(poses)
