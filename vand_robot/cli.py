"""The `vand-robot` command: parsing and printing only."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import vand_robot
from vand_demos import check_file, repair
from vand_demos.describe import describe
from vand_demos.editing import split
from vand_demos.experts import Disturbance
from vand_demos.session import record
from vand_envs import get_task, task_ids
from vand_envs.controller import action_mode as to_action_mode
from vand_envs.errors import UsageError, VandError, did_you_mean, unknown_name
from vand_robot import console

app = typer.Typer(
    name="vand-robot",
    help="Teach robots with small recurrent policies: record, train, evaluate, replay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
demos = typer.Typer(help="Look after data sets of demonstrations.", no_args_is_help=True)
app.add_typer(demos, name="demos")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
DataFile = Annotated[Path, typer.Argument(metavar="FILE", help="Data set (HDF5).")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")]


def _example(command: str) -> str:
    return f"Example: [bold]{command}[/bold]"


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vand-robot {vand_robot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Teach robots with small recurrent policies: record, train, evaluate, replay."""


@app.command(epilog=_example("vand-robot tasks"))
def tasks(json: Json = False) -> None:
    """List the tasks: id, kind, instruction, stages or cycle."""
    known = [get_task(task_id) for task_id in task_ids()]
    if json:
        console.print_json(
            [
                {
                    "id": task.id,
                    "kind": task.kind,
                    "instruction": task.instruction,
                    "env_id": task.env_id,
                    "horizon_s": task.horizon_s,
                    "stages": [stage.name for stage in task.stages],
                }
                for task in known
            ]
        )
        return
    console.print_table(
        "Tasks",
        ("id", "kind", "instruction", "stages, or the cycle's plane"),
        [
            [
                task.id,
                task.kind,
                task.instruction,
                " > ".join(stage.name for stage in task.stages)
                if task.cycle is None
                else f"{' and '.join(task.cycle.signal_names)} [{task.cycle.unit}]",
            ]
            for task in known
        ],
    )


