"""A MuJoCo world on a viser page: geometry, light, floor and camera."""

import contextlib
import copy
import math
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from mjviser import ViserMujocoScene

from vand_envs.errors import unknown_name
from vand_envs.typing import FloatArray

Place = tuple[float, float, float]

# Light. viser's own washes the colors out, casts hardly a shadow, and comes with an image of
# surroundings that makes the page flash white whenever a replay begins anew.
_AMBIENT = 3.0
_KEY, _KEY_AT = 2.6, (1.5, -2.5, 5.0)
_FILL, _FILL_AT = 1.2, (-3.0, 3.0, 4.0)
_FLOOR = (226, 224, 220)  # Drawn in place of planes, which would be an endless black grid.
_GRID = (205, 203, 199)


def add_scene(server: Any, model: Any) -> ViserMujocoScene:
    """Put a world onto a page, lit and on a quiet floor.

    Args:
        server: The `viser.ViserServer`.
        model: The `mujoco.MjModel`; left as it was.

    Returns:
        The scene; `update_from_mjdata(data)` shows a pose.
    """
    scene = ViserMujocoScene(server, copy.copy(model), num_envs=1)  # it rescales overlays
    scene.camera_tracking_enabled = False
    # Only what can move casts a shadow there: the console's buttons would, the console not.
    for handle in scene._fixed_geom_handles.values():  # noqa: SLF001  (no public way)
        handle.cast_shadow = True
    _light(server)
    _lay_floor(server, model)
    return scene


def _light(server: Any) -> None:
    server.scene.configure_default_lights(enabled=False)
    server.scene.configure_environment_map(None)
    server.scene.add_light_ambient("/light/ambient", intensity=_AMBIENT)
    server.scene.add_light_directional(
        "/light/key", intensity=_KEY, position=_KEY_AT, cast_shadow=True
    )
    server.scene.add_light_directional("/light/fill", intensity=_FILL, position=_FILL_AT)


def _lay_floor(server: Any, model: Any) -> None:
    """Replace the endless grids that stand for planes by a quiet floor as large as the plane."""
    planes = np.flatnonzero(model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE))
    for plane in planes:
        body = model.body(model.geom_bodyid[plane]).name or str(model.geom_bodyid[plane])
        server.scene.remove_by_name(f"/fixed_bodies/{body}/{model.geom(plane).name}")
        width, depth = (2 * side if side else 40.0 for side in model.geom_size[plane, :2])
        server.scene.add_grid(
            f"/floor/{plane}",
            width=width,
            height=depth,
            plane="xy",
            cell_color=_GRID,
            section_color=_GRID,
            plane_color=_FLOOR,
            plane_opacity=1.0,
            shadow_opacity=0.25,
            position=model.geom_pos[plane],
            wxyz=model.geom_quat[plane],
        )


def place_camera(server: Any, model: Any, data: Any, camera: Any) -> None:
    """Have the page look at the scene as MuJoCo's own viewer would.

    Args:
        server: The `viser.ViserServer`.
        model: The `mujoco.MjModel`.
        data: A pose, with its cameras up to date.
        camera: Name or number of a camera of the model, -1 for the free camera, or one's own free
            `mujoco.MjvCamera`.

    Raises:
        UsageError: The model has no such camera.
    """
    view = server.initial_camera
    if isinstance(camera, mujoco.MjvCamera) or camera == -1:
        free = camera
        if camera == -1:
            free = mujoco.MjvCamera()
            mujoco.mjv_defaultFreeCamera(model, free)
        turn, tilt = np.radians([free.azimuth, free.elevation])
        ahead = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
        target, distance, fov = np.array(free.lookat), free.distance, model.vis.global_.fovy
        position = target - distance * ahead
    else:
        named = _camera(model, camera)
        position = data.cam_xpos[named.id]
        ahead = -data.cam_xmat[named.id].reshape(3, 3)[:, 2]
        # Orbit about the point on the optical axis that is nearest to the middle of the model.
        target = position + ahead * max(float(ahead @ (model.stat.center - position)), 0.1)
        fov = float(model.cam_fovy[named.id])
    view.position, view.look_at, view.fov = position, target, math.radians(fov)


HAND_VIEWS: Mapping[str, tuple[Place, Place]] = {
    "hand": ((-0.75, 0.55, 0.65), (0.05, 0.0, -0.05)),
    "above": ((-0.05, 0.0, 1.3), (0.0, 0.0, 0.0)),
}
"""Where to look from, and at, relative to the hand: ahead, left, up [m]."""


def hand_view(view: str, hand: FloatArray, yaw: float) -> tuple[FloatArray, FloatArray]:
    """Where to look from, and at, to see the hand, (3,) each [m].

    Args:
        view: One of `HAND_VIEWS`.
        hand: Position of the end effector, (3,) [m].
        yaw: Heading of the base [rad].
    """
    cos, sin = np.cos(yaw), np.sin(yaw)
    position, target = (
        np.add(hand, [x * cos - y * sin, x * sin + y * cos, z]) for x, y, z in HAND_VIEWS[view]
    )
    return position, target


def look(server: Any, position: FloatArray, target: FloatArray) -> None:
    """Move the camera of every page of a `viser.ViserServer`."""
    for client in server.get_clients().values():
        # viser refuses a place that a page has its camera at already.
        with contextlib.suppress(ValueError), client.atomic():
            client.camera.position, client.camera.look_at = position, target


def _camera(model: Any, camera: str | int) -> Any:
    try:
        return model.camera(camera)
    except (KeyError, IndexError):
        names = [model.camera(number).name for number in range(model.ncam)]
        raise unknown_name("camera", str(camera), names) from None
