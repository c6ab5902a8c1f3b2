"""The commands under `vand-robot bench`."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Json, example

bench = typer.Typer(help="Experiments and measurements of our own.", no_args_is_help=True)


@bench.callback()
def group() -> None:
    """Experiments and measurements of our own."""


@bench.command(epilog=example("vand-robot bench sequences --jobs 2 --out sequences"))
def sequences(
    out: Annotated[Path, typer.Option("--out", help="Folder for results and report.")] = Path(
        "sequences"
    ),
    jobs: Annotated[
        int, typer.Option(help="Processes. The numbers are the same whatever it is.")
    ] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="Once around, in a minute; the numbers mean nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Compare regularizers on synthetic periodic sequences; the same command again goes on."""
    from vand_robot.experiments.sequences.plan import (  # noqa: PLC0415  (torch takes a second)
        QUICK,
        Plan,
    )
    from vand_robot.experiments.sequences.study import (  # noqa: PLC0415
        REPORT,
        run_study,
    )

    with console.progress_bar("trials", 1) as progress:
        results = run_study(out, QUICK if quick else Plan(), jobs=jobs, progress=progress)
    if json:
        console.print_json(results)
        return
    console.print_table(
        "Interquartile mean over seeds and signals, with 95 % interval",
        ("cell", "signals", "method", ">time in tolerance", ">amplitude error", ">drift [rad]"),
        [
            [
                entry["cell"],
                entry["signals"],
                entry["method"],
                *(
                    "{iqm:.2f} ({low:.2f}-{high:.2f})".format(**entry[score])
                    for score in ("in_tolerance", "amplitude_error", "phase_drift_rad")
                ),
            ]
            for entry in results["methods"]
        ],
    )
    console.out.print(f"report: {out / REPORT}")
