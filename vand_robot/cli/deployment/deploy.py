"""`vand-robot deploy`: parsing and printing."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vand_envs.errors import UsageError, VandError
from vand_robot.cli import console
from vand_robot.cli.options import Json
from vand_robot.runtime.driver import SHIPPED

AnyPolicy = Annotated[
    Path, typer.Argument(metavar="POLICY", help="Training run, or an exported policy.onnx.")
]
DriverName = Annotated[
    str, typer.Option("--driver", help=f"{', '.join(SHIPPED)}, FILE.py, or MODULE:CLASS.")
]
DriverArgs = Annotated[
    list[str] | None, typer.Option("--driver-arg", metavar="KEY=VALUE", help="For the driver.")
]
Instruction = Annotated[str | None, typer.Option(help="Name of the instruction.")]
Rate = Annotated[float | None, typer.Option(help="The policy's own [Hz]; another is refused.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Actions after which it ends.")]
OnLate = Annotated[
    str, typer.Option("--on-late", help="After three late ticks in a row: stop, or hold.")
]
Limit = Annotated[float, typer.Option(help="Share of each bound that may be used, 0 to 1.")]
Slew = Annotated[float | None, typer.Option(help="Largest change: share of the range a second.")]
Record = Annotated[
    Path | None, typer.Option(help="Keep what happens: a data set (.hdf5), or .npz.")
]


def deploy_command(
    source: AnyPolicy,
    driver: DriverName,
    driver_arg: DriverArgs = None,
    instruction: Instruction = None,
    rate: Rate = None,
    steps: Steps = None,
    on_late: OnLate = "stop",
    limit: Limit = 1.0,
    slew: Slew = None,
    record: Record = None,
    json: Json = False,
) -> None:
    """Let a policy drive a robot in real time; a key, Ctrl-C or SIGTERM stops it."""
    from vand_robot.export.actor import load_actor  # noqa: PLC0415  (torch takes a second)
    from vand_robot.runtime.command import deploy  # noqa: PLC0415

    late: Any = on_late
    kept, data_set = _recording(record)
    report = deploy(
        load_actor(source),
        driver,
        driver_args=driver_arg or [],
        instruction=instruction,
        rate_hz=rate,
        steps=steps,
        on_late=late,
        limit=limit,
        slew_per_s=slew,
        record=kept,
        say=sys.stderr.write,
    )
    if kept is not None and data_set is not None and kept.exists():
        _import(kept, data_set)
    if json:
        console.print_json(report.to_json())
    if report.failed:
        raise VandError(report.line())
    if not json:
        console.out.print(report.line())
        if record is not None and report.steps:
            console.out.print(f"recorded to {record}", soft_wrap=True)


def _recording(record: Path | None) -> tuple[Path | None, Path | None]:
    """The file that is recorded to, and the data set that it becomes; None: neither.

    Raises:
        UsageError: The data set exists.
    """
    if record is None or record.suffix not in (".hdf5", ".h5"):
        return record, None
    if record.exists():
        raise UsageError(f"{record} exists")
    return record.with_suffix(".npz"), record


def _import(kept: Path, out: Path) -> None:
    """Turn a recording into a data set; where that fails, the recording stays."""
    from vand_demos.interop import import_recording  # noqa: PLC0415

    import_recording(kept, out)
    kept.unlink()
