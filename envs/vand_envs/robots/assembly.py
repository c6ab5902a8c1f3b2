"""From a robot's spec to its model: parts are attached to one another, names are checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import mujoco
import numpy as np

from vand_envs.errors import UsageError, VandError, did_you_mean
from vand_envs.robot import EE_SITE, Part, RobotSpec
from vand_envs.robots.bounds import require_small_picture
from vand_envs.robots.mjcf import read_mjcf
from vand_envs.robots.packages import Source, Sources

FILES_PREFIX = "robot-files"
"""First part of the names that mesh files get in a world's text."""

_OPTIONS = ("timestep", "integrator", "cone", "impratio", "solver", "iterations", "tolerance")
"""Options of a model that the world decides."""

_ROBOT, _WORLD = 2, 1
"""Bits of contact: the robot touches the world, not itself."""


@dataclass(frozen=True)
class Assembly:
    """A robot's model, not compiled yet."""

    spec: mujoco.MjSpec
    """The robot, to be attached to a world."""
    assets: Mapping[str, bytes]
    """Contents of its mesh files, by the names that the model has for them."""
    sources: tuple[Source, ...]
    """Packages and folders that they are from."""


def assemble(robot: RobotSpec) -> Assembly:
    """Put a robot together from its files.

    Args:
        robot: The spec.

    Raises:
        UsageError: The spec names something that its files lack; the line says the nearest.
        VandError: A package or a file is missing, or a file is no model.
    """
    sources = Sources(robot.folder or None)
    assets: dict[str, bytes] = {}
    whole: Any = None
    for part in robot.parts:
        child = _read(robot, part, sources, assets)
        if whole is None and part.prefix:
            outer = mujoco.MjSpec()
            _take_options(child, outer)
            frame = outer.worldbody.add_frame(pos=part.pos, quat=part.quat)
            outer.attach(child, prefix=part.prefix, frame=frame)
            whole = outer
        elif whole is None:
            whole = child
        else:
            _attach(robot, whole, child, part)
    if len(robot.parts) > 1 or robot.parts[0].file.partition(":")[0] != "vand_envs":
        _adapt(robot, whole)
    require_names(robot, whole)
    return Assembly(whole, assets, tuple(sources.used()))


def _read(robot: RobotSpec, part: Part, sources: Sources, assets: dict[str, bytes]) -> Any:
    """A part's model, its mesh files under names that say where they are from."""
    source, path = sources.of(part.file)
    try:
        spec = read_mjcf(source, path)
    except VandError as error:
        raise VandError(f"robot {robot.name!r}: {error}") from None
    folder = PurePosixPath(path).parent
    for items, place in (
        (spec.meshes, spec.meshdir),
        (spec.textures, spec.texturedir),
        (spec.hfields, spec.meshdir),
    ):
        for item in items:
            if item.file:
                item.file = _asset(source, (folder / place / item.file).as_posix(), assets)
    for texture in spec.textures:
        if any(texture.cubefiles):
            raise VandError(f"robot {robot.name!r}: {part.file}: cube textures of files: not read")
    spec.meshdir = spec.texturedir = ""
    for name in part.remove:
        body = _named(spec.bodies, name)
        if body is None:
            raise _missing(robot, "parts.remove", "body", name, spec.bodies)
        spec.delete(body)
    for key in list(spec.keys):
        spec.delete(key)  # keyframes do not fit the whole robot
    return spec


def _asset(source: Source, path: str, assets: dict[str, bytes]) -> str:
    name = f"{FILES_PREFIX}/{source.package or 'file'}/{path}"
    assets[name] = source.read(path)
    require_small_picture(assets[name], path)
    return name


def _attach(robot: RobotSpec, whole: Any, child: Any, part: Part) -> None:
    body = _named(whole.bodies, part.at)
    site = _named(whole.sites, part.at)
    if part.at and body is None and site is None:
        raise _missing(robot, "parts.at", "body or site", part.at, [*whole.bodies, *whole.sites])
    if site is not None:
        parent = site.parent
        turn = np.empty(4)
        mujoco.mju_mulQuat(turn, np.asarray(site.quat), np.asarray(part.quat, np.float64))
        offset = np.empty(3)
        mujoco.mju_rotVecQuat(offset, np.asarray(part.pos, np.float64), np.asarray(site.quat))
        frame = parent.add_frame(pos=site.pos + offset, quat=turn)
    else:
        parent = body if body is not None else whole.worldbody
        frame = parent.add_frame(pos=part.pos, quat=part.quat)
    _take_options(child, whole)
    whole.attach(child, prefix=part.prefix, frame=frame)


def _take_options(child: Any, whole: Any) -> None:
    """Give a part the options of the whole: the world's hold, and MuJoCo warns of any other."""
    for name in _OPTIONS:
        setattr(child.option, name, getattr(whole.option, name))


