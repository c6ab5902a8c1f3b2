"""The `vand-robot` command: parsing and printing only."""

import errno
import os
import sys
from typing import Annotated, Any

import typer

try:
    import vand_envs  # noqa: F401  (first of all: it raises where MUJOCO_GL cannot be used)
except Exception as error:
    if not hasattr(error, "exit_code"):  # a VandError, whose class cannot be imported then either
        raise
    sys.exit(f"error: {error}")  # exit code 1; `main` does not exist yet

import vand_robot
from vand_envs.errors import VandError, did_you_mean
from vand_robot.cli.compare import compare_command
from vand_robot.cli.demos import demos
from vand_robot.cli.evaluate import evaluate_command
from vand_robot.cli.experiments import bench
from vand_robot.cli.options import example
from vand_robot.cli.quickstart_command import quickstart_command
from vand_robot.cli.record import record_command
from vand_robot.cli.replay import replay_command
from vand_robot.cli.tasks import tasks_command
from vand_robot.cli.train import train_command

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


app.command("tasks", epilog=example("vand-robot tasks"))(tasks_command)
app.command(
    "record",
    epilog=example("vand-robot record wipe --episodes 30 --seed 1 --out wipe.hdf5"),
)(record_command)


app.command(
    "train",
    epilog=example("vand-robot train gru-vand data=[wipe.hdf5] updates=2000 --out runs/wipe"),
)(train_command)
app.command("evaluate", epilog=example("vand-robot evaluate runs/wipe --suite robustness"))(
    evaluate_command
)
app.command("compare", epilog=example("vand-robot compare runs --out comparison"))(compare_command)


app.command(
    "replay",
    epilog=example("vand-robot replay runs/wipe --task wipe --viewer web"),
)(replay_command)


app.command("quickstart", epilog=example("vand-robot quickstart --out quickstart"))(
    quickstart_command
)


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
