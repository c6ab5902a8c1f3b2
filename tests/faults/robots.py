"""Damaged robots: the YAML that describes one, and the MJCF and meshes beside it."""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.damage import damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.sound import Damaged, Sound
from vand_envs.robot import VANDER
from vand_envs.robots.reading import to_mapping

_TOP = {
    "an include outside": '<include file="../../../../etc/passwd"/>',
    "an include of a device": '<include file="/dev/zero"/>',
    "an include of itself": '<include file="mine.xml"/>',
    "a plugin": '<extension><plugin plugin="mujoco.elasticity.cable"/></extension>',
    "a foreign library": '<extension><plugin plugin="/tmp/x.so"/></extension>',
    "a mesh outside": '<asset><mesh name="m" file="../../../../../etc/passwd"/></asset>',
    "a mesh that is a device": '<asset><mesh name="m" file="device.stl"/></asset>',
    "a mesh that is a pipe": '<asset><mesh name="m" file="pipe.stl"/></asset>',
    "a mesh of noise": '<asset><mesh name="m" file="noise.stl"/></asset>',
    "a mesh of many triangles": '<asset><mesh name="m" file="many.stl"/></asset>',
    "a mesh with a type": '<asset><mesh name="m" file="noise.stl" content_type="x/y"/></asset>',
    "a picture of noise": '<asset><texture name="t" type="2d" file="noise.png"/></asset>',
    "a picture of 12,000 pixels": '<asset><texture name="t" type="2d" file="large.png"/></asset>',
    "a height field": '<asset><hfield name="h" nrow="5000" ncol="5000" size="1 1 1 1"/></asset>',
    "a height field of a file": '<asset><hfield name="h" file="large.png" size="1 1 1 1"/></asset>',
    "a great texture": '<asset><texture name="t" builtin="flat" type="2d" width="99999"'
    ' height="99999"/></asset>',
    "a texture for a cube": '<asset><texture name="t" builtin="flat" type="cube" width="30000"'
    ' height="30000"/></asset>',
    "memory": '<size memory="100G"/>',
    "a lot of user data": '<size nuserdata="1000000000"/>',
    "keys": '<size nkey="100000000"/>',
    "pictures": '<visual><global offwidth="99999" offheight="99999"/></visual>',
    "slices": '<visual><quality numslices="5000" shadowsize="99999"/></visual>',
    "a stack": '<visual><quality offsamples="4096"/></visual>',
    "no number": '<option timestep="nan" gravity="nan nan nan" wind="inf 0 0"/>',
    "iterations": '<option iterations="2147483647" tolerance="0"/>',
    "numbers of the user": '<custom><numeric name="n" size="500000000" data="1"/></custom>',
    "a composite": '<worldbody><body name="c"><composite type="cable" curve="s"'
    ' count="3000 1 1" size="1"><geom size="0.01"/></composite></body></worldbody>',
    "a flex": '<worldbody><flexcomp name="f" type="grid" count="200 200 10"'
    ' spacing="1 1 1" radius=".1"/></worldbody>',
    "copies": '<worldbody><replicate count="1000000"><geom size="1"/></replicate></worldbody>',
    "copies of copies": "<worldbody>"
    + '<replicate count="100">' * 6
    + '<geom size="1"/>'
    + "</replicate>" * 6
    + "</worldbody>",
    "deep": "<worldbody>" + "<body>" * 3000 + "</body>" * 3000 + "</worldbody>",
    "a free joint": '<worldbody><body><freejoint/><geom size="1"/></body></worldbody>',
    "another model": '<asset><model name="x" file="mine.xml"/></asset>',
    "names twice": '<worldbody><body name="base"/><body name="base"/></worldbody>',
    "a light": '<worldbody><light name="\x7f&#x202e;"/></worldbody>',
    "sensors": "<sensor>" + "<clock/>" * 20_000 + "</sensor>",
    "an actuator without end": '<actuator><general joint="lift" gainprm="nan" dyntype="user"'
    ' actdim="1000000"/></actuator>',
    "history": '<actuator><position joint="lift" delay="1e9" nsample="1000000000"/></actuator>',
    "a tendon": '<tendon><spatial name="x"><site site="ee"/></spatial></tendon>',
    "a key": '<keyframe><key time="nan" qpos="1"/></keyframe>',
    "a compiler": '<compiler meshdir="/" strippath="false" inertiafromgeom="x"/>',
    "a folder of meshes": '<compiler meshdir="/etc"/><asset><mesh name="m" file="passwd"/></asset>',
    "a default": '<default class="main"><default class="main"/></default>',
}
"""Words -> what is put into the model at its top."""

