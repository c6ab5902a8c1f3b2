"""Replays: in the browser, in a native window, as one web page with the whole scene, as a video."""

from vand_robot.viewer.html import write_html
from vand_robot.viewer.video import write_video

__all__ = ["write_html", "write_video"]
