"""Replay as one self-contained web page: the whole scene in 3-D, with a time bar."""

import html
import math
from pathlib import Path
from string import Template
from typing import Any

import numpy.typing as npt

from vand_demos.system.files import write_bytes
from vand_demos.ui.web_scene import add_scene, place_camera
from vand_demos.ui.web_server import web_server
from vand_robot.viewer.motion import poses

FRAMES_PER_S = 30.0
"""Least frame rate; slower recordings get frames between their samples."""

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
    camera: Any = -1,
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
        camera: Where to look from at first: name or number of a camera of the model, -1 for the
            free camera, or one's own free `mujoco.MjvCamera`.

    Returns:
        The size of the page [bytes].

    Raises:
        UsageError: The model has no such camera.
        VandError: The motion does not fit the model, or the disk fails.
    """
    steps = max(1, math.ceil(FRAMES_PER_S * dt - 1e-9))
    with web_server() as page_server:
        server = page_server.viser
        scene = add_scene(server, model)
        frames = poses(model, motion, steps)
        first = next(frames)
        place_camera(server, model, first, camera)
        scene.update_from_mjdata(first)
        recorder = server.get_scene_serializer()  # begins with the scene as it is now
        for data in frames:
            recorder.insert_sleep(dt / steps)
            scene.update_from_mjdata(data)
        page = recorder.as_html()
    content = _with_heading(page, title, caption).encode()
    write_bytes(Path(path), content)
    return len(content)


def _with_heading(page: str, title: str, caption: str) -> str:
    """Add the title and the caption, which viser's recordings cannot hold."""
    heading = _HEADING.substitute(title=html.escape(title), caption=html.escape(caption))
    head, body = page.index("<title>"), page.rindex("</body>")
    end = page.index("</title>", head)
    named = f"{page[:head]}<title>{html.escape(title)}{page[end:body]}"
    return f"{named}{heading}{page[body:]}"
