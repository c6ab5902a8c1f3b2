"""Somebody's scenes, damaged and hostile, as `record --world` reads them."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.sound import Damaged, Sound
from tests.helpers.scenes import MAIN, write_scene

_FEATURES: Mapping[str, str] = {
    "a plugin": '<extension><plugin plugin="mujoco.elasticity.cable"/></extension>',
    "includes itself": '<include file="kitchen.xml"/>',
    "includes a device": '<include file="/dev/zero"/>',
    "includes what is outside": '<include file="../../../../etc/hostname"/>',
    "a model of a file": '<asset><model name="a" file="kitchen.xml"/></asset>',
    "a skin": '<deformable><skin name="s" file="s.skn"/></deformable>',
    "a hundred million bodies": '<worldbody><replicate count="100000000" offset="1 0 0">'
    '<body><freejoint/><geom size="1"/></body></replicate></worldbody>',
    "a composite of a million": '<worldbody><body><composite type="cable" count="1000000 1 1"'
    ' initial="none" curve="s"><joint kind="main"/><geom type="capsule" size=".01"/></composite>'
    "</body></worldbody>",
    "a texture of 4 TB": '<asset><texture name="t" builtin="flat" type="2d" width="1000000"'
    ' height="1000000"/></asset>',
    "a height field of 4 TB": '<asset><hfield name="h" nrow="1000000" ncol="1000000"'
    ' size="1 1 1 1"/></asset>',
    "memory of 4 TB": '<size memory="4T"/>',
    "NaN": '<option gravity="nan inf 0"/>',
    "no time": '<option timestep="0"/>',
    "no light": "<visual><quality shadowsize='-5'/></visual>",
    "a body of a robot": '<worldbody><body name="robot/base"/></worldbody>',
    "fifty free bodies": "<worldbody>"
    + '<body pos="0 0 9"><freejoint/><geom size=".01"/></body>' * 50
    + "</worldbody>",
    "no names": '<worldbody><body pos="0 0 9"><freejoint/><geom size=".01"/></body></worldbody>',
    "a strange name": '<worldbody><body name="&#10;&#27;[31m/../x" pos="0 0 9"><freejoint/>'
    '<geom size=".01"/></body></worldbody>',
}
_FILES: Mapping[str, Callable[[Path], Any]] = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(4096)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link that leads out": lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
    "a link in a circle": lambda path: (path.unlink(), path.symlink_to(path)),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "numbers": lambda path: path.write_bytes(re.sub(rb"0\.04", b"1e400", path.read_bytes())),
}
_EDGES = ("1e300", "-1", "nan", "1e-300", "9" * 40, "", "x", "0 0", "0 " * 5000, "inf")


def _of(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


def _edge(rng: np.random.Generator, text: str) -> tuple[str, str]:
    """The text with one attribute's value at an edge, and what was done."""
    (start, end) = _of(rng, [match.span(1) for match in re.finditer(r'="([^"]*)"', text)])
    edge = _of(rng, _EDGES)
    return text[:start] + edge + text[end:], f"{text[start:end][:20]!r} is {edge[:20]!r}"


def scenes(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A scene with an element, an attribute, a file or bytes that are not as they should be."""
    del sound
    place = folder / "scene"
    how = int(rng.integers(4))
    text, what = MAIN, ""
    if how == 0:
        what = _of(rng, _FEATURES)
        text = text.replace("</mujoco>", _FEATURES[what] + "</mujoco>")
    elif how == 1:
        text, what = _edge(rng, text)
    place.mkdir()
    path = write_scene(place, text)
    if how == 2:
        name, done = (
            _of(rng, ["kitchen.xml", "parts/table.xml", "meshes/wedge.obj", "pictures/wood.png"]),
            _of(rng, _FILES),
        )
        _FILES[done](place / name)
        what = f"{name}: {done}"
    elif how == 3:
        content = bytearray(path.read_bytes())
        for at in rng.integers(len(content), size=int(rng.integers(1, 6))):
            content[at] = int(rng.integers(256))
        path.write_bytes(content)
        what = "other bytes"
    arguments = (
        "record",
        "--world",
        str(path),
        "--device",
        "gamepad",
        "--out",
        str(folder / "a.hdf5"),
    )
    return Damaged(f"scene: {what}", arguments)
