"""`vand-robot quickstart`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_envs.robot import DEFAULT_ROBOT
from vand_robot.cli import console
from vand_robot.cli.options import Force, Overrides, Robot
from vand_robot.config.robots import find_robot


def quickstart_command(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path("quickstart"),
    robot: Robot = DEFAULT_ROBOT.name,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    force: Force = False,
) -> None:
    """Record, train, evaluate and replay stow-cube and wipe, end to end, in a few minutes."""
    from vand_robot.workflows.quickstart import quickstart  # noqa: PLC0415  (torch takes a second)

    result = quickstart(
        out,
        overrides=overrides or [],
        robot=find_robot(robot),
        resume=resume,
        force=force,
        console=console.err,
        progress_bar=console.progress_bar,
    )
    columns, rows = console.results_table(result)
    console.print_table("One policy, both tasks, held-out seeds", columns, rows)
    console.out.print(f"open {out / 'report.html'} in a browser")
