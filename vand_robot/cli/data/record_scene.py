"""`vand-robot record --world`: a robot in somebody's MJCF scene, driven and judged by a person."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from vand_demos.interop.source import task_id
from vand_demos.recording import EXPERT
from vand_demos.scenes import open_scene
from vand_demos.teleop.devices import BUILT_IN
from vand_envs.errors import UsageError
from vand_envs.scenes import Scene, SceneOptions
from vand_robot.cli.options import names

WorldFile = Annotated[
    Path | None,
    typer.Option("--world", help="MJCF file of a scene of your own, instead of a task of ours."),
]
At = Annotated[
    str | None,
    typer.Option(help="With --world: where the robot starts, X,Y or X,Y,YAW [m, degree]."),
]
Spread = Annotated[
    float | None,
    typer.Option(help="With --world: how far robot and objects start beside their places [m]."),
]
Objects = Annotated[
    str | None,
    typer.Option(help="With --world: bodies to observe; default: all that can move."),
]


@dataclass(frozen=True)
class SceneRequest:
    """The scene to record in, as it was asked for.

    Raises:
        UsageError: At construction: an option that is for a scene, without one.
    """

    world: Path | None
    at: str | None
    spread: float | None
    objects: str | None

    def __post_init__(self) -> None:
        if self.world is None:
            for item in fields(self):
                if getattr(self, item.name) is not None:
                    raise UsageError(f"--{item.name} is for --world alone")

    def open(self, tasks: Sequence[str], device: str, instruction: str | None) -> Scene | None:
        """Read the scene; None where none is asked for.

        Args:
            tasks: Names of what is demonstrated, at most one; by default it is named after the
                instruction, or after the file.
            device: Who drives.
            instruction: The instruction in words.

        Raises:
            UsageError: No person drives, several tasks, or a number that is none; see `read_scene`.
            VandError: The scene is refused; see `read_scene`.
        """
        if self.world is None:
            return None
        if device == EXPERT:
            raise UsageError(
                "--world: nobody but a person knows what is to be done there: give --device"
                f" {', '.join(BUILT_IN)}"
            )
        if len(tasks) > 1:
            raise UsageError(f"--world: expected one task name, got {', '.join(tasks)}")
        name = tasks[0] if tasks else task_id(instruction or self.world.stem)
        spread = SceneOptions.spread_m if self.spread is None else self.spread
        options = SceneOptions(
            name, instruction or "", _place(self.at), spread, tuple(names(self.objects or ""))
        )
        return open_scene(self.world, options)


def _place(text: str | None) -> tuple[float, float, float]:
    """x, y [m] and yaw [rad] of `X,Y` or `X,Y,YAW`, the last in degrees."""
    parts = (text or "0,0").split(",")
    try:
        x, y, *turn = (float(part) for part in parts)
        (yaw,) = turn or (0.0,)
    except ValueError:
        raise UsageError(f"--at: expected X,Y or X,Y,YAW in m and degree, got {text!r}") from None
    return x, y, math.radians(yaw)
