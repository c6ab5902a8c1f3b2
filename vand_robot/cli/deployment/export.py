"""`vand-robot export`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.options import Force, Json

Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Training run, or one of its checkpoints.")
]
Out = Annotated[Path, typer.Option("--out", help="File to write, for example policy.onnx.")]
FileFormat = Annotated[
    str, typer.Option("--format", help="onnx, for vand_robot.runtime; or torch, for torch.export.")
]


def export_command(
    source: Run,
    out: Out,
    file_format: FileFormat = "onnx",
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a policy as one file that runs without torch, and check it against the policy."""
    from vand_robot.export.onnx import (  # noqa: PLC0415  (torch takes a second)
        CHECK_STEPS,
        export_policy,
    )

    export = export_policy(source, out, file_format=file_format, force=force)
    if json:
        console.print_json(export.to_json())
        return
    interface = export.interface
    console.out.print(
        f"{out}: {interface.rate_hz:g} Hz, instructions {', '.join(interface.instructions)}"
    )
    console.out.print(
        f"largest difference over {CHECK_STEPS} steps: {export.largest_difference:.1e};"
        f" an action takes {interface.median_latency_ms:.2f} ms here,"
        f" {interface.worst_latency_ms:.2f} ms at worst"
    )