@app.command(
    "record",
    epilog=_example("vand-robot record wipe --episodes 30 --seed 1 --out wipe.hdf5"),
)
def record_command(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Task id, see `vand-robot tasks`.")],
    out: Annotated[Path, typer.Option("--out", help="Data set to write (HDF5).")],
    device: Annotated[str, typer.Option(help="Who drives: expert.")] = "expert",
    episodes: Annotated[int, typer.Option(help="Successful episodes to record.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the session, 0 to 999.")] = 0,
    disturb: Annotated[
        float, typer.Option(help="Scale of the disturbance while demonstrating; 0: none.")
    ] = Disturbance().scale,
    keep_failures: Annotated[bool, typer.Option(help="Keep failed episodes too.")] = False,
    action_mode: Annotated[str, typer.Option(help="ee_twist or joint.")] = "ee_twist",
    rate: Annotated[float, typer.Option(help="Control rate [Hz].")] = 10.0,
    states: Annotated[bool, typer.Option(help="Store simulator states (exact replay).")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Add to the data set.")] = False,
    json: Json = False,
) -> None:
    """Record demonstrations of a task into a data set."""
    if disturb < 0:
        raise UsageError(f"--disturb: expected 0 or more, got {disturb:g}")
    if not 1 <= rate <= 100:
        raise UsageError(f"--rate: expected 1 to 100 Hz, got {rate:g}")
    with console.progress_bar(f"recording {task}", episodes) as progress:
        report = record(
            task,
            out,
            episodes=episodes,
            seed=seed,
            device=device,
            disturbance=Disturbance(scale=disturb) if disturb else None,
            keep_failures=keep_failures,
            action_mode=to_action_mode(action_mode),
            control_dt_s=1 / rate,
            states=states,
            resume=resume,
            progress=progress,
        )
    if json:
        console.print_json({**vars(report), "path": str(report.path)})
        return
    console.out.print(
        f"{report.path}: {report.recorded} episodes of {task} recorded in {report.attempts}"
        f" attempts, {report.steps} steps; {report.total} episodes in all"
    )


@demos.command(epilog=_example("vand-robot demos info demos/data/workshop.hdf5"))
def info(file: DataFile, json: Json = False) -> None:
    """Tell what is in a data set."""
    facts = describe(file)
    if json:
        console.print_json(facts)
        return
    console.print_table(
        f"{file}: {facts['episodes']} episodes, {facts['steps']} steps,"
        f" {facts['size_bytes'] / 1e6:.1f} MB",
        ("task", "instruction", ">episodes", ">success", ">steps (min, median, max)"),
        [
            [
                task,
                entry["instruction"],
                str(entry["episodes"]),
                console.percent(entry["success"]),
                ", ".join(f"{n:g}" for n in entry["steps"].values()),
            ]
            for task, entry in facts["tasks"].items()
        ],
    )
    lines = {
        "robot": facts["robot"],
        "actions": f"{facts['action_mode']} at {1 / facts['control_dt_s']:g} Hz",
        "devices": ", ".join(f"{name} ({n})" for name, n in facts["devices"].items()),
        "masks": ", ".join(f"{name} ({n})" for name, n in facts["masks"].items()) or "none",
        "states": "stored" if facts["states"] else "left out",
        "observations": ", ".join(
            f"{key} {'x'.join(map(str, shape))}" for key, shape in facts["observations"].items()
        ),
    }
    for name, text in lines.items():
        console.out.print(f"[bold]{name}[/bold]: {text}")
    if facts["pending_parts"]:
        console.out.print(
            f"{facts['pending_parts']} recorded episodes are not packed yet:"
            f" vand-robot demos repair {file}"
        )


@demos.command(epilog=_example("vand-robot demos check demos/data/workshop.hdf5"))
def check(file: DataFile, json: Json = False) -> None:
    """Check every array of a data set; one line per fault, exit code 1 if there is any."""
    faults = check_file(file)
    if json:
        console.print_json({"path": str(file), "faults": faults})
    else:
        for fault in faults:
            typer.echo(fault)
        if not faults:
            typer.echo(f"{file}: sound")
    if faults:
        raise typer.Exit(1)


@demos.command("repair", epilog=_example("vand-robot demos repair wipe.hdf5"))
def repair_command(file: DataFile, json: Json = False) -> None:
    """Pack the episodes that a crashed recording has left into the data set."""
    report = repair(file)
    if json:
        damaged = [str(path) for path in report.damaged]
        console.print_json({**vars(report), "path": str(report.path), "damaged": damaged})
        return
    typer.echo(
        f"{report.path}: {report.episodes} episodes, {report.recovered} of them recovered now"
    )
    for path in report.damaged:
        typer.echo(f"{path}: cannot be read, kept aside")


@demos.command("split", epilog=_example("vand-robot demos split wipe.hdf5 --valid 0.2"))
def split_command(
    file: DataFile,
    valid: Annotated[float, typer.Option(help="Share held out for validation.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Which episodes are held out.")] = 0,
) -> None:
    """Set the masks `train` and `valid`, in the same proportion for every task."""
    masks = split(file, valid, seed)
    typer.echo(f"{file}: " + ", ".join(f"{key} {len(names)}" for key, names in masks.items()))


@app.command(
    "train",
    epilog=_example("vand-robot train gru-vand data=[wipe.hdf5] updates=2000 --out runs/wipe"),
)
def train_command(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of one in configs/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Overrides of the configuration."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint, exactly.")
    ] = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Train a policy on demonstrations by behaviour cloning."""
    from vand_robot.configs import find_config  # noqa: PLC0415  (torch takes a second to import)
    from vand_robot.experiment import run_training  # noqa: PLC0415

    result = run_training(
        find_config(config), overrides or [], out, resume=resume, force=force, console=console.err
    )
    if json:
        console.print_json({**vars(result), "out": str(result.out), "best": dict(result.best)})
        return
    best = ", ".join(
        f"{key.removeprefix('rollouts/')} {value:.2f}"
        for key, value in result.best.items()
        if key.startswith("rollouts/") or key == "valid/nll"
    )
    console.out.print(
        f"{result.out}: {result.updates} updates in {result.seconds:.0f} s;"
        f" best at update {result.best.get('update', 0):g} ({best})"
    )


@app.command("evaluate", epilog=_example("vand-robot evaluate runs/wipe --episodes 50 --task wipe"))
def evaluate_command(
    run: RunFolder,
    episodes: Annotated[int, typer.Option(help="Held-out episodes of each task.")] = 50,
    task: Annotated[
        list[str] | None, typer.Option(help="Task to evaluate; may be repeated. Default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the results; default RUN/evaluation.")
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Roll a policy out on held-out seeds and write results, figures and a report."""
    from vand_robot.experiment import run_evaluation  # noqa: PLC0415

    if episodes < 1:
        raise UsageError(f"--episodes: expected at least 1, got {episodes}")
    folder = out or run / "evaluation"
    with console.progress_bar("evaluating", 1) as progress:
        results = run_evaluation(
            run, folder, episodes=episodes, tasks=task or [], force=force, progress=progress
        )
    if json:
        console.print_json(results)
        return
    console.print_table(
        f"{run}: {episodes} held-out episodes of each task",
        console.RESULTS_COLUMNS,
        console.results_rows(results),
    )
    console.out.print(f"report: {folder / 'report.html'}")


