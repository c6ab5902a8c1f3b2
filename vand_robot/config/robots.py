"""Robots by name or from a YAML file, as `--robot` takes them."""

import ast
import inspect
import json
import textwrap
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError
from vand_envs.robot import RobotSpec, get_robot, known_robots
from vand_envs.robots.reading import INTERNAL, from_mapping, to_mapping
from vand_envs.robots.records import robot_of_file

YAML = (".yaml", ".yml")
"""Endings of files; anything else is a name."""


def find_robot(name: str) -> RobotSpec:
    """The robot of a name, or the one that a YAML file describes.

    Args:
        name: A name, or the path of a file that ends in .yaml or .yml.

    Raises:
        UsageError: There is no such robot or file, or the file has a mistake; the line names the
            key.
    """
    if not name.endswith(YAML):
        return get_robot(name)
    from vand_robot.config.loading import read_yaml  # noqa: PLC0415  (loads torch)

    path = Path(name)
    if not path.exists():
        raise UsageError(f"no robot file {path}; known robots: {', '.join(known_robots())}")
    return robot_of_file(from_mapping(read_yaml(path), str(path)), str(path.parent))


def robot_yaml(robot: RobotSpec) -> str:
    """A robot as YAML text, each key with a line of help above it."""
    return "\n".join(_lines(robot, 0)) + "\n"


def _lines(value: Any, depth: int) -> list[str]:
    """The lines of a dataclass, indented."""
    lines: list[str] = []
    for name, help_line in field_help(type(value)).items():
        item = getattr(value, name)
        lines.append(f"# {help_line}")
        if is_dataclass(item):
            lines += [f"{name}:", *_lines(item, 1)]
        elif isinstance(item, tuple) and item and is_dataclass(item[0]):
            lines.append(f"{name}:")
            for entry in item:
                first, *rest = _lines(entry, 1)
                lines += [first.replace("  ", "- ", 1), *rest]
        else:
            lines.append(f"{name}: {json.dumps(to_mapping(item))}")  # JSON is YAML too
    return [textwrap.indent(line, "  " * depth) for line in lines]


def field_help(cls: type) -> dict[str, str]:
    """Key -> its line of help, of a part of a robot's spec."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    found: dict[str, str] = {}
    statements = getattr(body, "body", [])
    for declared, after in pairwise(statements):
        named = isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name)
        if named and declared.target.id not in INTERNAL:
            found[declared.target.id] = " ".join(ast.literal_eval(after.value).split())
    return found
