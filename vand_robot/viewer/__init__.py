"""Replay of recorded motion: a video, or one web page with the whole scene."""

from vand_robot.viewer.html import write_html
from vand_robot.viewer.video import write_video

__all__ = ["write_html", "write_video"]
