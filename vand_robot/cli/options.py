"""Options that several commands have, and the line with an example below their help."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from vand_demos.storage.layout import waiting_note
from vand_envs.cameras import IMAGE_CAMERAS
from vand_robot.cli import console

PROGRAM = "vand-robot"


def note_waiting(paths: Iterable[Path]) -> None:
    """Say of data sets on standard error which have recorded episodes that are not in them yet."""
    for note in filter(None, map(waiting_note, paths)):
        console.err.print(note)


def _noted(path: Path) -> Path:
    note_waiting([path])
    return path


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE ...]", help="Overrides of the training configuration."),
]
AnyFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).", callback=_noted)]
"""A data set that is read as it is: what is not in it yet is noted."""

ALL_IMAGES = ",".join(IMAGE_CAMERAS)
"""Every image observation, as `Images` takes them."""

Robot = Annotated[
    str, typer.Option("--robot", help="Robot: a name of `vand-robot robots`, or a YAML file.")
]
Images = Annotated[str, typer.Option(help=f"Camera images to store, of {ALL_IMAGES}.")]
ImageSize = Annotated[str, typer.Option(help="Size of the images in pixels, WIDTHxHEIGHT.")]


def names(text: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def resuming(context: typer.Context) -> str:
    """The present command as one types it, with `--resume`."""
    words = [word for word in context.find_root().obj if word != "--force"]
    if "--resume" not in words:
        words.append("--resume")
    return shlex.join([PROGRAM, *words])


def example(command: str) -> str:
    """The line under a command's help that shows how it is used."""
    return f"Example: [bold]{escape(command)}[/bold]"