@app.command(
    "replay",
    epilog=_example("vand-robot replay runs/wipe --task wipe --viewer html --out wipe.html"),
)
def replay_command(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="Training run, or data set (HDF5).")
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    viewer: Annotated[str, typer.Option(help="html or video.")] = "html",
    task: Annotated[str | None, typer.Option(help="Task; default: the first.")] = None,
    seed: Annotated[int, typer.Option(help="Run: which held-out episode, 0, 1, ...")] = 0,
    episode: Annotated[
        str | None, typer.Option(help="Data set: name of the demonstration, demo_0 ...")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Run: length; default: as in the evaluation.")
    ] = None,
    camera: Annotated[str, typer.Option(help="Camera of the scene.")] = "overview",
    force: Force = False,
) -> None:
    """Write what a policy does, or what was demonstrated, as a 3-D page or a video."""
    from vand_robot.replay import VIEWERS, replay  # noqa: PLC0415

    if viewer not in VIEWERS:
        raise unknown_name("viewer", viewer, VIEWERS)
    with console.progress_bar(f"writing {out.name}", 1) as progress:
        summary = replay(
            source,
            out,
            viewer=viewer,
            task=task,
            seed=seed,
            episode=episode,
            seconds=seconds,
            camera=camera,
            force=force,
            progress=progress,
        )
    console.out.print(f"{out}: {summary}")


@app.command("quickstart", epilog=_example("vand-robot quickstart --out quickstart"))
def quickstart_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path("quickstart"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    force: Force = False,
) -> None:
    """Record, train, evaluate and replay both tasks, end to end, in a few minutes."""
    from vand_robot.quickstart import quickstart  # noqa: PLC0415

    results = quickstart(out, resume=resume, force=force)
    console.print_table(
        "One policy, both tasks, held-out seeds",
        console.RESULTS_COLUMNS,
        console.results_rows(results),
    )
    console.out.print(f"open {out / 'report.html'} in a browser")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; every failure is one line on standard error and an exit code.

    1 is a failure of data or machine, 2 a mistake in what was asked for, 130 Ctrl-C.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = app(arguments, standalone_mode=False)
    except VandError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except OSError as error:
        return _fail_system(error)
    except Exception as error:
        # typer's own usage errors have no public base class; they know how to say themselves.
        if hasattr(error, "format_message"):
            return _fail(_usage(error), 2)
        raise
    return result if isinstance(result, int) else 0


def _fail_system(error: OSError) -> int:
    if error.errno == errno.EPIPE:
        # nobody reads on: let the interpreter's last flush go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    where = f"{error.filename}: " if error.filename else ""
    return _fail(f"{where}{error.strerror or error}", 1)


def _usage(error: Any) -> str:
    """One line for a mistake in the arguments, with the nearest command where one was misspelt."""
    message = " ".join(str(error.format_message()).split())
    if message.startswith("No such command"):
        name = message.split("'")[1]
        known = {**_commands(app), **_commands(demos)}
        return f"unknown command {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}"
    return message


def _commands(group: typer.Typer) -> dict[str, str]:
    named = {
        info.name or getattr(info.callback, "__name__", ""): ""
        for info in group.registered_commands
    }
    return {**named, **{sub.name or "": "" for sub in group.registered_groups}}


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    return code


if __name__ == "__main__":
    main()
