"""What several commands have in common: options, and how an example is shown."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from vand_demos.storage.layout import waiting_note
from vand_envs.cameras import IMAGE_CAMERAS
from vand_robot.cli import console


def note_waiting(paths: Iterable[Path]) -> None:
    """Say of data sets on standard error which have recorded episodes that are not in them yet."""
    for note in filter(None, map(waiting_note, paths)):
        console.err.print(note)


def _noted(path: Path) -> Path:
    note_waiting([path])
    return path


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AnyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).", callback=_noted)]
"""A data set that is read as it is: what is not in it yet is noted."""

ALL_IMAGES = ",".join(IMAGE_CAMERAS)
"""Every image observation, as `Images` takes them."""

Images = Annotated[str, typer.Option(help=f"Camera images to store, of {ALL_IMAGES}.")]
ImageSize = Annotated[str, typer.Option(help="Size of the images in pixels, WIDTHxHEIGHT.")]


def example(command: str) -> str:
    """The line under a command's help that shows how it is used."""
    return f"Example: [bold]{escape(command)}[/bold]"
