"""Replay as one self-contained web page: the whole scene in 3-D, with a time bar."""

import contextlib
import copy
import html
import io
import math
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
import viser
from mjviser import ViserMujocoScene

from vand_demos.files import write_bytes
from vand_envs.errors import unknown_name
from vand_robot.viewer.motion import poses

FRAMES_PER_S = 30.0
"""Least frame rate; slower recordings get frames between their samples."""

# Light. viser's own washes the colours out, casts hardly a shadow, and comes with an image of
# surroundings that makes the page flash white whenever the replay begins anew.
_AMBIENT = 3.0
_KEY, _KEY_AT = 2.6, (1.5, -2.5, 5.0)
_FILL, _FILL_AT = 1.2, (-3.0, 3.0, 4.0)
_FLOOR = (226, 224, 220)  # Drawn in place of planes, which would be an endless black grid.
_GRID = (205, 203, 199)
_HEADING = Template("""
<style>
  .mantine-Notifications-root { display: none; }
  #heading { position: fixed; top: 0; left: 0; right: 0; padding: 14px 20px 26px; z-index: 5;
    pointer-events: none; font-family: system-ui, sans-serif; color: #16202b;
    background: linear-gradient(rgba(255, 255, 255, .92), rgba(255, 255, 255, 0)); }
  #heading h1 { margin: 0; font-size: 19px; font-weight: 600; }
  #heading p { margin: 3px 0 0; font-size: 14px; color: #51606f; white-space: pre-line; }
</style>
<div id="heading"><h1>$title</h1><p>$caption</p></div>
""")


def write_html(
    model: Any,
    motion: npt.ArrayLike,
    dt: float,
    path: str | Path,
    *,
    title: str = "replay",
    caption: str = "",
    camera: str | int = -1,
) -> int:
    """Write a recorded motion as a page that needs no server and no network.

    Args:
        model: The `mujoco.MjModel`; left as it was.
        motion: Joint positions, shape (T, nq), or integration states, shape (T, S), which also
            hold mocap bodies.
        dt: Time between samples [s].
        path: The file; it appears when it is whole.
        title: Heading of the page and name of its tab.
        caption: Text below the heading; may have several lines.
        camera: Where to look from at first: name or number of a camera of the model; -1: the free
            camera.

    Returns:
        The size of the page [bytes].

    Raises:
        UsageError: The model has no such camera.
        VandError: The motion does not fit the model, or the disk fails.
    """
    model = copy.copy(model)  # mjviser rescales the model's overlays
    steps = max(1, math.ceil(FRAMES_PER_S * dt - 1e-9))
    with _server() as server:
        scene = ViserMujocoScene(server, model, num_envs=1)
        scene.camera_tracking_enabled = False
        _light(server)
        _lay_floor(server, model)
        frames = poses(model, motion, steps)
        first = next(frames)
        _place_camera(server, model, first, camera)
        scene.update_from_mjdata(first)
        recorder = server.get_scene_serializer()  # begins with the scene as it is now
        for data in frames:
            recorder.insert_sleep(dt / steps)
            scene.update_from_mjdata(data)
        page = recorder.as_html()
    content = _with_heading(page, title, caption).encode()
    write_bytes(Path(path), content)
    return len(content)


@contextlib.contextmanager
def _server() -> Iterator[Any]:
    """A viser server that only this machine can reach, on a free port, and that says nothing."""
    with contextlib.redirect_stdout(io.StringIO()):
        server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
        try:
            yield server
        finally:
            server.stop()


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


def _place_camera(server: Any, model: Any, data: Any, camera: str | int) -> None:
    """Look at the scene as MuJoCo's own viewer would."""
    view = server.initial_camera
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


def _camera(model: Any, camera: str | int) -> Any:
    try:
        return model.camera(camera)
    except (KeyError, IndexError):
        names = [model.camera(number).name for number in range(model.ncam)]
        raise unknown_name("camera", str(camera), names) from None


def _with_heading(page: str, title: str, caption: str) -> str:
    """Add the title and the caption, which viser's recordings cannot hold."""
    heading = _HEADING.substitute(title=html.escape(title), caption=html.escape(caption))
    head, body = page.index("<title>"), page.rindex("</body>")
    end = page.index("</title>", head)
    named = f"{page[:head]}<title>{html.escape(title)}{page[end:body]}"
    return f"{named}{heading}{page[body:]}"
