"""A robot's record: its spec and what its mesh files are, as a data set and a policy carry it."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError, VandError
from vand_envs.robot import ROBOTS, VANDER, RobotSpec, known_robots
from vand_envs.robots.assembly import Assembly
from vand_envs.robots.packages import INSTALL, Source
from vand_envs.robots.reading import from_mapping, to_mapping

SHORT = 10
"""Digits of the hash in the identity of a robot that a file describes."""

ROBOT_RECORD = "robot_record"
"""Key of the record in the `env_args` of a data set, and field of a policy's interface."""


def robot_of_file(robot: RobotSpec, folder: str) -> RobotSpec:
    """A robot that a file describes, known from now on under its name and a hash of its spec.

    Args:
        robot: The spec in the file.
        folder: Folder of the file, for models beside it.

    Raises:
        UsageError: It has the name of a robot that is known here.
    """
    if robot.name in known_robots():
        raise UsageError(
            f"robot {robot.name!r}: expected another name: one of the robots here has it"
        )
    known = replace(_identified(robot), folder=os.path.realpath(folder))
    return ROBOTS.setdefault(known.id, known)


def _identified(robot: RobotSpec) -> RobotSpec:
    text = json.dumps(to_mapping(robot), sort_keys=True)
    return replace(robot, identity=f"{robot.name}@{sha256(text.encode()).hexdigest()[:SHORT]}")


def record_of(robot: RobotSpec, parts: Assembly) -> str:
    """The robot's record as JSON; empty of one that needs no files but this package's."""
    if robot == VANDER or (robot.identity == "" and not parts.sources):
        return ""
    meshes = [
        {
            "package": source.package,
            "version": source.version,
            "sha256": source.digest,
            **(
                {}
                if source.package
                else {"folder": str(source.root), "names": sorted(source.contents)}
            ),
        }
        for source in parts.sources
    ]
    return json.dumps({"spec": to_mapping(robot), "id": robot.id, "files": meshes}, sort_keys=True)


def adopt(record: Mapping[str, Any], what: str) -> RobotSpec:
    """Make the robot of a data set or a policy known, as it was when that was made.

    Args:
        record: The record.
        what: The file it is in, for messages.

    Returns:
        The robot.

    Raises:
        VandError: The record is damaged, or describes a robot here otherwise than it is.
    """
    try:
        robot = from_mapping(record.get("spec"), f"{what}: robot")
    except UsageError as error:
        raise VandError(str(error)) from None
    identity = record.get("id")
    known = _identified(robot)
    if identity == robot.name:
        here = known_robots().get(robot.name)
        if here is None:
            raise VandError(f"{what}: robot {robot.name!r} is not known here")
        if here != robot:
            raise VandError(
                f"{what}: robot {robot.name!r} was described otherwise there than it is here"
            )
        return here
    if identity != known.id:
        raise VandError(f"{what}: robot {robot.name!r}: its description is damaged")
    if known.id in ROBOTS:
        return ROBOTS[known.id]
    files = record.get("files")
    folders = [
        source.get("folder")
        for source in (files if isinstance(files, list) else ())
        if isinstance(source, Mapping) and not source.get("package")
    ]
    folder = str(folders[0]) if folders else ""
    known = replace(known, folder=folder, record=json.dumps(dict(record), sort_keys=True))
    return ROBOTS.setdefault(known.id, known)


def require_own_folder(robot: RobotSpec) -> None:
    """Check that the files beside an adopted robot's file are those that it was recorded with.

    They are compared before anything is made of them: whoever wrote the record knows them, then.

    Raises:
        VandError: They have changed, or are gone.
    """
    for then in json.loads(robot.record).get("files", []) if robot.record else ():
        if then.get("package"):
            continue
        source = Source("", "", Path(robot.folder))
        for name in then.get("names", ()):
            source.read(str(name))
        if source.digest != then.get("sha256"):
            raise VandError(
                f"robot {robot.name!r}: its files in {robot.folder} have changed since it was"
                " recorded"
            )


def require_same_files(robot: RobotSpec, parts: Assembly) -> None:
    """Check that the files of an adopted robot are those that it was recorded with.

    Raises:
        VandError: A package holds other files; the line says which version has them.
    """
    if not robot.record:
        return
    for then in json.loads(robot.record).get("files", []):
        for now in parts.sources:
            same = now.package == then.get("package")
            if same and now.digest != then.get("sha256"):
                version = f" {then['version']}" if then.get("version") else ""
                name = f"package {now.package}{version}" if now.package else "the files beside it"
                raise VandError(
                    f"robot {robot.name!r}: its files are not those that it was recorded with:"
                    f" expected {name}, got {now.version or 'others'}; {INSTALL}"
                )
