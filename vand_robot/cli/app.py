"""The tree of commands, and mistakes in how they are written."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import typer

import vand_robot
from vand_envs import load_plugins
from vand_envs.errors import UsageError, did_you_mean
from vand_robot.cli.console import only_json
from vand_robot.cli.data.demos import demos
from vand_robot.cli.data.hub import pull_command, push_command
from vand_robot.cli.data.record import record_command
from vand_robot.cli.deployment.deploy import deploy_command
from vand_robot.cli.deployment.export import export_command
from vand_robot.cli.deployment.serve import serve_command
from vand_robot.cli.experiments import experiments
from vand_robot.cli.main import INTERRUPTED
from vand_robot.cli.options import PROGRAM, example
from vand_robot.cli.robots import robots
from vand_robot.cli.runs.compare import compare_command
from vand_robot.cli.runs.evaluate import evaluate_command
from vand_robot.cli.runs.quickstart import quickstart_command
from vand_robot.cli.runs.replay import replay_command
from vand_robot.cli.runs.reproduce import reproduce_command
from vand_robot.cli.runs.sweep import sweep_command
from vand_robot.cli.runs.train import train_command
from vand_robot.cli.tasks import tasks_command

app = typer.Typer(
    name=PROGRAM,
    help="Teach robots with small recurrent policies: record, train, evaluate, replay.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(demos, name="demos")
app.add_typer(experiments, name="experiments")
app.add_typer(robots, name="robots")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"{PROGRAM} {vand_robot.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001  (its callback prints it)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE",
            help="Python module with tasks, experts, devices, robots or regularizers of your own;"
            " may be given several times, always before the command.",
        ),
    ] = None,
) -> None:
    """Teach robots with small recurrent policies: record, train, evaluate, replay."""
    load_plugins(plugin or ())


for _name, _command, _example in (
    ("tasks", tasks_command, "tasks"),
    ("record", record_command, "record wipe stir --episodes 30 --session 1 --out demos.hdf5"),
    ("train", train_command, "train gru-vand data=wipe.hdf5 updates=2000 --out runs/wipe"),
    ("evaluate", evaluate_command, "evaluate runs/wipe --suite robustness"),
    ("compare", compare_command, "compare runs --out comparison"),
    ("export", export_command, "export runs/wipe --out policy.onnx"),
    ("deploy", deploy_command, "deploy policy.onnx --driver simulation --instruction wipe"),
    ("sweep", sweep_command, "sweep regularizers overrides.data=demos.hdf5 --jobs 2 --out sweep"),
    ("serve", serve_command, "serve policy.onnx --port 8000"),
    ("replay", replay_command, "replay runs/wipe --task wipe --viewer web"),
    ("push", push_command, "push runs/wipe me/wipe-gru"),
    ("pull", pull_command, "pull me/wipe-gru --out wipe-gru"),
    ("reproduce", reproduce_command, "reproduce runs/wipe --out runs/wipe-again"),
    ("quickstart", quickstart_command, "quickstart --out quickstart"),
):
    app.command(_name, epilog=example(f"{PROGRAM} {_example}"))(_command)


def run_app(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: Words after the program's name.

    Returns:
        The exit code.

    Raises:
        UsageError: The words are no command; the line says the nearest.
        KeyboardInterrupt: Ctrl-C.
    """
    try:
        words = list(arguments)  # also as obj, for commands that name themselves
        with only_json() if "--json" in words else nullcontext():
            result: Any = app(words, prog_name=PROGRAM, standalone_mode=False, obj=[*words])
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        # typer's own usage errors have no public base class; they know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        message = _usage(error, arguments)
        if not message:  # a group without a command: its help was printed
            return UsageError.exit_code
        raise UsageError(message) from None
    if result == INTERRUPTED:  # typer's answer to Ctrl-C; who has said more has left already
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """One line for a mistake in the arguments, with the nearest name where one was misspelt."""
    message = " ".join(str(error.format_message()).split())
    if message.startswith("No such command"):
        return _unknown_command(message.split("'")[1], error.ctx)
    if message.startswith("No such option"):
        if error.option_name == "--plugin":
            name = _value_of("--plugin", arguments)
            return f"--plugin stands before the command: {PROGRAM} --plugin {name} COMMAND ..."
        return _unknown_option(error.option_name, error.ctx.command, arguments)
    return message


def _unknown_command(name: str, context: Any) -> str:
    """The line for a name that is no command here: where it is one, or else the nearest."""
    groups = {"demos": demos, "experiments": experiments, "robots": robots}
    known = list(context.command.commands)
    elsewhere = [f"{group} {name}" for group, sub in groups.items() if name in _commands(sub)]
    if name in _commands(app):
        elsewhere.append(name)
    hint = f" (did you mean {' or '.join(map(repr, elsewhere))}?)" if elsewhere else ""
    hint = hint or did_you_mean(name, known)
    return f"unknown command {name!r}{hint}; known: {', '.join(known)}"


def _commands(group: typer.Typer) -> Iterator[str]:
    for command in group.registered_commands:
        yield str(command.name or getattr(command.callback, "__name__", ""))
    for sub in group.registered_groups:
        yield str(sub.name)


def _unknown_option(option: str, command: Any, arguments: Sequence[str]) -> str:
    """The line for an option that a command lacks: a key of the configuration, or the nearest."""
    if any(parameter.name == "overrides" for parameter in command.params):
        from vand_robot.config.schema import TrainConfig  # noqa: PLC0415
        from vand_robot.config.validation import flatten, to_dict  # noqa: PLC0415

        key = option.lstrip("-").replace("-", "_")
        if key in flatten(to_dict(TrainConfig())):
            meant = f"{key}={_value_of(option, arguments)}"
            return f"unknown option {option!r} of {command.name} (did you mean {meant!r}?)"
    known = [
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("-")
    ]
    nearest = did_you_mean(option, known)
    listing = ", ".join(sorted(known))
    return f"unknown option {option!r} of {command.name}{nearest}; known: {listing}"


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """The word that was written as an option's value, or `VALUE`."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else following or "VALUE"
    return "VALUE"
