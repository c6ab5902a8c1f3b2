"""`vand-robot record`: parsing and printing."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vand_demos import DemoDataset
from vand_demos.experts import Disturbance
from vand_demos.recording import RECORDING_DEVICES, episodes_missing, record
from vand_demos.recording_options import Connect, SessionReport
from vand_demos.teleop import DeviceOptions, TeleopDevice, open_device
from vand_demos.ui import LOOPBACK
from vand_envs import task_ids
from vand_envs.cameras import parse_image_sizes
from vand_envs.controller import action_mode as to_action_mode
from vand_envs.errors import UsageError, unknown_name
from vand_envs.world import World
from vand_robot.cli import console
from vand_robot.cli.options import Images, ImageSize, Json

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
ALL = "all"
"""In place of a task: every one after the other, by the experts."""


def record_command(
    task: Annotated[
        str, typer.Argument(metavar="TASK", help="Task id, see `vand-robot tasks`; or all.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Data set to write (HDF5).")],
    device: Annotated[
        str, typer.Option(help=f"Who drives: {', '.join(RECORDING_DEVICES)}.")
    ] = "expert",
    episodes: Annotated[int, typer.Option(help="Successful episodes of the session.")] = 30,
    seed: Annotated[int, typer.Option(help="Seed of the session, 0 to 999.")] = 0,
    disturb: Annotated[
        float, typer.Option(help="Expert: scale of the disturbance while demonstrating; 0: none.")
    ] = Disturbance().scale,
    keep_failures: Annotated[bool, typer.Option(help="Keep failed episodes too.")] = False,
    action_mode: Annotated[str, typer.Option(help="ee_twist or joint.")] = "ee_twist",
    rate: Annotated[float, typer.Option(help="Control rate [Hz].")] = 10.0,
    states: Annotated[bool, typer.Option(help="Store simulator states (exact replay).")] = True,
    images: Images = "",
    image_size: ImageSize = "64x64",
    speed: Annotated[
        float, typer.Option(help="Person: share of full speed that is never exceeded.")
    ] = 1.0,
    host: Annotated[str, typer.Option(help="web: where to listen.")] = LOOPBACK,
    port: Annotated[int, typer.Option(help="web: port; 0 takes a free one.")] = 0,
    mapping: Annotated[
        Path | None, typer.Option(help="gamepad, spacemouse: YAML file with the mapping.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Add to the data set. Expert: what is missing of this session, so that the same"
            " command goes on where it was stopped.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Record demonstrations of a task into a data set, by an expert or by hand."""
    if not (math.isfinite(disturb) and disturb >= 0):
        raise UsageError(f"--disturb: expected 0 or more, got {disturb:g}")
    if not 1 <= rate <= 100:
        raise UsageError(f"--rate: expected 1 to 100 Hz, got {rate:g}")
    if device not in RECORDING_DEVICES:
        raise unknown_name("device", device, RECORDING_DEVICES)
    by_hand = device != "expert"
    if by_hand and task == ALL:
        raise UsageError(f"device {device!r} records one task at a time, not {ALL!r}")
    connect: Connect | None = None
    if by_hand:
        connect = partial(_connect, device, host=host, port=port, mapping=mapping)
    tasks = task_ids() if task == ALL else (task,)
    for i, task_id in enumerate(tasks):
        wanted = episodes
        if resume and not by_hand:
            wanted = episodes_missing(
                out, task_id, episodes=episodes, session=seed, keep_failures=keep_failures
            )
        if wanted == 0 < episodes:
            there = f"{out}: all episodes of {task_id} are there; another --seed records others"
            _tell(task_id, _nothing_added(out), there, as_json=json)
            continue
        with console.progress_bar(f"recording {task_id}", wanted, visible=not by_hand) as bar:
            report = record(
                task_id,
                out,
                episodes=wanted,
                session=seed,
                device=device,
                connect=connect,
                speed_limit=speed,
                disturbance=Disturbance(scale=disturb) if disturb else None,
                keep_failures=keep_failures,
                action_mode=to_action_mode(action_mode),
                control_dt_s=1 / rate,
                states=states,
                cameras=parse_image_sizes(images, image_size),
                resume=resume or i > 0,
                progress=bar,
            )
        _tell(task_id, report, _summary(task_id, report), as_json=json)
        if report.interrupted:
            raise typer.Exit(INTERRUPTED)


def _connect(
    device: str, world: World, *, host: str, port: int, mapping: Path | None
) -> TeleopDevice:
    options = DeviceOptions(
        world, host=host, port=port, mapping=mapping, announce=console.err.print
    )
    return open_device(device, options)


def _nothing_added(path: Path) -> SessionReport:
    """The report of a session that is complete already."""
    with DemoDataset.open(path) as dataset:
        return SessionReport(path, recorded=0, attempts=0, total=len(dataset), steps=0)


def _tell(task: str, report: SessionReport, summary: str, *, as_json: bool) -> None:
    if as_json:
        console.print_json({**vars(report), "task": task, "path": str(report.path)})
    else:
        console.out.print(summary)


def _summary(task: str, report: SessionReport) -> str:
    return (
        f"{report.path}: {report.recorded} episodes of {task} recorded in {report.attempts}"
        f" attempts, {report.steps} steps; {report.total} episodes in all"
        f"{' (interrupted)' if report.interrupted else ''}"
    )
