"""`vand-robot push` and `vand-robot pull`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console

Repo = Annotated[str, typer.Argument(metavar="REPO", help="OWNER/NAME on the Hugging Face Hub.")]


def push_command(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="Training run, or data set (HDF5).")
    ],
    repo: Repo,
    public: Annotated[
        bool, typer.Option("--public", help="Make the repository public; it is private else.")
    ] = False,
    license_name: Annotated[
        str, typer.Option("--license", help="Licence, as the Hub names it.")
    ] = "mit",
) -> None:
    """Upload a run or a data set to the Hugging Face Hub, with a card."""
    from vand_robot.hub import push  # noqa: PLC0415  (torch takes a second)

    console.out.print(push(source, repo, private=not public, license_name=license_name))


def pull_command(
    repo: Repo,
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    data: Annotated[bool, typer.Option("--data", help="It is a data set.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit; default: the newest.")
    ] = None,
) -> None:
    """Download a run or a data set from the Hugging Face Hub."""
    from vand_robot.hub import pull  # noqa: PLC0415  (torch takes a second)

    console.out.print(str(pull(repo, out, data=data, revision=revision)))
