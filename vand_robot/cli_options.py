"""What several commands have in common: options, and how an example is shown."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from vand_envs.cameras import IMAGE_CAMERAS

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).")]

ALL_IMAGES = ",".join(IMAGE_CAMERAS)
"""Every image observation, as `Images` takes them."""

Images = Annotated[str, typer.Option(help=f"Camera images to store, of {ALL_IMAGES}.")]
ImageSize = Annotated[str, typer.Option(help="Size of the images in pixels, WIDTHxHEIGHT.")]


def example(command: str) -> str:
    """The line under a command's help that shows how it is used."""
    return f"Example: [bold]{escape(command)}[/bold]"
