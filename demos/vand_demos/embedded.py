"""The world that came with a demonstration, compiled only after it has proved harmless.

A model in a data set is text from somebody else, and compiling MJCF can read files, load plugins
and take any amount of memory and time. So it may hold none of the elements that do the former, and
a process whose memory and time are limited compiles it for trial first.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from xml.parsers import expat

import mujoco

from vand_demos.episode import Episode
from vand_demos.native import NATIVE
from vand_demos.system.isolation import LostProcessError, run_apart
from vand_envs import World, make_world
from vand_envs.errors import VandError
from vand_envs.robot import ROBOT_PREFIX, RobotSpec, get_robot
from vand_envs.robots.assembly import FILES_PREFIX
from vand_envs.robots.bounds import require_bounds

MAX_TEXT_BYTES = 1 << 22
"""Longer models are refused [bytes]."""

TRIAL_MEMORY_BYTES = 1 << 29
"""Limit of memory for compiling a model and simulating one step of it [bytes]."""

TRIAL_PATIENCE_S = 30.0
"""Limit of time for that [s]."""

_REFUSED_ELEMENTS = frozenset(
    {"include", "plugin", "extension", "attach", "model", "composite", "flexcomp", "replicate"}
)
"""They load code or files, or make many elements of one; what MuJoCo writes needs none of them."""

_OF_FILES = ("mesh", "texture", "hfield")
"""Elements that may name a file, of those that a robot or a scene has."""


def world_of(episode: Episode) -> World:
    """The world that an episode was recorded in: ours where it is the same, else the embedded one.

    Raises:
        VandError: The embedded model is refused, does not compile, or holds no such robot; or the
            robot's mesh files are not here, and the line says what to install.
    """
    if episode.model_file is None or episode.action_mode == NATIVE:
        raise VandError(
            f"{episode.label} came without a world of ours: nothing of it can be simulated or"
            " drawn; vand-robot demos plot draws what it holds"
        )
    from vand_demos.scenes import get_scene  # noqa: PLC0415  (it compiles by this module)

    robot = get_robot(episode.robot)
    ours = make_world(robot, scene=get_scene(episode.scene))
    if episode.model_file == ours.xml:
        return ours
    try:
        model = load_model(episode.model_file, MeshFiles(ours.files))
        _require_robot(model, robot)
        return replace(ours, model=model, xml=episode.model_file)
    except VandError as error:
        raise VandError(f"{episode.label}: model_file: {error}") from error


def _require_robot(model: Any, robot: RobotSpec) -> None:
    """Check that a model has what a robot's spec names.

    Raises:
        VandError: Something is missing.
    """
    joints = (*robot.arm.joints, *robot.base.joints, *robot.gripper.joints)
    for kind, names in (
        (mujoco.mjtObj.mjOBJ_SITE, (robot.ee_site,)),
        (mujoco.mjtObj.mjOBJ_JOINT, joints),
        (mujoco.mjtObj.mjOBJ_ACTUATOR, (*robot.arm.actuators, *robot.base.actuators)),
    ):
        for name in (ROBOT_PREFIX + name for name in names):
            if mujoco.mj_name2id(model, kind, name) < 0:
                word = kind.name.removeprefix("mjOBJ_").lower()
                raise VandError(f"expected the {word} {name!r} of robot {robot.name!r}, got none")


@dataclass(frozen=True, eq=False)
class MeshFiles:
    """The files of a robot's packages that a model may name; none by default."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    """Name in the model -> content."""

    def __eq__(self, other: object) -> bool:
        """Whether two are of the same robot: the names say the package and the path."""
        return isinstance(other, MeshFiles) and self.contents.keys() == other.contents.keys()

    def __hash__(self) -> int:
        return hash(frozenset(self.contents))


NO_FILES = MeshFiles()
"""What a model may name that has no robot with files."""


@lru_cache(maxsize=8)
def load_model(text: str, files: MeshFiles = NO_FILES) -> Any:
    """Compile a model that came with a data set.

    Args:
        text: MJCF.
        files: The mesh files that it may name.

    Returns:
        The `mujoco.MjModel`; equal texts give the same object.

    Raises:
        VandError: It reads files, loads plugins, is too large, takes too much memory or time, or
            is no model.
    """
    require_harmless(text, files)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        path.write_text(text, "utf-8")
        for name, content in files.contents.items():
            place = Path(folder) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        try:
            for _ in run_apart(
                "vand_demos.embedded:iterate_trial",
                [str(path)],
                patience_s=TRIAL_PATIENCE_S,
                memory_bytes=TRIAL_MEMORY_BYTES,
            ):
                pass
        except LostProcessError as error:
            raise VandError(f"compiling it for trial, MuJoCo {error}") from error
    return _compile(text, files.contents)


def require_harmless(text: str, files: MeshFiles = NO_FILES) -> None:
    """Check that a model names no plugin and no other file, before anything compiles it.

    Raises:
        VandError: It does, is too long, or is no MJCF.
    """
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise VandError(f"expected at most {MAX_TEXT_BYTES} bytes, got {len(text.encode())}")
    # Read as UTF-8 whatever it declares, as MuJoCo does: both must see the same elements.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = partial(_check_element, files)
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text, True)  # noqa: FBT003  (positional only)
    except expat.ExpatError as error:
        raise VandError(f"expected MJCF: {error}") from error


def _check_element(files: MeshFiles, name: str, attributes: Mapping[str, str]) -> None:
    if name in _REFUSED_ELEMENTS:
        raise VandError(f"<{name}> is refused in a model from a data set")
    require_bounds(name, attributes)
    for key, value in attributes.items():
        ours = name in _OF_FILES and key == "file" and value in files.contents
        if (key.startswith("file") and not ours) or key == "plugin":
            raise VandError(f"<{name} {key}=...> is refused in a model from a data set")


def _refuse_doctype(*_: object) -> None:
    raise VandError("<!DOCTYPE> is refused in a model from a data set")


def iterate_trial(path: str) -> Iterator[str]:
    """Compile a model and simulate one step of it, to see what that takes.

    Yields:
        What has been done.

    Raises:
        VandError: It does not compile.
    """
    folder = Path(path).parent
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in (folder / FILES_PREFIX).rglob("*")
        if file.is_file()
    }
    model = _compile(Path(path).read_text("utf-8"), files)
    yield "compiled"
    mujoco.mj_step(model, mujoco.MjData(model))
    yield "simulated"


def _compile(text: str, files: Mapping[str, bytes]) -> Any:
    try:
        return mujoco.MjSpec.from_string(text, assets=dict(files)).compile()
    except ValueError as error:
        raise VandError(f"does not compile: {' '.join(str(error).split())[:200]}") from error
