"""Reading a scene: MJCF, its includes and its files, from one folder and from nowhere else."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vand_envs.errors import UsageError, VandError
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.mjcf import MAX_TEXT_BYTES, read_mjcf
from vand_envs.robots.packages import Source
from vand_envs.scenes.scene import ASSETS_PREFIX, Scene, SceneOptions

_NAMED = (
    ("body", "bodies"),
    ("joint", "joints"),
    ("geom", "geoms"),
    ("site", "sites"),
    ("actuator", "actuators"),
    ("camera", "cameras"),
    ("mesh", "meshes"),
    ("material", "materials"),
)


def read_scene(path: str | Path, options: SceneOptions) -> Scene:
    """Read an MJCF file in which a robot is to be driven.

    Args:
        path: The file. Includes, meshes, textures and height fields lie in its folder or below.
        options: What else is to be known of it.

    Raises:
        UsageError: There is no such file, or it has names that are the robot's.
        VandError: It is no MJCF, loads plugins, reaches out of its folder, or is too large.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"no scene file {path}")
    source = Source("", "", path.parent.resolve())
    spec = read_mjcf(source, path.name)
    if not np.isfinite([*spec.option.gravity, *spec.option.wind, spec.option.timestep]).all():
        raise VandError(f"{path.name}: <option>: expected numbers that are finite")
    assets = _take_assets(spec, source, path.name)
    for key in list(spec.keys):
        spec.delete(key)  # the robot has more positions than they say
    _require_free_names(spec, path.name)
    flat = _written(spec, assets, path.name)
    if len(flat.encode()) > MAX_TEXT_BYTES:
        raise VandError(f"{path.name}: expected at most {MAX_TEXT_BYTES} bytes of MJCF in all")
    hashes = {name: sha256(content).hexdigest() for name, content in assets.items()}
    return Scene(
        name=path.stem,
        text=flat,
        assets=tuple(sorted(hashes.items())),
        options=options,
        folder=str(source.root),
    )


def _take_assets(spec: Any, source: Source, scene: str) -> dict[str, bytes]:
    """Contents of the files that a scene names, which get names of their own in it."""
    if any(skin.file for skin in spec.skins):
        raise VandError(f"{scene}: <skin file=...> is refused in a scene")
    assets: dict[str, bytes] = {}
    for items, folder in (
        (spec.meshes, spec.meshdir),
        (spec.textures, spec.texturedir),
        (spec.hfields, spec.meshdir),
    ):
        for item in items:
            if any(getattr(item, "cubefiles", ())):
                raise VandError(f"{scene}: textures of several files (fileup, ...) are not read")
            if item.file:
                path = PurePosixPath(folder) / item.file
                content = source.read(path.as_posix())
                inside = (source.root / path).resolve().relative_to(source.root.resolve())
                item.name = item.name or path.stem
                item.file = ASSETS_PREFIX + inside.as_posix()
                assets[item.file] = content
    spec.meshdir = spec.texturedir = ""
    return assets


def _require_free_names(spec: Any, scene: str) -> None:
    """Raise UsageError where something has a name that is the robot's."""
    for kind, items in _NAMED:
        for item in getattr(spec, items):
            if item.name.startswith(ROBOT_PREFIX):
                raise UsageError(
                    f"{scene}: {kind} {item.name!r}: names that begin with {ROBOT_PREFIX!r} are the"
                    " robot's: expected another name, and a scene without a robot"
                )


def _written(spec: Any, assets: Mapping[str, bytes], name: str) -> str:
    """The scene as one text; it compiles."""
    spec.assets = dict(assets)
    try:
        spec.compile()
        text: str = spec.to_xml()
    except ValueError as error:
        raise VandError(f"{name}: does not compile: {' '.join(str(error).split())[:200]}") from None
    return text
