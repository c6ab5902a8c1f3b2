"""`vand-robot compare`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json
from vand_robot.layout import COMPARISON_REPORT_FILE


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
    from vand_robot.workflows.compare import run_comparison  # noqa: PLC0415

    comparison = run_comparison(folders, out, force=force)
    if json:
        console.print_json(comparison.to_json())
        return
    columns, rows = console.comparison_table(comparison)
    console.print_table("Interquartile mean of success over tasks and seeds", columns, rows)
    for part in comparison.left_out:
        console.out.print(f"left out: {part}")
    console.out.print(f"report: {out / COMPARISON_REPORT_FILE}")
