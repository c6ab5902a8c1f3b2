"""The `vand-robot` command: parsing and printing only."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

try:
    import vand_envs  # noqa: F401  (first of all: it raises where MUJOCO_GL cannot be used)
except Exception as error:
    if not hasattr(error, "exit_code"):  # a VandError, whose class cannot be imported then either
        raise
    sys.exit(f"error: {error}")  # exit code 1; `main` does not exist yet

import vand_robot
from vand_envs import get_task, task_ids
from vand_envs.errors import VandError, did_you_mean
from vand_robot.cli import console
from vand_robot.cli.demos import demos
from vand_robot.cli.evaluate import evaluate_command, study_command
from vand_robot.cli.experiments import bench
from vand_robot.cli.options import Force, Json, example
from vand_robot.cli.record import record_command
from vand_robot.cli.replay import replay_command

app = typer.Typer(
    name="vand-robot",
    help="Teach robots with small recurrent policies: record, train, evaluate, replay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(demos, name="demos")
app.add_typer(bench, name="bench")


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


@app.command(epilog=example("vand-robot tasks"))
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
                    "stages": list(task.stage_names),
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
                " > ".join(task.stage_names)
                if task.stages or task.cycle is None
                else f"{' and '.join(task.cycle.signal_names)} [{task.cycle.unit}]",
            ]
            for task in known
        ],
    )


app.command(
    "record",
    epilog=example("vand-robot record wipe --episodes 30 --seed 1 --out wipe.hdf5"),
)(record_command)


@app.command(
    "train",
    epilog=example("vand-robot train gru-vand data=[wipe.hdf5] updates=2000 --out runs/wipe"),
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
    from vand_robot.config.library import find_config  # noqa: PLC0415  (torch takes a second to import)
    from vand_robot.workflows.evaluate import run_training  # noqa: PLC0415

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


app.command("evaluate", epilog=example("vand-robot evaluate runs/wipe --suite standard"))(
    evaluate_command
)
app.command("study", epilog=example("vand-robot study runs --out study"))(study_command)


app.command(
    "replay",
    epilog=example("vand-robot replay runs/wipe --task wipe --viewer web"),
)(replay_command)


@app.command("quickstart", epilog=example("vand-robot quickstart --out quickstart"))
def quickstart_command(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything.")] = Path("quickstart"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
    force: Force = False,
) -> None:
    """Record, train, evaluate and replay stow-cube and wipe, end to end, in a few minutes."""
    from vand_robot.cli.quickstart import quickstart  # noqa: PLC0415

    results = quickstart(out, resume=resume, force=force)
    columns, rows = console.results_table(results)
    console.print_table("One policy, both tasks, held-out seeds", columns, rows)
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
        known = {**_commands(app), **_commands(demos), **_commands(bench)}
        return f"unknown command {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}"
    return message


def _commands(group: typer.Typer) -> dict[str, str]:
    named = {
        info.name or getattr(info.callback, "__name__", ""): ""
        for info in group.registered_commands
    }
    return {**named, **{sub.name or "": "" for sub in group.registered_groups}}


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"error: {line if len(line) <= 1000 else f'{line[:997]}...'}\n")
    return code


if __name__ == "__main__":
    main()
