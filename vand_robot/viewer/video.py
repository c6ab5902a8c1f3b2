"""Replay as a video: MP4, H.264, with a caption."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]  # ships no types
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vand_demos.system.files import library_errors, replacing
from vand_envs.errors import UsageError
from vand_envs.rendering import Renderer
from vand_robot.viewer.motion import count_poses, poses

FRAMES_PER_S = 20.0
"""Least frame rate; slower recordings get frames between their samples."""

_SUPERSAMPLING = 2  # In software rendering cheaper and smoother than multisampling.
_QUALITY = 7  # Of 10, as imageio counts.


def write_video(
    model: Any,
    motion: npt.ArrayLike,
    dt: float,
    path: str | Path,
    *,
    size: tuple[int, int] = (640, 480),
    camera: str | int = -1,
    captions: str | Sequence[str] | None = None,
    shadows: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Draw a recorded motion as an MP4 file, in real time.

    Args:
        model: The `mujoco.MjModel`.
        motion: Joint positions, shape (T, nq), or integration states, shape (T, S).
        dt: Time between samples [s].
        path: The file; it appears when it is whole.
        size: Width and height, both even [pixel].
        camera: Name or number of a camera of the model; -1: the free camera.
        captions: What stands in the picture beside the time: one text (the instruction), or one
            per sample (with the stage); None: no caption, no time.
        shadows: Draw shadows, about five times more slowly in software.
        progress: Called after each frame with the frames done and their number.

    Returns:
        The number of frames.

    Raises:
        UsageError: The size is odd, or the captions are not one per sample.
        VandError: The motion does not fit the model, nothing can be rendered, or the disk fails.
    """
    path = Path(path)
    samples = len(np.asarray(motion))
    width, height = size
    if width % 2 or height % 2 or min(size) < 2:
        raise UsageError(f"a video's width and height must be even, not {width}x{height}")
    if captions is not None and not isinstance(captions, str) and len(captions) != samples:
        raise UsageError(f"{len(captions)} captions for {samples} samples")
    steps = max(1, math.ceil(FRAMES_PER_S * dt - 1e-9))
    total = count_poses(samples, steps)
    scale = 1 if shadows else _SUPERSAMPLING
    with (
        Renderer(model, width * scale, height * scale, camera, fast=not shadows) as renderer,
        _encoder(path, size, steps / dt) as encode,
    ):
        for frame, data in enumerate(poses(model, motion, steps)):
            picture = Image.fromarray(renderer.render(data))
            if scale > 1:
                picture = picture.reduce(scale)
            if captions is not None:
                text = captions if isinstance(captions, str) else captions[frame // steps]
                picture = _captioned(picture, text, f"{frame * dt / steps:.1f} s")
            encode(picture)
            if progress is not None:
                progress(frame + 1, total)
    return total


@contextlib.contextmanager
def _encoder(
    path: Path, size: tuple[int, int], fps: float
) -> Iterator[Callable[[Image.Image], None]]:
    """A function that adds a picture to the video, which appears at `path` when the block ends."""
    with replacing(path, path.parent) as temporary:
        ffmpeg = imageio_ffmpeg.write_frames(
            str(temporary),
            size,
            fps=fps,
            codec="libx264",
            quality=_QUALITY,
            macro_block_size=2,
            output_params=["-f", "mp4", "-movflags", "+faststart"],  # its name does not tell mp4
        )
        with library_errors("write", path, "imageio_ffmpeg"):
            ffmpeg.send(None)

        def encode(picture: Image.Image) -> None:
            with library_errors("write", path, "imageio_ffmpeg"):
                ffmpeg.send(picture.tobytes())

        try:
            yield encode
        finally:
            ffmpeg.close()  # waits until all is written


def _captioned(picture: Image.Image, text: str, time: str) -> Image.Image:
    """The picture with a dark band at its foot: the text on the left, the time on the right."""
    width, height = picture.size
    letters = max(10, height // 26)  # [pixel]
    font = ImageFont.load_default(size=letters)
    band = round(2.1 * letters)
    pad, middle = band // 3, height - band // 2
    shade = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(shade)
    draw.rectangle((0, height - band, width, height), fill=(18, 24, 32, 190))
    draw.text((width - pad, middle), time, "#c9d4df", font, anchor="rm")
    room = width - 3 * pad - font.getlength(time)
    draw.text((pad, middle), _shortened(text, room, font), "white", font, anchor="lm")
    return Image.alpha_composite(picture.convert("RGBA"), shade).convert("RGB")


def _shortened(text: str, room: float, font: Any) -> str:
    text = " ".join(text.split())  # one line
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
