"""`vand-robot evaluate`: parsing and printing."""

from pathlib import Path
from typing import Annotated

import typer

from vand_robot.cli import console
from vand_robot.cli.main import INTERRUPTED
from vand_robot.cli.options import Force, Json, names, resuming

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|FILE",
        help="Training run, or one of its checkpoints; with --expert a data set too.",
    ),
]
SuiteName = Annotated[
    str,
    typer.Option(help="nominal; robustness: every perturbation; quick: the same, fewer episodes."),
]
Perturbations = Annotated[
    str, typer.Option(help="In place of the suite's, for example nominal,push.")
]
Tasks = Annotated[str, typer.Option(help="For example wipe,stow-cube. Default: all.")]
OneTask = Annotated[list[str] | None, typer.Option(help="One task; may be repeated, as --tasks.")]
Episodes = Annotated[
    int | None, typer.Option(min=1, help="Held-out episodes of each task and perturbation.")
]
Processes = Annotated[
    int,
    typer.Option(
        "--jobs", min=0, help="Processes; 0: one per processor. The numbers are the same."
    ),
]
Expert = Annotated[
    bool, typer.Option("--expert", help="Let the scripted experts act: what can be reached.")
]
Replays = Annotated[
    int, typer.Option(min=0, help="Pages to write of so many of the worst episodes.")
]
Device = Annotated[str, typer.Option(help="Where the policy acts: auto, cpu, cuda, cuda:N or mps.")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder for the results; default RUN/evaluation, of RUN/best RUN/evaluation-best.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an evaluation that was interrupted.")
]


def evaluate_command(
    context: typer.Context,
    source: Source,
    suite: SuiteName = "nominal",
    perturbations: Perturbations = "",
    tasks: Tasks = "",
    task: OneTask = None,
    episodes: Episodes = None,
    processes: Processes = 0,
    expert: Expert = False,
    replays: Replays = 0,
    device: Device = "cpu",
    out: Out = None,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Roll a policy out on held-out seeds and write results, figures and a report."""
    from vand_robot.workflows.evaluate import (  # noqa: PLC0415  (torch takes a second)
        evaluation_folder,
        run_evaluation,
    )

    folder = out or evaluation_folder(source, expert=expert)
    try:
        with console.progress_bar("evaluating") as progress:
            result = run_evaluation(
                source,
                folder,
                suite=suite,
                perturbations=names(perturbations),
                tasks=[*names(tasks), *(task or [])],
                episodes=episodes,
                processes=processes,
                expert=expert,
                replays=replays,
                device=device,
                resume=resume,
                force=force,
                progress=progress,
                note=console.err.print,
            )
    except KeyboardInterrupt:
        console.err.print(_interrupted(folder, resuming(context)))
        raise SystemExit(INTERRUPTED) from None
    if json:
        console.print_json(result.to_json())
        return
    columns, rows = console.results_table(result)
    console.print_table(f"{result.policy.run}: held-out episodes", columns, rows)
    console.out.print(f"report: {folder / 'report.html'}")


def _interrupted(folder: Path, resuming_command: str) -> str:
    """The line after Ctrl-C: how to go on, if there is anything to go on with."""
    from vand_robot.layout import JOBS_FOLDER, RESULTS_FILE  # noqa: PLC0415

    jobs = folder / JOBS_FOLDER
    if jobs.is_dir() and any(jobs.iterdir()):
        return f"interrupted; to go on: {resuming_command}"
    if (folder / RESULTS_FILE).exists():
        return f"interrupted; the evaluation in {folder} is whole"
    return "interrupted before anything was finished; the same command begins anew"
