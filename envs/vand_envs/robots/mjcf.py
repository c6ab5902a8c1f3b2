"""MJCF of others: its text and its includes are read from one folder, and nothing else is."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from xml.parsers import expat

import mujoco

from vand_envs.errors import VandError
from vand_envs.robots.bounds import require_small_model
from vand_envs.robots.packages import Source

MAX_TEXT_BYTES = 1 << 22
"""Longer texts are refused [bytes], as the worlds of data sets are."""

MAX_INCLUDES = 64
"""Files that one model may include."""

_REFUSED = ("plugin", "extension", "model", "attach")
"""Elements that load code, or models of other files."""


def read_mjcf(source: Source, path: str) -> Any:
    """The `mujoco.MjSpec` of a file, with what it includes; not compiled yet.

    Args:
        source: The folder that file and includes lie in.
        path: The file below it.

    Raises:
        VandError: It is no MJCF, loads plugins or other models, is too large, or reaches out of the
            folder.
    """
    text = _text(source, path)
    included = dict(_includes(source, text, PurePosixPath(path).parent))
    try:
        return mujoco.MjSpec.from_string(text, include=included)
    except ValueError as error:
        raise VandError(f"{path}: no MJCF model: {' '.join(str(error).split())[:200]}") from None


def _text(source: Source, path: str) -> str:
    """The text of one file, which holds nothing that is refused."""
    content = source.read(path)
    if len(content) > MAX_TEXT_BYTES:
        raise VandError(f"{path}: expected at most {MAX_TEXT_BYTES} bytes, got {len(content)}")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise VandError(f"{path}: expected MJCF, text in UTF-8") from None
    require_small_model(content, path)
    for element, _ in _elements(text, path):
        if element in _REFUSED:
            raise VandError(f"{path}: <{element}> is refused: it loads code or other models")
    return text


def _elements(text: str, path: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every element with its attributes."""
    found: list[tuple[str, Mapping[str, str]]] = []
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = lambda element, attributes: found.append((element, attributes))
    parser.StartDoctypeDeclHandler = partial(_refuse_doctype, path)
    try:
        parser.Parse(text, True)  # noqa: FBT003  (positional only)
    except expat.ExpatError as error:
        raise VandError(f"{path}: expected MJCF: {error}") from None
    yield from found


def _refuse_doctype(path: str, *_: object) -> None:
    raise VandError(f"{path}: <!DOCTYPE> is refused")


def _includes(source: Source, text: str, folder: PurePosixPath) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is included, as the text names it, at any depth."""
    waiting, seen = [text], set[str]()
    while waiting:
        for element, attributes in _elements(waiting.pop(), str(folder)):
            name = attributes.get("file", "") if element == "include" else ""
            if not name or name in seen:
                continue
            if len(seen) == MAX_INCLUDES:
                raise VandError(f"{name}: expected at most {MAX_INCLUDES} included files")
            seen.add(name)
            inner = _text(source, (folder / name).as_posix())
            waiting.append(inner)
            yield name, inner.encode()
