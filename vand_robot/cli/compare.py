"""`vand-robot compare`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json


def compare_command(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER ...", help="Evaluated runs, or folders that hold them."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the comparison.")],
    force: Force = False,
    json: Json = False,
) -> None:
    """Compare methods over training seeds, from the evaluations of their runs."""
    from vand_robot.workflows.compare import run_study  # noqa: PLC0415

    study = run_study(folders, out, force=force)
    if json:
        console.print_json(study)
        return
    columns, rows = console.study_table(study)
    console.print_table("Interquartile mean of success over tasks and seeds", columns, rows)
    console.out.print(f"report: {out / 'study.html'}")
