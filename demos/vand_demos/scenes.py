"""Scenes of one's own in recordings: read with care, and known again from what is stored."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vand_demos.embedded import MeshFiles, load_model
from vand_demos.system.isolation import LostProcessError, run_apart
from vand_envs.errors import VandError, unknown_name
from vand_envs.scenes import Scene, SceneOptions, read_scene

READING_MEMORY_BYTES = 1 << 31
"""Limit of memory for reading and compiling somebody's scene [bytes]."""
READING_PATIENCE_S = 60.0
"""Limit of time for that [s]."""

_ADOPTED: dict[str, Scene] = {}
_TRIED: set[str] = set()


def open_scene(path: str | Path, options: SceneOptions) -> Scene:
    """Read somebody's MJCF file: first in a process whose memory and time are limited.

    Raises:
        UsageError: There is no such file, or its names are a robot's; see `read_scene`.
        VandError: It is no MJCF, loads what it may not, or takes too much memory or time.
    """
    if Path(path).is_file():
        try:
            for _ in run_apart(
                "vand_demos.scenes:iterate_reading",
                [str(path), options.task],
                patience_s=READING_PATIENCE_S,
                memory_bytes=READING_MEMORY_BYTES,
            ):
                pass
        except LostProcessError as error:
            raise VandError(f"{path}: reading it for trial, MuJoCo {error}") from error
    scene = read_scene(path, options)
    _TRIED.add(scene.id)
    return _ADOPTED.setdefault(scene.id, scene)


def iterate_reading(path: str, task: str) -> Iterator[str]:
    """Read and compile a scene, to see what that takes.

    Yields:
        What has been done.

    Raises:
        VandError: It is refused.
    """
    yield read_scene(path, SceneOptions(task)).name


def adopt_scene(record: Mapping[str, Any], what: str) -> Scene:
    """Make the scene of a data set or a policy known; nothing is compiled of it yet.

    Args:
        record: The record.
        what: The file it is in, for messages.

    Raises:
        VandError: The record is damaged.
    """
    scene = Scene.of_record(record, what)
    return _ADOPTED.setdefault(scene.id, scene)


def get_scene(scene_id: str) -> Scene | None:
    """The scene of that id, once it has proved harmless; None of the workshop, whose id is empty.

    Raises:
        UsageError: Nothing here has brought it.
        VandError: It is refused, or a file of it is missing or has changed.
    """
    if not scene_id:
        return None
    if scene_id not in _ADOPTED:
        raise unknown_name("scene", scene_id, _ADOPTED)
    scene = _ADOPTED[scene_id]
    if scene_id not in _TRIED:
        load_model(scene.text, MeshFiles(scene.files()))
        _TRIED.add(scene_id)
    return scene
