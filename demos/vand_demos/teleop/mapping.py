"""Mapping of axes and buttons to motions and actions, which a small YAML file can change."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]  # it ships no type information

from vand_demos.system.files import read_regular
from vand_demos.system.yaml_core import parse_yaml
from vand_demos.teleop.device import EVENTS
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.typing import FloatArray

MOTIONS = (
    "base_ahead",
    "base_left",
    "base_turn_left",
    "hand_ahead",
    "hand_left",
    "hand_up",
    "hand_roll",
    "hand_pitch",
    "hand_turn_left",
)
"""Motions: the numbers of the twist of base and hand, in their order."""

ACTIONS = ("gripper", "slow", *EVENTS)
"""Actions of a press; gripper and slow mode are switches."""

_INPUT = r"[A-Za-z_]\w*"
_PRODUCT = rf"!?{_INPUT}(?:\s*\*\s*!?{_INPUT})*"
_TERM = re.compile(rf"([+-]?)\s*({_PRODUCT})")
_SUM = re.compile(rf"\s*[+-]?\s*{_PRODUCT}(?:\s*[+-]\s*{_PRODUCT})*\s*")


@dataclass(frozen=True)
class InputMapping:
    """Inputs, in [-1, 1], -> motions and actions."""

    motions: Mapping[str, str]
    """One of `MOTIONS` -> a sum of inputs: "-left_y", "right_shoulder - left_shoulder". A product
    makes one the switch of another: "x * button_1" while pressed, "x * !button_1" while not."""
    actions: Mapping[str, str]
    """One of `ACTIONS` -> the input that is pressed for it."""
    dead_zone: float = 0.1
    """An input smaller than this is none: sticks do not come back to zero."""

    def twist(self, inputs: Mapping[str, float]) -> FloatArray:
        """The twist (9,) of inputs; those that are missing are zero."""
        return np.array([self._sum(self.motions.get(name, ""), inputs) for name in MOTIONS])

    def _sum(self, expression: str, inputs: Mapping[str, float]) -> float:
        total = 0.0
        for sign, product in _TERM.findall(expression):
            term = -1.0 if sign == "-" else 1.0
            for factor in re.split(r"\s*\*\s*", product):
                value = inputs.get(factor.lstrip("!"), 0.0)
                value = value if abs(value) >= self.dead_zone else 0.0
                term *= float(value == 0.0) if factor[0] == "!" else value
            total += term
        return float(np.clip(total, -1.0, 1.0))

    @property
    def help(self) -> dict[str, str]:
        """The mapping as lines for the operator."""
        return {**self.motions, **self.actions}


def load_mapping(path: Path | None, default: InputMapping, inputs: tuple[str, ...]) -> InputMapping:
    """The mapping with the changes that a file makes.

    Args:
        path: YAML with any of `motions`, `actions` and `dead_zone`; None for no change.
        default: The mapping without it.
        inputs: Names of what the device has.

    Raises:
        UsageError: An unknown motion, action or input, or an expression that is none.
        VandError: The file cannot be read.
    """
    if path is None:
        return default
    text = read_regular(path)
    try:
        content = parse_yaml(text.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise VandError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected motions, actions or dead_zone, got {content!r:.60}")
    for key in content:
        if key not in ("motions", "actions", "dead_zone"):
            raise unknown_name(f"key in {path}", str(key), ("motions", "actions", "dead_zone"))
    motions = _table(path, content, "motions", MOTIONS)
    actions = _table(path, content, "actions", ACTIONS)
    _require_inputs(path, motions, _SUM, "inputs like '-left_y'", inputs)
    _require_inputs(path, actions, re.compile(_INPUT), "one input like 'x'", inputs)
    dead_zone = content.get("dead_zone", default.dead_zone)
    if type(dead_zone) not in (float, int) or not 0 <= dead_zone < 1:
        raise UsageError(f"{path}: dead_zone: expected a number in [0, 1), got {dead_zone!r:.60}")
    return InputMapping(
        {**default.motions, **motions}, {**default.actions, **actions}, float(dead_zone)
    )


def _require_inputs(
    path: Path, table: Mapping[str, str], form: re.Pattern[str], expected: str, known: Sequence[str]
) -> None:
    """Raise UsageError for an expression that is not of a form, or an unknown input in it."""
    for name, expression in table.items():
        if not form.fullmatch(expression):
            raise UsageError(f"{path}: {name}: expected {expected}, got {expression!r:.60}")
        for used in re.findall(_INPUT, expression):
            if used not in known:
                raise unknown_name(f"input in {path}", used, known)


def _table(
    path: Path, content: Mapping[Any, Any], key: str, known: tuple[str, ...]
) -> dict[str, str]:
    table = content.get(key) or {}
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {key}: expected names and inputs, got {table!r:.60}")
    for name in table:
        if name not in known:
            raise unknown_name(f"name in {key} of {path}", str(name), known)
    return {str(name): str(expression) for name, expression in table.items()}
