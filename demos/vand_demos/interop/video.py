"""Frames of video files, through `av` (FFmpeg's libraries)."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vand_demos.system.files import library_errors, require_regular
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError


def decode_frames(
    path: Path, start_s: float, count: int, fps: float, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Decode a run of frames.

    Args:
        path: The video.
        start_s: Time of the first frame [s].
        count: Frames, N.
        fps: Frames a second.
        size: Height and width that every frame must have [pixel].

    Returns:
        (N, H, W, 3) RGB.

    Raises:
        VandError: It does not decode, frames are missing or of another size, `av` is missing, or
            they take more memory than `VAND_MAX_BYTES`.
    """
    try:
        import av  # noqa: PLC0415  (sets without video need none)
    except ModuleNotFoundError:
        install = "pip install 'vand-robot[lerobot]'"
        raise VandError(f"{path}: video needs the package 'av': {install}") from None
    require_regular(path)
    require_room(str(path), count * math.prod(size) * 3)
    with library_errors("decode", path, "av"):
        try:
            frames = _decoded(path, start_s, count, fps, size)
        except av.FFmpegError as error:
            raise VandError(f"cannot decode {path}: {error.strerror or error}") from None
    if len(frames) < count:
        raise VandError(
            f"{path}: expected {count} frames from {start_s:.3f} s on, got {len(frames)}"
        )
    return np.stack(frames)


def _decoded(
    path: Path, start_s: float, count: int, fps: float, size: tuple[int, int]
) -> list[NDArray[np.uint8]]:
    import av  # noqa: PLC0415

    half = 0.5 / fps
    frames: list[NDArray[np.uint8]] = []
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise VandError(f"{path}: expected a video, got none in it")
        stream = container.streams.video[0]
        got = (stream.codec_context.height, stream.codec_context.width)
        if got != size:  # told before anything is decoded
            raise VandError(f"{path}: expected {size[0]} x {size[1]}, got {got[0]} x {got[1]}")
        if start_s > 0 and stream.time_base:
            container.seek(int(start_s / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.time is None or frame.time < start_s - half:
                continue
            late = frame.time - (start_s + len(frames) / fps)
            if abs(late) > half:
                raise VandError(
                    f"{path}: frame at {frame.time:.3f} s: expected one at"
                    f" {start_s + len(frames) / fps:.3f} s, at {fps:g} frames a second"
                )
            if (frame.height, frame.width) != size:
                raise VandError(f"{path}: a frame of {frame.height} x {frame.width} among {size}")
            frames.append(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            if len(frames) == count:
                break
    return frames
