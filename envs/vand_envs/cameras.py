"""Camera images as observations: which there are, and how n simulations are drawn.

An image is a function of the simulation's state alone: it does not depend on n, on what was drawn
before, or on whether the state was just reached or read from a file.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import mujoco
import numpy as np

from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.rendering import Renderer
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.typing import FloatArray, ImageArray

IMAGE_CAMERAS: dict[str, str] = {"head_rgb": "head", "wrist_rgb": "wrist"}
"""Image observation -> the robot's camera, by its name in the robot's own MJCF."""

MAX_SIDE_PX = 1024
"""Longest side of an image observation [pixel]."""

ImageSizes = Mapping[str, tuple[int, int]]
"""Image observation -> (height, width) [pixel]."""


def image_sizes(sizes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """Checks which images are asked for.

    Args:
        sizes: Image observation -> height and width [pixel]; empty for none.

    Returns:
        The same, as plain tuples in the order of `IMAGE_CAMERAS`.

    Raises:
        UsageError: There is no such camera, or no such size.
    """
    for key, size in sizes.items():
        if key not in IMAGE_CAMERAS:
            raise unknown_name("image observation", key, IMAGE_CAMERAS)
        sides = list(size) if isinstance(size, Sequence) else []
        if len(sides) != 2 or not all(type(s) is int and 1 <= s <= MAX_SIDE_PX for s in sides):
            raise UsageError(
                f"size of {key}: expected height and width, 1 to {MAX_SIDE_PX} pixels, got {size!r}"
            )
    return {key: (sizes[key][0], sizes[key][1]) for key in IMAGE_CAMERAS if key in sizes}


def parse_size(name: str, text: str) -> tuple[int, int]:
    """Width and height [pixel] in a text.

    Args:
        name: What has the size, for the message.
        text: `"WIDTHxHEIGHT"`.

    Raises:
        UsageError: The text has another form.
    """
    sides = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not sides:
        raise UsageError(f"{name}: expected WIDTHxHEIGHT such as 64x64, got {text!r}")
    return int(sides[1]), int(sides[2])


def parse_image_sizes(keys: str, size: str) -> dict[str, tuple[int, int]]:
    """The images that a command line asks for.

    Args:
        keys: Image observations, with commas between: `"head_rgb,wrist_rgb"`; empty for none.
        size: `"WIDTHxHEIGHT"` [pixel], as pictures are measured.

    Raises:
        UsageError: There is no such camera, or no such size.
    """
    width, height = parse_size("image size", size)
    return image_sizes({key.strip(): (height, width) for key in keys.split(",") if key.strip()})


class Cameras:
    """Draws the images that the cameras of a robot see; a renderer is made at the first of them.

    Args:
        model: The world's model; every simulation of it looks alike (what is randomized per
            episode is seen in the state, or not at all).
        sizes: Image observation -> (height, width) [pixel]; empty for none.

    Raises:
        UsageError: There is no such camera, the robot lacks it, or no such size.
    """

    def __init__(self, model: mujoco.MjModel, sizes: Mapping[str, Sequence[int]]) -> None:
        self.sizes = image_sizes(sizes)
        known = [model.camera(i).name for i in range(model.ncam)]
        for key in self.sizes:
            if ROBOT_PREFIX + IMAGE_CAMERAS[key] not in known:
                raise unknown_name(f"camera for {key!r}:", ROBOT_PREFIX + IMAGE_CAMERAS[key], known)
        self.model = model
        self._data: Any = None
        self._renderers: dict[tuple[int, int], Renderer] = {}

    def render(self, states: FloatArray) -> dict[str, ImageArray]:
        """Draw what the cameras see.

        Args:
            states: (n, S) mjSTATE_INTEGRATION.

        Returns:
            Image observation -> fresh (n, H, W, 3) uint8; empty where there are no cameras.

        Raises:
            VandError: The states are not of this model, or no OpenGL context can be made; the line
                names the packages to install.
        """
        if not self.sizes:
            return {}
        expected = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION)
        if states.ndim != 2 or states.shape[1] != expected:
            raise VandError(
                f"states: expected shape (n, {expected}) for this world, got {states.shape}"
            )
        images = {
            key: np.empty((len(states), *size, 3), np.uint8) for key, size in self.sizes.items()
        }
        # One renderer for each size: changing between two costs a quarter of an image.
        for size, keys in groupby(sorted(self.sizes, key=self._size), self._size):
            renderer = self._renderer(size)
            cameras = [(images[key], ROBOT_PREFIX + IMAGE_CAMERAS[key]) for key in keys]
            for i, state in enumerate(states):
                mujoco.mj_setState(
                    self.model, self._data, state, mujoco.mjtState.mjSTATE_INTEGRATION
                )
                mujoco.mj_fwdPosition(self.model, self._data)
                for image, camera in cameras:
                    image[i] = renderer.render(self._data, camera)
        return images

    def close(self) -> None:
        """Free the renderers; more than once is allowed, and drawing makes new ones."""
        while self._renderers:
            self._renderers.popitem()[1].close()

    def _size(self, key: str) -> tuple[int, int]:
        return self.sizes[key]

    def _renderer(self, size: tuple[int, int]) -> Renderer:
        if self._data is None:
            self._data = mujoco.MjData(self.model)
        if size not in self._renderers:
            height, width = size
            self._renderers[size] = Renderer(self.model, width, height, fast=True, coarse=True)
        return self._renderers[size]
