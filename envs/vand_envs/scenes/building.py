"""A robot in a scene: the world of the two, and what must hold of it before anybody drives."""

import math
import re
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np

from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.robot import ROBOT_PREFIX, RobotSpec
from vand_envs.robots.assembly import Assembly, assemble
from vand_envs.robots.records import record_of, require_own_folder, require_same_files
from vand_envs.robots.requirements import require_drivable
from vand_envs.scenes.scene import Scene
from vand_envs.world import World

MAX_OBJECTS = 40
"""More bodies than that are not observed unless they are named."""

FLOOR_M = 0.02
"""Largest height of the floor above or below 0 where the robot starts [m]."""

INSIDE_M = 0.005
"""Depth to which the robot may be in something at the start [m]."""

CAMERA = "overview"
"""Camera of a scene that viewers look from."""
CAMERA_FROM_M, CAMERA_TO_M = (-1.6, -1.9, 1.9), (0.45, 0.0, 0.6)
"""Where it is put if the scene has none, and what it looks at, from where the robot starts [m]."""

_ROBOT_KEYS = ("base", "joint", "gripper", "ee", "instruction")
"""What the robot's own observations begin with."""

_ROBOT_BIT, _WORLD_BIT = 2, 1
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")


def build(scene: Scene, robot: RobotSpec, physics_dt_s: float) -> World:
    """Put a robot into a scene.

    The scene keeps its gravity, and its time step where that is shorter. Integrator and contacts
    are computed as in the workshop, where the robots' grip was tried.

    Args:
        scene: The scene.
        robot: The robot.
        physics_dt_s: Longest physics time step [s].

    Raises:
        UsageError: There is no floor, or no room for the robot where it starts; or a body that is
            to be observed is not there.
        VandError: A file is missing or has changed, or the two do not compile together.
    """
    require_own_folder(robot)
    placed = _placed(robot, scene)
    parts = assemble(placed)
    require_same_files(robot, parts)
    files = {**scene.files(), **parts.assets}
    spec = _spec(scene)
    keys = _observed(scene, spec)
    if robot.base.kind != "fixed":
        _require_floor(scene, files)
    _attach(scene, spec, placed, parts, physics_dt_s)
    spec.assets = files
    try:
        model = spec.compile()
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise VandError(f"scene {scene.name!r}, robot {robot.name!r}: {reason}") from None
    require_drivable(placed, model)
    _require_room(scene, placed, model)
    return World(
        robot=placed,
        model=model,
        xml=spec.to_xml(),
        files=files,
        record=record_of(robot, parts),
        movables=keys,
        stations={},
        scene=scene,
    )


def _placed(robot: RobotSpec, scene: Scene) -> RobotSpec:
    """The robot, a fixed one standing where the scene has it."""
    if robot.base.kind != "fixed":
        return robot
    return replace(robot, base=replace(robot.base, place=scene.options.place))


def _spec(scene: Scene) -> Any:
    try:
        return mujoco.MjSpec.from_string(scene.text)
    except ValueError as error:
        raise VandError(f"scene {scene.name!r}: {' '.join(str(error).split())[:200]}") from None


def _observed(scene: Scene, spec: Any) -> dict[str, str]:
    """First part of the observation's keys -> body, of all that is observed."""
    bodies = [body for body in spec.bodies if body.name != "world"]
    for number, body in enumerate(bodies):
        body.name = body.name or f"body_{number}"
    names = [body.name for body in bodies]
    wanted = scene.options.objects
    for name in wanted:
        if name not in names:
            raise unknown_name(f"body of {scene.name}", name, names[:MAX_OBJECTS])
    chosen = list(wanted) or [body.name for body in bodies if len(body.joints)]
    if len(chosen) > MAX_OBJECTS:
        raise UsageError(
            f"scene {scene.name!r}: {len(chosen)} bodies can move: name those that matter"
            f" (--objects), at most {MAX_OBJECTS}"
        )
    keys: dict[str, str] = {}
    for name in chosen:
        key = _PLAIN.sub("_", name)
        if not key[0].isalpha() or key in _ROBOT_KEYS or key in keys:
            key = f"object_{len(keys)}_{key}"
        keys[key[:100]] = name
    return keys


