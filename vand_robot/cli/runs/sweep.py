"""`vand-robot sweep`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_envs.errors import VandError
from vand_robot.cli import console
from vand_robot.cli.options import Force, Json
from vand_robot.layout import REPORT_FILE


def sweep_command(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="YAML file, or the name of one in configs/sweeps/."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the sweep.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Overrides of the sweep's own keys."),
    ] = None,
    place: Annotated[
        str, typer.Option("--on", help="Where trials run: local, ray or slurm.")
    ] = "local",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Trials side by side.")] = 1,
    address: Annotated[
        str | None, typer.Option(help="ray: address of a cluster; default: this machine.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Do what is missing or has failed.")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train and evaluate many runs: methods, settings, regimes, sizes, seeds; compare them."""
    from vand_robot.config.library import find_sweep  # noqa: PLC0415  (torch takes a second)
    from vand_robot.sweeps import SweepOptions, load_sweep, run_sweep  # noqa: PLC0415
    from vand_robot.sweeps.regimes import RegretTable  # noqa: PLC0415

    path = find_sweep(file)
    options = SweepOptions(place, jobs, address, resume=resume, force=force)
    result = run_sweep(load_sweep(path, overrides or []), path, out, options, console.err)
    if json:
        console.print_json([outcome.to_json(trial) for trial, outcome in result.ended])
    elif result.comparison is not None:
        if isinstance(result.comparison, RegretTable):
            title = "Regret over regimes, and success in each"
            columns, rows = console.regret_table(result.comparison)
        else:
            title = "Interquartile mean of success over tasks and seeds"
            columns, rows = console.comparison_table(result.comparison)
        console.print_table(title, columns, rows)
        console.out.print(f"report: {out / REPORT_FILE}")
    if result.failed:
        raise VandError(f"{out}: {result.failed} of {len(result.ended)} trials failed")
