"""Replay as a video with a caption: MP4, WebM or GIF."""

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]  # ships no types
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vand_demos.system.files import library_errors, replacing
from vand_envs.errors import UsageError, VandError, did_you_mean
from vand_envs.rendering import Renderer
from vand_robot.viewer.motion import even_places, poses_at, timed_places

FRAMES_PER_S = 20.0
"""Least frame rate unless one is asked for; slower recordings get frames between their samples."""
SIZE = (640, 480)
"""Width and height unless others are asked for [pixel]."""
MAX_SIDE_PX = 4096
"""Longest side of a video [pixel]."""
MAX_FRAMES_PER_S = 120.0
"""Highest frame rate that can be asked for."""

_FULL = "the disk is full"
_LEAST_BYTES = 64 * 1024
"""A disk with less free space than this is full [bytes]."""

_SUPERSAMPLING = 2  # In software rendering cheaper and smoother than multisampling.
_QUALITY = 7  # Of 10, as imageio counts.


@dataclass(frozen=True)
class VideoFormat:
    """How FFmpeg writes a kind of video."""

    codec: str
    """FFmpeg's name of the encoder."""
    options: tuple[str, ...]
    """FFmpeg's options; the file's temporary name does not tell its kind."""
    quality: float | None = None
    """Quality, of 10, where imageio sets it."""
    pixels: str = "yuv420p"
    """FFmpeg's name of the pixel format."""


VIDEO_FORMATS: Mapping[str, VideoFormat] = {
    ".mp4": VideoFormat("libx264", ("-f", "mp4", "-movflags", "+faststart"), _QUALITY),
    ".webm": VideoFormat(
        "libvpx-vp9",
        # constant quality; row-mt and deadline: several times faster, hardly larger
        ("-f", "webm", "-crf", "32", "-b:v", "0", "-row-mt", "1", "-deadline", "realtime"),
    ),
    ".gif": VideoFormat(
        "gif",
        # a palette made for this video: the standard one has bands
        ("-f", "gif", "-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=bayer"),
        pixels="pal8",
    ),
}
"""Ending of the file -> how it is written."""


def require_video(path: Path, size: tuple[int, int], fps: float | None) -> VideoFormat:
    """Check that a video can be written under that name.

    Args:
        path: The file.
        size: Width and height [pixel].
        fps: Frames per second; None for the default.

    Returns:
        The format that its ending names.

    Raises:
        UsageError: No such format, size or rate.
    """
    ending = path.suffix.lower()
    if ending not in VIDEO_FORMATS:
        known = ", ".join(VIDEO_FORMATS)
        raise UsageError(
            f"{path}: a video's name ends in one of {known}{did_you_mean(ending, VIDEO_FORMATS)}"
        )
    width, height = size
    if width % 2 or height % 2:
        raise UsageError(f"a video's width and height must be even, not {width}x{height}")
    if min(size) < 2 or max(size) > MAX_SIDE_PX:
        raise UsageError(
            f"a video's width and height: expected 2 to {MAX_SIDE_PX}, got {width}x{height}"
        )
    if fps is not None and not 1 <= fps <= MAX_FRAMES_PER_S:
        raise UsageError(f"fps: expected 1 to {MAX_FRAMES_PER_S:g}, got {fps:g}")
    return VIDEO_FORMATS[ending]


def write_video(
    model: Any,
    motion: npt.ArrayLike,
    dt: float,
    path: str | Path,
    *,
    size: tuple[int, int] = SIZE,
    fps: float | None = None,
    camera: str | int = -1,
    captions: str | Sequence[str] | None = None,
    shadows: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Draw a recorded motion as a video file, in real time.

    Args:
        model: The `mujoco.MjModel`.
        motion: Joint positions, shape (T, nq), or integration states, shape (T, S).
        dt: Time between samples [s].
        path: The file; it appears when it is whole. Its ending is one of `VIDEO_FORMATS`.
        size: Width and height, both even [pixel].
        fps: Frames per second; by default a whole number a sample, at least `FRAMES_PER_S`.
        camera: Name or number of a camera of the model; -1: the free camera.
        captions: Text beside the time: one, or one per sample; None: no caption, no time.
        shadows: Draw shadows, about five times more slowly in software.
        progress: Called after each frame with the frames done and their number.

    Returns:
        The number of frames.

    Raises:
        UsageError: No such format, size or rate, or the captions are not one per sample.
        VandError: The motion does not fit the model, nothing can be rendered, or the disk fails.
    """
    written_as, samples = require_video(Path(path), size, fps), len(np.asarray(motion))
    if captions is not None and not isinstance(captions, str) and len(captions) != samples:
        raise UsageError(f"{len(captions)} captions for {samples} samples")
    if fps is None:
        steps = max(1, math.ceil(FRAMES_PER_S * dt - 1e-9))
        places, fps = even_places(samples, steps), steps / dt
    else:
        places = timed_places(samples, dt, fps)
    scale = 1 if shadows else _SUPERSAMPLING
    width, height = (side * scale for side in size)
    with (
        Renderer(model, width, height, camera, fast=not shadows) as renderer,
        _encoder(Path(path), written_as, size, fps) as encode,
    ):
        for frame, data in enumerate(poses_at(model, motion, places)):
            picture = Image.fromarray(renderer.render(data))
            if scale > 1:
                picture = picture.reduce(scale)
            if captions is not None:
                text = captions if isinstance(captions, str) else captions[places[frame][0]]
                picture = _captioned(picture, text, f"{sum(places[frame]) * dt:.1f} s")
            encode(picture)
            if progress is not None:
                progress(frame + 1, len(places))
    return len(places)


@contextlib.contextmanager
def _encoder(
    path: Path, written_as: VideoFormat, size: tuple[int, int], fps: float
) -> Iterator[Callable[[Image.Image], None]]:
    """A function that adds a picture to the video, which appears at `path` when the block ends."""
    with replacing(path, path.parent) as temporary:
        ffmpeg = imageio_ffmpeg.write_frames(
            str(temporary),
            size,
            fps=fps,
            codec=written_as.codec,
            quality=written_as.quality,
            pix_fmt_out=written_as.pixels,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=list(written_as.options),
        )
        with _ffmpeg_errors(path):
            ffmpeg.send(None)

        def encode(picture: Image.Image) -> None:
            with _ffmpeg_errors(path):
                ffmpeg.send(picture.tobytes())

        try:
            yield encode
        finally:
            ffmpeg.close()  # waits until all is written
        if not temporary.exists() or _is_full(path):  # FFmpeg may say it too late for a picture
            raise VandError(f"cannot write {path}: {_FULL if _is_full(path) else 'FFmpeg failed'}")


@contextlib.contextmanager
def _ffmpeg_errors(path: Path) -> Iterator[None]:
    """Turns what FFmpeg complains of into one line, without its command."""
    try:
        with library_errors("write", path, "imageio_ffmpeg"):
            yield
    except VandError as error:
        text = str(error.__cause__ or error)
        if "No space left" in text or _is_full(path):
            raise VandError(f"cannot write {path}: {_FULL}") from error
        if "FFMPEG COMMAND" not in text:
            raise
        raise VandError(f"cannot write {path}: FFmpeg stopped") from error


def _is_full(path: Path) -> bool:
    """Whether the disk of a file has no room for another picture."""
    return shutil.disk_usage(path.parent).free < _LEAST_BYTES


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
