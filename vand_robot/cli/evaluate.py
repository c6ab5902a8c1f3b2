"""The commands that judge policies: `evaluate` and `study`."""

from pathlib import Path
from typing import Annotated

import typer

from vand_envs.errors import UsageError
from vand_robot.cli import console
from vand_robot.cli.options import Force, Json


def evaluate_command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|FILE",
            help="Training run, or one of its checkpoints; with --expert a data set too.",
        ),
    ],
    suite: Annotated[
        str,
        typer.Option(
            help="nominal; robustness: every perturbation; quick: the same, fewer episodes."
        ),
    ] = "nominal",
    perturbations: Annotated[
        str, typer.Option(help="In place of the suite's, for example nominal,push.")
    ] = "",
    tasks: Annotated[str, typer.Option(help="For example wipe,stow-cube. Default: all.")] = "",
    task: Annotated[
        list[str] | None, typer.Option(help="One task; may be repeated, as --tasks.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(help="Held-out episodes of each task and perturbation.")
    ] = None,
    processes: Annotated[
        int,
        typer.Option("--jobs", help="Processes; 0: one per processor. The numbers are the same."),
    ] = 0,
    expert: Annotated[
        bool, typer.Option("--expert", help="Let the scripted experts act: what can be reached.")
    ] = False,
    replays: Annotated[
        int, typer.Option(help="Pages to write of so many of the worst episodes.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for the results; default RUN/evaluation, of RUN/best RUN/evaluation-best.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an evaluation that was interrupted.")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Roll a policy out on held-out seeds and write results, figures and a report."""
    from vand_robot.evaluation.runner import processors  # noqa: PLC0415
    from vand_robot.workflows.evaluate import (  # noqa: PLC0415  (torch takes a second)
        evaluation_folder,
        run_evaluation,
    )

    if episodes is not None and episodes < 1:
        raise UsageError(f"--episodes: expected at least 1, got {episodes}")
    if processes < 0:
        raise UsageError(f"--jobs: expected 0 or more, got {processes}")
    if replays < 0:
        raise UsageError(f"--replays: expected 0 or more, got {replays}")
    if out is None and source.is_file():
        raise UsageError("--out: a folder for the results is needed where a data set is given")
    folder = out or evaluation_folder(source, expert=expert)
    try:
        with console.progress_bar("evaluating", 1) as progress:
            result = run_evaluation(
                source,
                folder,
                suite=suite,
                perturbations=_names(perturbations),
                tasks=[*_names(tasks), *(task or [])],
                episodes=episodes,
                processes=processes or processors(),
                expert=expert,
                replays=replays,
                resume=resume,
                force=force,
                progress=progress,
            )
    except KeyboardInterrupt:
        console.err.print(f"interrupted; --resume goes on with what is finished in {folder}")
        raise typer.Exit(130) from None
    if json:
        console.print_json(result.to_json())
        return
    columns, rows = console.results_table(result)
    console.print_table(f"{result.policy.run}: held-out episodes", columns, rows)
    console.out.print(f"report: {folder / 'report.html'}")


def _names(text: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
