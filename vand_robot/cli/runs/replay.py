"""`vand-robot replay`: parsing and printing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vand_demos.ui import LOOPBACK
from vand_envs.cameras import parse_size
from vand_robot.cli import console
from vand_robot.cli.main import INTERRUPTED
from vand_robot.cli.options import Force

if TYPE_CHECKING:
    from vand_robot.viewer.replay import ReplayRequest

Source = Annotated[
    Path, typer.Argument(metavar="RUN|FILE", help="Training run, or data set (HDF5).")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="html: page to write; video: file, .mp4, .webm or .gif."),
]
Viewer = Annotated[
    str, typer.Option(help="web (a page), native (a window); html or video write a file.")
]
TaskId = Annotated[str | None, typer.Option(help="Task; default: the first.")]
Index = Annotated[int | None, typer.Option(help="Run: which held-out episode, 0, 1, ...")]
Episode = Annotated[
    str | None, typer.Option(help="Data set: name of the demonstration, demo_0 ...")
]
Seconds = Annotated[float | None, typer.Option(help="Run: length; default: as in the evaluation.")]
PerturbationName = Annotated[
    str | None, typer.Option(help="Run: perturbation of the evaluation, such as push.")
]
Expert = Annotated[
    bool, typer.Option("--expert", help="Let the scripted expert act in the policy's place.")
]
Beside = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|expert",
        help="web, native: show beside it a data set's demonstration of the task, or what the"
        " expert does.",
    ),
]
Camera = Annotated[
    str | None,
    typer.Option(help="html, video: camera of the scene; default: one that sees the motion."),
]
Size = Annotated[
    str | None, typer.Option(help="video: WIDTHxHEIGHT in pixels, both even; default: 640x480.")
]
Fps = Annotated[
    float | None, typer.Option(help="video: frames per second; default: 20 or a little more.")
]
Host = Annotated[str | None, typer.Option(help="web: where to listen; default: here alone.")]
Port = Annotated[int | None, typer.Option(help="web: port; default: a free one.")]


def replay_command(
    source: Source,
    out: Out = None,
    viewer: Viewer = "html",
    task: TaskId = None,
    index: Index = None,
    episode: Episode = None,
    seconds: Seconds = None,
    perturbation: PerturbationName = None,
    expert: Expert = False,
    beside: Beside = None,
    camera: Camera = None,
    size: Size = None,
    fps: Fps = None,
    host: Host = None,
    port: Port = None,
    force: Force = False,
) -> None:
    """Show what a policy does, or what was demonstrated: a page, a window, a file, a video."""
    from vand_robot.viewer.replay import ReplayRequest  # noqa: PLC0415  (torch takes a second)

    request = ReplayRequest(
        source=source,
        out=out,
        viewer=viewer,
        task=task,
        index=index,
        episode=episode,
        seconds=seconds,
        perturbation=perturbation,
        expert=expert,
        beside=beside,
        camera=camera,
        size=None if size is None else parse_size("--size", size),
        fps=fps,
        host=host,
        port=port,
        force=force,
    )
    _show(request)


def _show(request: "ReplayRequest") -> None:
    from vand_robot.viewer.replay import replay  # noqa: PLC0415

    if request.out is not None:
        with console.progress_bar(f"writing {request.out.name}") as progress:
            summary = replay(request, progress)
        console.out.print(f"{request.out}: {summary}")
        return
    try:
        _open(request)
    except KeyboardInterrupt:  # the way to end it; there is nothing to put away
        raise SystemExit(INTERRUPTED) from None


def _open(request: "ReplayRequest") -> None:
    from vand_robot.viewer.open import open_player  # noqa: PLC0415

    if request.viewer == "native":
        from vand_robot.viewer.native import show  # noqa: PLC0415

        show(open_player(request))
    else:
        from vand_robot.viewer.web import serve  # noqa: PLC0415

        serve(
            open_player(request),
            host=request.host or LOOPBACK,
            port=request.port or 0,
            announce=console.err.print,
        )
