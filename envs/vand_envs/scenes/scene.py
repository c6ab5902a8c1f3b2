"""Scene: somebody's MJCF as it was read, and where the robot stands in it; and its record."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from vand_envs.errors import UsageError, VandError
from vand_envs.robot import Vector3
from vand_envs.robots.packages import Source
from vand_envs.tasks.base import Task

SCENE_RECORD = "scene_record"
"""Key of a scene's record in the `env_args` of a data set, and field of a policy's interface."""

ASSETS_PREFIX = "robot-files/scene/"
"""First part of the names that a scene's files get in its text."""

HORIZON_S = 60.0
"""Length of an episode of a policy in a scene [s]."""

MAX_SPREAD_M = 1.0
"""Largest spread of the starts [m]."""

_TASK = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_SHORT = 10  # digits of the hash in an id


@dataclass(frozen=True)
class SceneOptions:
    """What is said of a scene beside its file.

    Raises:
        UsageError: At construction, where a value is out of range.
    """

    task: str
    """Id of what is demonstrated there: "put-cup-away"."""
    instruction: str = ""
    """The instruction in words; empty: the id."""
    place: Vector3 = (0.0, 0.0, 0.0)
    """Where the robot's base starts, x, y [m] and yaw [rad]."""
    spread_m: float = 0.02
    """How far base and free bodies start from their places at most, along x and y [m]."""
    objects: tuple[str, ...] = ()
    """Bodies that are observed; empty: all that can move."""

    def __post_init__(self) -> None:
        if not _TASK.fullmatch(self.task):
            raise UsageError(
                "task: expected a name of letters, digits, - and _ that begins with a letter,"
                f" got {self.task!r:.60}"
            )
        if not all(math.isfinite(x) and abs(x) <= 1e3 for x in self.place):
            raise UsageError(f"at: expected x, y [m] and yaw [degree], got {self.place}")
        if not 0 <= self.spread_m <= MAX_SPREAD_M:
            raise UsageError(f"spread: expected 0 to {MAX_SPREAD_M:g} m, got {self.spread_m:g}")


@dataclass(frozen=True)
class Scene:
    """A scene: whoever has it, the files that it names and the robot can build the same world."""

    name: str
    """Name of the file, without its ending."""
    text: str = field(repr=False)
    """The scene as one MJCF text, without includes; its files have names of their own."""
    assets: tuple[tuple[str, str], ...]
    """Name in the text and SHA-256 of each file that it names."""
    options: SceneOptions
    """What was said of it."""
    folder: str = field(compare=False)
    """Folder that its files lie in."""

    @cached_property
    def id(self) -> str:
        """Name under which data sets and policies know it, with a hash of all that it is."""
        text = json.dumps(self._content, sort_keys=True)
        return f"{self.name}@{sha256(text.encode()).hexdigest()[:_SHORT]}"

    @property
    def _content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "text": self.text,
            "assets": dict(self.assets),
            **asdict(self.options),
        }

    @property
    def record(self) -> dict[str, Any]:
        """The scene as a data set and a policy carry it; it holds nothing that JSON could not."""
        content: dict[str, Any] = json.loads(json.dumps({**self._content, "folder": self.folder}))
        return content

    @property
    def task(self) -> Task:
        """What is demonstrated there, which a person judges."""
        return Task(
            id=self.options.task,
            env_id=f"scene:{self.id}",
            instruction=self.options.instruction or self.options.task,
            horizon_s=HORIZON_S,
            judged_by_person=True,
        )

    def files(self) -> dict[str, bytes]:
        """Contents of its files, by their names in the text.

        Raises:
            VandError: One is gone, or has changed since the scene was recorded.
        """
        source = Source("", "", Path(self.folder))
        found: dict[str, bytes] = {}
        for name, digest in self.assets:
            path = name.removeprefix(ASSETS_PREFIX)
            try:
                found[name] = source.read(path)
            except VandError as error:
                raise VandError(f"scene {self.name!r}: {error}") from None
            if sha256(found[name]).hexdigest() != digest:
                raise VandError(
                    f"scene {self.name!r}: {path} in {self.folder} has changed since it was"
                    " recorded"
                )
        return found

    @classmethod
    def of_record(cls, record: Mapping[str, Any], what: str) -> Self:
        """The scene of a record.

        Args:
            record: The record.
            what: The file that it is in, for messages.

        Raises:
            VandError: It is damaged.
        """
        values = dict(record)
        wrong = [key for key, kind in _KINDS.items() if not isinstance(values.get(key), kind)]
        wrong += [key for key in values if key not in _KINDS]
        if wrong:
            raise VandError(
                f"{what}: scene: key {wrong[0]!r} is missing, unknown or of a wrong kind"
            )
        place, objects, assets = values["place"], values["objects"], values["assets"]
        numbers = len(place) == 3 and all(type(x) in (int, float) for x in place)
        texts = (*objects, *assets, *assets.values())
        if not numbers or not all(isinstance(text, str) for text in texts):
            raise VandError(f"{what}: scene: place, objects or assets are of a wrong kind")
        if outside := [name for name in assets if not name.startswith(ASSETS_PREFIX)]:
            raise VandError(f"{what}: scene: {outside[0]!r:.60} is none of a scene's files")
        x, y, yaw = (float(number) for number in place)
        try:
            options = SceneOptions(
                values["task"],
                values["instruction"],
                (x, y, yaw),
                float(values["spread_m"]),
                tuple(objects),
            )
        except UsageError as error:
            raise VandError(f"{what}: scene: {error}") from None
        return cls(
            values["name"], values["text"], tuple(sorted(assets.items())), options, values["folder"]
        )


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "text": str,
    "assets": Mapping,
    "task": str,
    "instruction": str,
    "place": list,
    "spread_m": (int, float),
    "objects": list,
    "folder": str,
}