_REPLACED: Mapping[str, tuple[str, str]] = {
    "no actuators": ("<actuator>", "<sensor>"),
    "no mass": ('mass="', 'mass="-'),
    "no size": ('size="', 'size="0 '),
    "sizes that are no numbers": ('size="', 'size="nan '),
    "places that are no numbers": ('pos="', 'pos="nan '),
    "places far away": ('pos="', 'pos="1e308 '),
    "ranges": ('range="', 'range="1e308 -1e308 '),
    "axes": ('axis="', 'axis="0 0 0" ref="'),
    "gains": ('kp="', 'kp="1e300'),
    "free joints": ('type="slide"', 'type="free"'),
    "balls": ('type="hinge"', 'type="ball"'),
    "names": ('name="', 'name="x'),
    "spaces in names": ('name="', 'name=" / '),
    "another root": ("mujoco", "urdf"),
    "no bodies": ("<body ", "<site "),
    "encoding": ("<mujoco", '<?xml version="1.0" encoding="UTF-16"?><mujoco'),
    "entities": ("<mujoco", '<!DOCTYPE m [<!ENTITY a "b">]><mujoco'),
    "a comment without end": ("<worldbody>", "<!-- <worldbody>"),
}


def robots(rng: np.random.Generator, _: Sound, folder: Path) -> Damaged:
    """A robot in a file: damaged YAML, MJCF or meshes."""
    model = files("vand_envs").joinpath("assets", "vander.xml").read_text("utf-8")
    xml, yaml = folder / "mine.xml", folder / "mine.yaml"
    xml.write_text(model)
    spec = to_mapping(VANDER) | {"name": "mine"}
    spec["parts"][0]["file"] = "mine.xml"
    yaml.write_text(json.dumps(spec))
    which = int(rng.integers(20))
    if which < 7:
        what = damage_json(rng, yaml)
    elif which < 14:
        what = _other_model(rng, xml, model)
    elif which < 16:
        ways: list[Any] = [damage_bytes, replace_file, foreign_text]
        what = ways[int(rng.integers(3))](rng, yaml)
    elif which < 18:
        what = [damage_bytes, replace_file][int(rng.integers(2))](rng, xml)
    else:
        what = _numbers(rng, yaml, spec)
    check = ("robots", "check", str(yaml), "--episodes", "0")
    record = ("record", "wipe", "--robot", str(yaml), "--episodes", "1", "--rate", "5")
    record += ("--keep-failures",)
    commands = [check, check, ("robots", "show", str(yaml))]
    commands += [(*record, "--out", str(folder / "data.hdf5"))]
    command = commands[int(rng.integers(len(commands)))]
    return Damaged(f"{what}: {command[1]}", command)


def _other_model(rng: np.random.Generator, file: Path, model: str) -> str:
    """Puts something into a model, and beside it what it may name."""
    (file.parent / "noise.stl").write_bytes(rng.bytes(5000))
    (file.parent / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(500))
    (file.parent / "many.stl").write_bytes(bytes(80) + b"\x00\x00\x00\x40" + bytes(500))
    (file.parent / "large.png").write_bytes(large_picture(12_000))
    (file.parent / "device.stl").symlink_to("/dev/zero")
    os.mkfifo(file.parent / "pipe.stl")
    words = [*_TOP, *_REPLACED]
    word = words[int(rng.integers(len(words)))]
    if word in _TOP:
        end = model.rindex("</mujoco>")
        file.write_text(f"{model[:end]}{_TOP[word]}{model[end:]}")
    else:
        file.write_text(model.replace(*_REPLACED[word]))
    return f"model: {word}"


def large_picture(side: int) -> bytes:
    """A gray PNG of a side [pixel], all black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


_NUMBERS = (0.0, -1.0, 1e-300, 1e8, -0.0, 1e9, 5e-324)


def _numbers(rng: np.random.Generator, file: Path, spec: dict[str, Any]) -> str:
    """Puts other numbers in the place of several, of the right types and lengths."""
    done = []
    for _ in range(int(rng.integers(1, 5))):
        part = spec[["base", "arm", "gripper", "end_effector"][int(rng.integers(4))]]
        keys = [key for key, value in part.items() if _is_number(value)]
        key = keys[int(rng.integers(len(keys)))]
        number = _NUMBERS[int(rng.integers(len(_NUMBERS)))]
        if isinstance(part[key], list):
            part[key][int(rng.integers(len(part[key])))] = number
        else:
            part[key] = number
        done.append(f"{key}={number:g}")
    file.write_text(json.dumps(spec))
    return f"{file.name}: {', '.join(done)}"


def _is_number(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return bool(numbers) and all(isinstance(number, float) for number in numbers)
