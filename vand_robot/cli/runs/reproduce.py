"""`vand-robot reproduce`: parsing and printing."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json


def reproduce_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the repetition.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Where the run's demonstrations are now, if they were moved."),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Repeat a run from what its folder holds, and compare the two; exit code 1 if they differ.

    On the same machine with the same software a run is the same to the last bit.
    """
    console.err.print(f"{run}: loading PyTorch and the demonstrations")
    from vand_robot.workflows.reproduce import reproduce  # noqa: PLC0415  (torch takes a second)

    result = reproduce(run, out, data=data or (), force=force, console=console.err)
    if json:
        facts = {**asdict(result), "run": str(run), "out": str(out)}
        console.print_json({**facts, "same": not result.differences})
    elif result.differences:
        for difference in result.differences:
            typer.echo(difference)
        typer.echo(result.reason)
    else:
        typer.echo(f"{out}: equal to {run}, {result.updates} lines of metrics and the weights")
    if result.differences:
        raise typer.Exit(1)
