"""Plot of a policy's memory: the path of its recurrent state in its two main directions."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vand_envs.typing import FloatArray
from vand_robot.nn.diagnostics import pca
from vand_robot.viewer.episodes import Frame

SIZE = (360, 200)
"""Width and height of the picture [pixel]."""

_FEWEST = 3  # states that two directions can be found for
_SCALE = 2  # drawn larger and reduced, for smooth lines
_MARGIN = 24
_GROUND, _FAINT, _INK = "#ffffff", "#c4ccd4", "#51606f"
_COLORS = ("#3465a4", "#d9730d", "#2e8b57", "#a23b72", "#8a6d1d", "#4b4fa6", "#0b7a75", "#b23a48")


class MemoryPlot:
    """Draws the path; its directions are found anew from all frames that are known."""

    def __init__(self) -> None:
        self._directions: FloatArray | None = None  # (2, M)

    def draw(self, frames: Sequence[Frame], step: int) -> NDArray[np.uint8]:
        """Draw the path up to a frame, (H, W, 3); a new color begins with each stage.

        The path after that frame is faint. Directions keep their sign from one picture to the next.

        Args:
            frames: Frames of the episode that are known.
            step: Index of the frame that is shown.
        """
        width, height = (side * _SCALE for side in SIZE)
        picture = Image.new("RGB", (width, height), _GROUND)
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=11 * _SCALE)
        known = [frame.memory for frame in frames if frame.memory is not None]
        missing = len(frames) - len(known)  # before the first action there is no memory
        if len(known) < _FEWEST:
            draw.text((width / 2, height / 2), "memory: not yet", _INK, font, anchor="mm")
            return _reduced(picture)
        path, shares = self._project(np.stack(known))
        low, span = path.min(axis=0), max(float(np.ptp(path, axis=0).max()), 1e-9)
        room = np.subtract((width, height), 2 * _MARGIN * _SCALE)
        scale = float(room.min()) / span
        shift = (np.array((width, height)) - scale * np.ptp(path, axis=0)) / 2
        points = [(x, height - y) for x, y in (path - low) * scale + shift]
        draw.line(points, _FAINT, _SCALE)
        now = min(max(step - missing, 0), len(points) - 1)
        for i in range(now):
            color = _COLORS[frames[i + missing].stages_done % len(_COLORS)]
            draw.line(points[i : i + 2], color, 2 * _SCALE)
        x, y = points[now]
        radius = 5 * _SCALE
        color = _COLORS[frames[now + missing].stages_done % len(_COLORS)]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), color, "white", _SCALE)
        text = f"memory: 2 of {known[0].size} directions, {100 * shares.sum():.0f} % of its motion"
        draw.text((width / 2, height - 6 * _SCALE), text, _INK, font, anchor="ms")
        return _reduced(picture)

    def _project(self, states: NDArray[np.float32]) -> tuple[FloatArray, FloatArray]:
        """The path (T, 2) of states (T, M), and the share of the variance along each direction."""
        found = pca(torch.from_numpy(states), 2)
        directions = found.components.double().numpy()
        if self._directions is not None and self._directions.shape == directions.shape:
            signs = np.where((directions * self._directions).sum(axis=1) < 0, -1.0, 1.0)
            directions = directions * signs[:, None]
        self._directions = directions
        path = (states - found.mean.numpy()) @ directions.T
        return path, found.explained.double().numpy()


def _reduced(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.reduce(_SCALE))
