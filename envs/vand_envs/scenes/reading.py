"""Reading a scene: MJCF, its includes and its files, from one folder and from nowhere else."""

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from xml.parsers import expat

import mujoco

from vand_envs.errors import UsageError, VandError
from vand_envs.robot import ROBOT_PREFIX
from vand_envs.robots.packages import Source
from vand_envs.scenes.scene import ASSETS_PREFIX, Scene, SceneOptions

MAX_TEXT_BYTES = 1 << 22
"""Longer scenes are refused [bytes], as the worlds of data sets are."""

MAX_INCLUDES = 64
"""Files that one scene may include."""

_REFUSED = ("plugin", "extension", "model", "attach")
"""Elements that load code, or models of other files."""

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
    source = Source("", "", path.resolve().parent)
    text = _text(source, path.name, path.name)
    included = dict(_includes(source, text, path.name))
    spec = _parsed(text, included, path.name)
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


def _text(source: Source, name: str, scene: str) -> str:
    """The text of a file of the scene, which holds nothing that is refused."""
    content = source.read(name)
    if len(content) > MAX_TEXT_BYTES:
        raise VandError(f"{name}: expected at most {MAX_TEXT_BYTES} bytes, got {len(content)}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise VandError(f"{name}: expected MJCF, text in UTF-8") from None
    for element, _ in _elements(text, name):
        if element in _REFUSED:
            raise VandError(
                f"{scene}: <{element}> is refused in a scene: it loads other models or code"
            )
    return text


def _elements(text: str, name: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every element with its attributes."""
    found: list[tuple[str, Mapping[str, str]]] = []
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda element, attributes: found.append((element, attributes))
    parser.StartDoctypeDeclHandler = partial(_refuse_doctype, name)
    try:
        parser.Parse(text, True)  # noqa: FBT003  (positional only)
    except expat.ExpatError as error:
        raise VandError(f"{name}: expected MJCF: {error}") from None
    yield from found


def _refuse_doctype(name: str, *_: object) -> None:
    raise VandError(f"{name}: <!DOCTYPE> is refused in a scene")


def _includes(source: Source, text: str, scene: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is included, as the text names it, at any depth."""
    waiting, seen = [text], set[str]()
    while waiting:
        for element, attributes in _elements(waiting.pop(), scene):
            name = attributes.get("file", "") if element == "include" else ""
            if not name or name in seen:
                continue
            if len(seen) == MAX_INCLUDES:
                raise VandError(f"{scene}: expected at most {MAX_INCLUDES} included files")
            seen.add(name)
            inner = _text(source, name, scene)
            waiting.append(inner)
            yield name, inner.encode()


def _parsed(text: str, included: Mapping[str, bytes], name: str) -> Any:
    try:
        return mujoco.MjSpec.from_string(text, include=dict(included))
    except ValueError as error:
        raise VandError(f"{name}: no MJCF model: {' '.join(str(error).split())[:200]}") from None


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