def _require_floor(scene: Scene, files: dict[str, bytes]) -> None:
    """Raise UsageError where nothing flat is under the robot's start."""
    spec = _spec(scene)
    spec.assets = files
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    x, y, _ = scene.options.place
    start = np.array([x, y, FLOOR_M])
    geom = np.zeros(1, np.int32)
    below = mujoco.mj_ray(model, data, start, np.array([0.0, 0.0, -1.0]), None, 1, -1, geom, None)
    if not 0 <= below <= 2 * FLOOR_M:
        found = "none below" if below < 0 else f"one at height {FLOOR_M - below:.2f} m"
        raise UsageError(
            f"scene {scene.name!r}: expected a floor at height 0 where the robot starts,"
            f' ({x:g}, {y:g}), found {found}; give it a <geom type="plane"> there, or another --at'
        )


def _attach(
    scene: Scene, spec: Any, robot: RobotSpec, parts: Assembly, physics_dt_s: float
) -> None:
    """Put the robot's model into that of the scene."""
    for geom in spec.geoms:
        solid = geom.contype or geom.conaffinity
        if solid and not (geom.contype & _WORLD_BIT or geom.conaffinity & _ROBOT_BIT):
            geom.conaffinity |= _ROBOT_BIT  # else the robot would go through it
    x, y, yaw = robot.base.place if robot.base.kind == "fixed" else (0.0, 0.0, 0.0)
    frame = spec.worldbody.add_frame(
        pos=[x, y, 0.0], quat=[math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]
    )
    spec.attach(parts.spec, prefix=ROBOT_PREFIX, frame=frame)
    option = spec.option
    option.timestep = min(option.timestep, physics_dt_s)
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = max(option.impratio, 10.0)
    if not any(camera.name == CAMERA for camera in spec.cameras):
        _add_camera(scene, spec)
    if not spec.lights:  # a robot's own are left out
        spec.worldbody.add_light(pos=[0, 0, 4], dir=[0, 0.3, -1])


def _add_camera(scene: Scene, spec: Any) -> None:
    x, y, yaw = scene.options.place
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    base = np.array([x, y, 0.0])
    at, target = base + turn @ CAMERA_FROM_M, base + turn @ CAMERA_TO_M
    ahead = (target - at) / np.linalg.norm(target - at)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    camera = spec.worldbody.add_camera(name=CAMERA, pos=at, fovy=50.0)
    camera.alt.xyaxes = [*right, *np.cross(right, ahead)]


def _require_room(scene: Scene, robot: RobotSpec, model: Any) -> None:
    """Raise UsageError where the robot would start inside something."""
    from vand_envs.scenes.start import SceneStart  # noqa: PLC0415  (it needs a simulation)

    data = mujoco.MjData(model)
    data.qpos[:] = SceneStart.home(model, robot, scene)
    mujoco.mj_forward(model, data)
    if not np.isfinite(data.qacc).all():
        raise VandError(f"scene {scene.name!r}: its physics gives numbers that are not finite")
    for contact in data.contact:
        bodies = [int(model.geom_bodyid[geom]) for geom in contact.geom]
        names = [model.body(body).name for body in bodies]
        own = [name.startswith(ROBOT_PREFIX) for name in names]
        if own[0] != own[1] and contact.dist < -INSIDE_M:
            mine = names[own.index(True)].removeprefix(ROBOT_PREFIX)
            other = _called(model, contact, own, names[own.index(False)])
            x, y, _ = scene.options.place
            raise UsageError(
                f"scene {scene.name!r}: no free space where the robot starts, ({x:g}, {y:g}): its"
                f" {mine!r} would be {-1000 * contact.dist:.0f} mm inside {other!r}; give another"
                " --at X,Y,YAW"
            )


def _called(model: Any, contact: Any, own: list[bool], body: str) -> str:
    """Name of what the robot touches: of the body, or of a geom of the world itself."""
    geom = model.geom(contact.geom[own.index(False)]).name
    return body if body != "world" else geom or "the world"
