"""`vand-robot replay`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_demos.ui import LOOPBACK
from vand_envs.errors import UsageError, unknown_name
from vand_robot.cli import console
from vand_robot.cli.options import Force


def replay_command(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="Training run, or data set (HDF5).")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="html, video: file to write.")] = None,
    viewer: Annotated[
        str,
        typer.Option(help="web (a page), native (a window); html or video write a file."),
    ] = "html",
    task: Annotated[str | None, typer.Option(help="Task; default: the first.")] = None,
    seed: Annotated[int, typer.Option(help="Run: which held-out episode, 0, 1, ...")] = 0,
    episode: Annotated[
        str | None, typer.Option(help="Data set: name of the demonstration, demo_0 ...")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Run: length; default: as in the evaluation.")
    ] = None,
    perturbation: Annotated[
        str, typer.Option(help="Run: perturbation of the evaluation, such as push.")
    ] = "nominal",
    expert: Annotated[
        bool, typer.Option("--expert", help="Let the scripted expert act in the policy's place.")
    ] = False,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|expert",
            help="web, native: show beside it a data set's demonstration of the task, or what the"
            " expert does.",
        ),
    ] = None,
    camera: Annotated[str, typer.Option(help="html, video: camera of the scene.")] = "overview",
    host: Annotated[str, typer.Option(help="web: where to listen.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="web: port; 0 takes a free one.")] = 0,
    force: Force = False,
) -> None:
    """Show what a policy does, or what was demonstrated: a page, a window, a file, a video."""
    from vand_robot.viewer.replay import (  # noqa: PLC0415
        VIEWERS,
        WINDOWS,
        replay,
        require_as_recorded,
    )

    if viewer not in VIEWERS:
        raise unknown_name("viewer", viewer, VIEWERS)
    if viewer in WINDOWS:
        if out is not None:
            raise UsageError(f"--out: the {viewer} viewer writes no file")
        from vand_robot.viewer.open import (  # noqa: PLC0415
            EXPERT,
            open_session,
        )

        if source.is_file() and not expert and beside != EXPERT:
            require_as_recorded(source, seed, seconds, perturbation)
        session = open_session(
            source,
            task=task,
            seed=seed,
            episode=episode,
            seconds=seconds,
            perturbation=perturbation,
            expert=expert,
            beside=beside,
        )
        if viewer == "native":
            from vand_robot.viewer.native import show  # noqa: PLC0415

            show(session)
        else:
            from vand_robot.viewer.web import serve  # noqa: PLC0415

            serve(session, host=host, port=port, announce=console.err.print)
        return
    if out is None:
        raise UsageError(f"--out: the {viewer} viewer needs a file to write")
    if beside is not None:
        raise UsageError(f"--beside: the {viewer} viewer shows one thing; use --viewer web")
    with console.progress_bar(f"writing {out.name}", 1) as progress:
        summary = replay(
            source,
            out,
            viewer=viewer,
            task=task,
            seed=seed,
            episode=episode,
            seconds=seconds,
            perturbation=perturbation,
            expert=expert,
            camera=camera,
            force=force,
            progress=progress,
        )
    console.out.print(f"{out}: {summary}")
