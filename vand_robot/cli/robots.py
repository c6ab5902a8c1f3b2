"""`vand-robot robots`: which robots there are, and whether one of your own can be driven."""

from typing import TYPE_CHECKING, Annotated

import typer

from vand_envs import task_ids
from vand_envs.errors import VandError
from vand_envs.robot import RobotSpec, known_robots
from vand_envs.seeds import TEST_SEED, VALIDATION_SEED
from vand_robot.cli import console
from vand_robot.cli.options import Json, example, names
from vand_robot.config.robots import find_robot, robot_yaml
from vand_robot.metrics.statistics import wilson_interval

if TYPE_CHECKING:
    from vand_demos.robot_check import Finding

robots = typer.Typer(help="Robots: list, describe, check.", invoke_without_command=True)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE", help="Robot by name, or a YAML file that describes it."),
]


@robots.callback()
def list_command(context: typer.Context, json: Json = False) -> None:
    """List the robots; `check` says whether one can be driven, `show` writes its YAML."""
    if context.invoked_subcommand is not None:
        return
    rows = [_facts(robot) for robot in known_robots().values()]
    if json:
        console.print_json(rows)
        return
    columns = ("name", "base", "joints", "gripper", "tasks", "about")
    cells = [[str(row[column]) for column in columns] for row in rows]
    console.print_table("Robots", columns, cells)
    for row in rows:
        if row["missing"]:
            console.err.print(f"note: {row['name']}: {row['missing']}")


def _facts(robot: RobotSpec) -> dict[str, str | int]:
    """What a list says of a robot."""
    from vand_envs.robots.assembly import assemble  # noqa: PLC0415  (it needs MuJoCo)

    missing = ""
    try:
        assemble(robot)
    except VandError as error:
        missing = str(error)
    offered = sum(task not in robot.not_offered for task in task_ids())
    return {
        "name": robot.id,
        "base": robot.base.kind,
        "joints": len(robot.arm.joints),
        "gripper": robot.gripper.kind,
        "tasks": f"{offered} of {len(task_ids())}",
        "about": robot.about,
        "missing": missing,
    }


@robots.command("show", epilog=example("vand-robot robots show ur5e-2f85 > mine.yaml"))
def show_command(name: Name) -> None:
    """Write a robot as YAML, each key with a line of help: the start of one's own."""
    typer.echo(robot_yaml(find_robot(name)), nl=False)


@robots.command("check", epilog=example("vand-robot robots check mine.yaml"))
def check_command(
    name: Name,
    tasks: Annotated[
        str, typer.Option(help="Tasks whose experts are tried; default: all that are offered.")
    ] = "",
    episodes: Annotated[
        int, typer.Option(min=0, help="Episodes of each task; 0: no expert is tried.")
    ] = 4,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen", help="Take the seeds of evaluations: for figures, once nothing is tuned."
        ),
    ] = False,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads to simulate on; 0: one per processor.")
    ] = 0,
) -> None:
    """Say in plain lines whether a robot can be driven, and what it can do."""
    from vand_demos.robot_check import check_robot  # noqa: PLC0415  (it needs MuJoCo)

    failed = []
    first_seed = TEST_SEED if unseen else VALIDATION_SEED
    for finding in check_robot(
        find_robot(name),
        names(tasks) or None,
        episodes,
        first_seed=first_seed,
        num_threads=threads,
    ):
        mark = "ok  " if finding.good else "FAIL"
        console.out.print(f"{mark} {finding.text}{_interval(finding)}", soft_wrap=True)
        failed.append(not finding.good)
    if any(failed):
        raise VandError(f"{name}: {sum(failed)} of {len(failed)} checks failed")


def _interval(finding: "Finding") -> str:
    """What a number of episodes says of a rate."""
    if not finding.episodes:
        return ""
    low, high = wilson_interval(finding.successes, finding.episodes)
    return f" (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
