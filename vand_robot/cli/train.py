"""The command that trains a policy."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json
from vand_robot.metrics.names import ROLLOUTS, UPDATE, VALID_NLL


def train_command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of one in configs/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Overrides of the configuration."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, exactly.")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a policy on demonstrations by behavior cloning."""
    from vand_robot.config.library import find_config  # noqa: PLC0415  (torch takes a second to import)
    from vand_robot.workflows.train import run_training  # noqa: PLC0415

    result = run_training(
        find_config(config), overrides or [], out, resume=resume, force=force, console=console.err
    )
    if json:
        console.print_json({**vars(result), "out": str(result.out), "best": dict(result.best)})
        return
    best = ", ".join(
        f"{key.removeprefix(ROLLOUTS)} {value:.2f}"
        for key, value in result.best.items()
        if key.startswith(ROLLOUTS) or key == VALID_NLL
    )
    console.out.print(
        f"{result.out}: {result.updates} updates in {result.seconds:.0f} s;"
        f" best at update {result.best.get(UPDATE, 0):g} ({best})"
    )
