"""Replay as one self-contained web page: the whole scene in 3-D, with a time bar."""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
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
  [data-mantine-color-scheme="dark"] #heading { color: #f1f3f5;
    background: linear-gradient(rgba(26, 27, 30, .92), rgba(26, 27, 30, 0)); }
  [data-mantine-color-scheme="dark"] #heading p { color: #f1f3f5; text-shadow: 0 0 4px #000; }
</style>
<div id="heading"><h1>$title</h1><p>$caption</p></div>
""")

_MARKS = Template("""
<style>
  .mantine-Slider-trackContainer { position: relative; }
  #marks { position: absolute; inset: 0; pointer-events: none; z-index: 3; }
  #marks i { position: absolute; top: -5px; bottom: -5px; width: 15px; margin-left: -7.5px;
    pointer-events: auto; cursor: pointer; }
  #marks i::before { content: ""; position: absolute; top: 0; bottom: 0; left: 6px; width: 3px;
    border-radius: 1px; background: #c92a2a; outline: 1px solid #fff; }
  #marks b { display: none; position: absolute; bottom: 100%; margin-bottom: 14px; padding: 4px 9px;
    border-radius: 4px; width: max-content; max-width: 45vw; font: 500 13px system-ui, sans-serif;
    color: #fff; background: #16202b; border: 1px solid #fff; }
  #marks i:hover b { display: block; }
  [data-mantine-color-scheme="dark"] #marks i::before { background: #ff8787; outline-color: #000; }
  [data-mantine-color-scheme="dark"] #marks b { color: #16202b; background: #f1f3f5; }
</style>
<div id="marks" hidden>$marks</div>
<script>
  // The time bar is there once the recording is unpacked; the marks then become a part of it.
  const marks = document.getElementById("marks");
  new MutationObserver(() => {
    const bar = [...document.querySelectorAll(".mantine-Slider-trackContainer")].pop();
    if (bar && marks.parentElement !== bar) { marks.hidden = false; bar.append(marks); }
  }).observe(document.body, {childList: true, subtree: true});
</script>
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
    marks: Sequence[tuple[float, str]] = (),
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
        marks: Moments to mark on the time bar: time [s], and the label that is shown on hovering.

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
    length_s = (len(np.asarray(motion)) - 1) * dt
    content = _completed(page, title, caption, _marked(marks, length_s)).encode()
    write_bytes(Path(path), content)
    return len(content)


def _completed(page: str, title: str, caption: str, marks: str) -> str:
    """Add what viser's recordings cannot hold: the title, the caption, and the marks."""
    heading = _HEADING.substitute(title=html.escape(title), caption=html.escape(caption))
    head, body = page.index("<title>"), page.rindex("</body>")
    end = page.index("</title>", head)
    named = f"{page[:head]}<title>{html.escape(title)}{page[end:body]}"
    return f"{named}{heading}{marks}{page[body:]}"


def _marked(marks: Sequence[tuple[float, str]], length_s: float) -> str:
    """The marks as a part of the page; each label opens towards the middle of the bar."""
    parts = [
        f'<i style="left: {100 * time_s / length_s:.3f}%">'
        f'<b style="{"left" if time_s < length_s / 2 else "right"}: 0">{html.escape(label)}</b></i>'
        for time_s, label in marks
        if 0 <= time_s <= length_s and length_s > 0
    ]
    return _MARKS.substitute(marks="".join(parts)) if parts else ""