def _adapt(robot: RobotSpec, spec: Any) -> None:
    """End effector, cameras, contacts, gravity compensation and grip, as the spec wants them."""
    for light in list(spec.lights):
        spec.delete(light)
    touching = set(robot.touching)
    for name in touching:
        if _named(spec.bodies, name) is None:
            raise _missing(robot, "touching", "body", name, spec.bodies)
    for geom in spec.geoms:
        if (geom.contype or geom.conaffinity) and (not touching or geom.parent.name in touching):
            geom.contype, geom.conaffinity = _ROBOT, _WORLD
        else:
            geom.contype = geom.conaffinity = 0
    for name in robot.base.casters:
        _let_glide(robot, spec, name)
    _add_end_effector(robot, spec)
    _add_cameras(robot, spec)
    if robot.gravity_compensation:
        first = _named(spec.joints, robot.arm.joints[0])
        if first is not None:
            for body in _descendants(first.parent):
                body.gravcomp = 1
    grip = _named(spec.actuators, robot.gripper.actuator)
    scale = robot.gripper.stiffness_scale
    if grip is not None and scale != 1:
        grip.gainprm = [grip.gainprm[0] * scale, *grip.gainprm[1:]]
        grip.biasprm = [
            grip.biasprm[0] * scale,
            grip.biasprm[1] * scale,
            grip.biasprm[2] * scale**0.5,
            *grip.biasprm[3:],
        ]


def _add_cameras(robot: RobotSpec, spec: Any) -> None:
    for camera in robot.cameras:
        body = _named(spec.bodies, camera.body)
        if body is None:
            raise _missing(robot, f"cameras.{camera.name}.body", "body", camera.body, spec.bodies)
        added = body.add_camera(name=camera.name, pos=camera.pos, fovy=camera.fovy)
        added.alt.xyaxes = camera.xyaxes


def _let_glide(robot: RobotSpec, spec: Any, caster: str) -> None:
    """Take the friction from a caster, which rolls and swivels by itself on a real floor.

    Simulated with friction it rattles: measured on the TIAGo while it drove, the acceleration of
    the hand had a standard deviation of up to 6.6 m/s^2, and of 0.4 m/s^2 without. A held cube
    worked its way out.
    """
    body = _named(spec.bodies, caster)
    if body is None:
        raise _missing(robot, "base.casters", "body", caster, spec.bodies)
    for geom in body.geoms:
        geom.condim, geom.priority = 1, 1


def _descendants(body: Any) -> Iterable[Any]:
    yield body
    for child in body.bodies:
        yield from _descendants(child)


def _add_end_effector(robot: RobotSpec, spec: Any) -> None:
    ee = robot.end_effector
    if robot.ee_site != EE_SITE:
        return
    x, y = np.asarray(ee.approach, float), np.asarray(ee.across, float)
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    if min(lengths) < 1e-6 or abs(x @ y) > 1e-3 * lengths[0] * lengths[1]:
        raise robot.mistake("end_effector", "approach and across at right angles", f"{x}, {y}")
    x, y = x / lengths[0], y / lengths[1]
    axes = np.stack([x, y, np.cross(x, y)], 1)
    turn = np.empty(4)
    mujoco.mju_mat2Quat(turn, axes.ravel())
    pos = np.asarray(ee.pos, float)
    if ee.site:
        site = _named(spec.sites, ee.site)
        if site is None:
            raise _missing(robot, "end_effector.site", "site", ee.site, spec.sites)
        quat = np.asarray(site.quat) / np.linalg.norm(site.quat)
        rotated, whole = np.empty(3), np.empty(4)
        mujoco.mju_rotVecQuat(rotated, pos, quat)
        mujoco.mju_mulQuat(whole, quat, turn)
        body, pos, turn = site.parent, site.pos + rotated, whole
    else:
        body = _named(spec.bodies, ee.body)
        if body is None:
            raise _missing(robot, "end_effector.body", "body", ee.body, spec.bodies)
    body.add_site(name=EE_SITE, pos=pos, quat=turn, group=4)


def require_names(robot: RobotSpec, spec: Any) -> None:
    """Check that the model has all that the spec names.

    Raises:
        UsageError: It lacks a joint, an actuator, a body or a site; the line says the nearest.
    """
    if not spec.actuators:
        raise UsageError(f"robot {robot.name!r}: its model has no actuators, so nothing drives it")
    base, arm, gripper = robot.base, robot.arm, robot.gripper
    grips = gripper.kind != "none"
    for key, kind, names, items in (
        ("base.joints", "joint", base.joints, spec.joints),
        ("base.actuators", "actuator", base.actuators, spec.actuators),
        ("base.body", "body", (base.body,) * (base.kind == "differential"), spec.bodies),
        ("arm.joints", "joint", arm.joints, spec.joints),
        ("arm.actuators", "actuator", arm.actuators, spec.actuators),
        ("gripper.actuator", "actuator", (gripper.actuator,) * grips, spec.actuators),
        ("gripper.joint", "joint", (gripper.joint,) * grips, spec.joints),
        ("gripper.joints", "joint", gripper.joints, spec.joints),
        ("end_effector.site", "site", (robot.ee_site,), spec.sites),
    ):
        for name in names:
            if _named(items, name) is None:
                raise _missing(robot, key, kind, name, items)


def _named(items: Iterable[Any], name: str) -> Any:
    return next((item for item in items if name and item.name == name), None)


def _missing(robot: RobotSpec, key: str, kind: str, name: str, items: Iterable[Any]) -> UsageError:
    names = [item.name for item in items if item.name and item.name != "world"]
    known = ", ".join(names[:40]) or "none"
    return UsageError(
        f"robot {robot.name!r}: {key}: its model has no {kind} {name!r}"
        f"{did_you_mean(name, names)}; it has: {known}"
    )
