"""`vand-robot serve`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console

AnyPolicy = Annotated[
    Path, typer.Argument(metavar="POLICY", help="Training run, or an exported policy.onnx.")
]
Host = Annotated[
    str, typer.Option(help="Where to listen; by default no other machine can reach it.")
]
Port = Annotated[int, typer.Option(help="Port; 0: any that is free.")]


def serve_command(source: AnyPolicy, host: Host = "127.0.0.1", port: Port = 8000) -> None:
    """Serve a policy to clients of openpi's protocol, each with a memory of its own."""
    from vand_robot.export.actor import actor_maker  # noqa: PLC0415  (torch takes a second)
    from vand_robot.serving.server import PolicyServer  # noqa: PLC0415

    server = PolicyServer(actor_maker(source), host, port)
    about = server.interface

    def ready(address: str) -> None:
        console.out.print(f"{address}: {about.name or source.name}, {about.rate_hz:g} Hz")

    server.serve_forever(ready)
