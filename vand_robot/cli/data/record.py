"""`vand-robot record`: parsing and printing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vand_demos.experts import Disturbance
from vand_demos.recording import EXPERT, record_tasks, require_device
from vand_demos.recording_options import (
    ExpertOptions,
    Progress,
    RecordingOptions,
    SessionReport,
    TeleopOptions,
)
from vand_demos.switching import can_switch, require_switchable
from vand_demos.teleop import DeviceOptions, TeleopDevice, open_device
from vand_demos.teleop.devices import BUILT_IN
from vand_demos.ui import LOOPBACK
from vand_envs import get_task, task_ids
from vand_envs.cameras import parse_image_sizes
from vand_envs.controller import action_mode as to_action_mode
from vand_envs.errors import UsageError
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec, require_offered
from vand_envs.world import World
from vand_robot.cli import console
from vand_robot.cli.data.record_env import (
    Env,
    EnvArgs,
    EnvPolicy,
    EnvRequest,
    Instruction,
    Python,
    StopAtSuccess,
)
from vand_robot.cli.data.record_scene import At, Objects, SceneRequest, Spread, WorldFile
from vand_robot.cli.main import INTERRUPTED
from vand_robot.cli.options import Force, Images, ImageSize, Json, Robot, names, resuming
from vand_robot.config.robots import find_robot

ALL = "all"
"""In place of tasks: every one after the other, by the experts."""

Tasks = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TASK ...]", help="Task ids, see `vand-robot tasks`; or all."),
]
Out = Annotated[Path, typer.Option("--out", help="Data set to write (HDF5).")]
Device = Annotated[
    str,
    typer.Option(help=f"Who drives: {', '.join((EXPERT, *BUILT_IN))}, or a device of a plugin."),
]
Episodes = Annotated[
    int, typer.Option(min=1, help="Successful episodes of the session, of each task.")
]
Session = Annotated[int, typer.Option(help="Number of the session, 0 to 999: other starts.")]
Disturb = Annotated[
    float | None,
    typer.Option(
        help="Expert: scale of the disturbance while demonstrating; 0: none; default:"
        f" {Disturbance().scale:g}."
    ),
]
SwitchTo = Annotated[
    str | None,
    typer.Option(
        help="Expert: task to which the instruction changes on the way; it is the one judged."
    ),
]
KeepFailures = Annotated[bool, typer.Option(help="Keep failed episodes too.")]
Mode = Annotated[str, typer.Option(help="ee_twist or joint.")]
Rate = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        max=1000.0,
        help="Control rate [Hz]; default: 10, or the environment's own.",
    ),
]
States = Annotated[bool, typer.Option(help="Store simulator states (exact replay).")]
Speed = Annotated[
    float | None,
    typer.Option(help="Person: share of full speed that is never exceeded; default: 1."),
]
Host = Annotated[str | None, typer.Option(help="web: where to listen; default: here alone.")]
Port = Annotated[int | None, typer.Option(help="web: port; default: a free one.")]
Mapping = Annotated[
    Path | None, typer.Option(help="gamepad, spacemouse: YAML file with the mapping.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Add to the data set. Expert: what is missing of this session, so that the same"
        " command goes on where it was stopped.",
    ),
]


def record_command(
    context: typer.Context,
    out: Out,
    tasks: Tasks = None,
    device: Device = EXPERT,
    episodes: Episodes = 30,
    session: Session = 0,
    disturb: Disturb = None,
    switch_to: SwitchTo = None,
    keep_failures: KeepFailures = False,
    action_mode: Mode = "ee_twist",
    rate: Rate = None,
    robot: Robot = DEFAULT_ROBOT.name,
    states: States = True,
    images: Images = "",
    image_size: ImageSize = "64x64",
    speed: Speed = None,
    host: Host = None,
    port: Port = None,
    mapping: Mapping = None,
    env: Env = None,
    policy: EnvPolicy = None,
    env_arg: EnvArgs = None,
    python: Python = None,
    stop_at_success: StopAtSuccess = False,
    instruction: Instruction = None,
    world: WorldFile = None,
    at: At = None,
    spread: Spread = None,
    objects: Objects = None,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Record demonstrations into a data set: tasks, a scene of your own, or any environment."""
    for what, report in RecordRequest(**context.params).record():
        told = what if switch_to is None else f"{what} then {switch_to}"
        _print_report(context, report, told, device, as_json=json)


@dataclass(frozen=True)
class RecordRequest:
    """What `record` was asked for: its options, by their names."""

    out: Path
    tasks: Sequence[str] | None
    device: str
    episodes: int
    session: int
    disturb: float | None
    switch_to: str | None
    keep_failures: bool
    action_mode: str
    rate: float | None
    robot: str
    states: bool
    images: str
    image_size: str
    speed: float | None
    host: str | None
    port: int | None
    mapping: Path | None
    env: str | None
    policy: str | None
    env_arg: Sequence[str] | None
    python: Path | None
    stop_at_success: bool
    instruction: str | None
    world: Path | None
    at: str | None
    spread: float | None
    objects: str | None
    resume: bool
    force: bool
    json: bool

    def record(self) -> Iterator[tuple[str, SessionReport]]:
        """Record; yield each task, or the environment, with what was recorded of it.

        Raises:
            UsageError: Options that do not belong together, or an unknown name.
        """
        if self.env is None:
            yield from self._tasks()
        else:
            yield self.env, self._environment()

    @property
    def _of_env(self) -> EnvRequest:
        return EnvRequest(
            self.env,
            self.policy,
            self.env_arg or (),
            self.python,
            self.stop_at_success,
            None if self.world else self.instruction,
        )

    @property
    def _of_scene(self) -> SceneRequest:
        return SceneRequest(self.world, self.at, self.spread, self.objects)

    def _environment(self) -> SessionReport:
        """Record an environment of Gymnasium."""
        asked = self._of_scene  # its construction has checked that nothing is for --world
        hand = self.device if self.device != EXPERT else ""
        wanted = self._of_env
        wanted.require_alone(
            tasks=self.tasks,
            device=hand,
            images=self.images,
            disturb=self.disturb,
            switch_to=self.switch_to,
            speed=self.speed,
            world=asked.world,
        )
        return wanted.record(
            self.out,
            episodes=self.episodes,
            session=self.session,
            rate=self.rate,
            keep_failures=self.keep_failures,
            resume=self.resume,
            force=self.force,
        )

    def _tasks(self) -> Iterator[tuple[str, SessionReport]]:
        """Record tasks of ours or a scene of somebody's, by an expert or by hand."""
        self._of_env.require_alone()  # its construction has checked that nothing is for --env
        given = {name: getattr(self, name) for name in _FOR_SOME_DEVICES}
        _check_device(self.device, **given)
        robot, asked = find_robot(self.robot), self._of_scene
        scene = asked.open(self.tasks or (), self.device, self.instruction)
        tasks = self._named(robot) if scene is None else (scene.options.task,)
        yield from record_tasks(
            tasks,
            self.out,
            self._driver(),
            RecordingOptions(
                session=self.session,
                keep_failures=self.keep_failures,
                action_mode=to_action_mode(self.action_mode),
                control_dt_s=0.1 if self.rate is None else 1 / self.rate,
                states=self.states,
                robot=robot,
                scene=scene,
                cameras=parse_image_sizes(self.images, self.image_size),
            ),
            episodes=self.episodes,
            resume=self.resume,
            overwrite=self.force,
            show=_progress if self.device == EXPERT else None,
        )

    def _named(self, robot: RobotSpec) -> tuple[str, ...]:
        """The tasks that are named; those that come before another one can go on to that."""
        tasks = _task_ids(self.tasks or (), robot)
        if self.switch_to is None:
            return tasks
        get_task(self.switch_to)
        if self.tasks == [ALL]:
            return tuple(task for task in tasks if can_switch(task, self.switch_to))
        for task in tasks:
            require_switchable(task, self.switch_to)
        return tasks

    def _driver(self) -> ExpertOptions | TeleopOptions:
        """Who demonstrates, with the options that are given."""
        if self.device == EXPERT:
            scale = Disturbance().scale if self.disturb is None else self.disturb
            disturbance = Disturbance(scale=scale) if scale else None
            return ExpertOptions(disturbance=disturbance, switch_to=self.switch_to)

        def connect(world: World) -> TeleopDevice:
            options = DeviceOptions(
                world,
                host=self.host or LOOPBACK,
                port=self.port or 0,
                mapping=self.mapping,
                announce=console.err.print,
            )
            return open_device(self.device, options)

        speed = 1.0 if self.speed is None else self.speed
        return TeleopOptions(device=self.device, connect=connect, speed_limit=speed)


def _print_report(
    context: typer.Context, report: SessionReport, what: str, device: str, *, as_json: bool
) -> None:
    """Print what was recorded, and how to go on where Ctrl-C ended it."""
    if as_json:
        console.print_json({**vars(report), "task": what, "path": str(report.path)})
    else:
        console.out.print(_summary(what, report, device))
    if report.interrupted:
        console.err.print(f"to go on: {resuming(context)}")
        raise SystemExit(INTERRUPTED)


_FOR_SOME_DEVICES = ("disturb", "switch_to", "speed", "host", "port", "mapping")
"""Options that are not for every device."""


@contextmanager
def _progress(task: str, wanted: int) -> Iterator[Progress]:
    with console.progress_bar(f"recording {task}") as progress:
        progress(0, wanted)
        yield progress


def _check_device(device: str, **given: object) -> None:
    """Check the device, and that no option is given which is not for it."""
    require_device(device)
    own = () if device in (EXPERT, *BUILT_IN) else (device,)
    for option, devices in (
        ("disturb", (EXPERT,)),
        ("switch_to", (EXPERT,)),
        ("speed", (*BUILT_IN, *own)),
        ("host", ("web", *own)),
        ("port", ("web", *own)),
        ("mapping", ("gamepad", "spacemouse", *own)),
    ):
        if given[option] is not None and device not in devices:
            name = option.replace("_", "-")
            raise UsageError(
                f"--{name} is not for the device {device!r}; it is for {', '.join(devices)}"
            )


def _task_ids(words: Sequence[str], robot: RobotSpec) -> tuple[str, ...]:
    """The tasks that are named, each once; all are those that the robot is offered."""
    named = tuple(dict.fromkeys(name for word in words for name in names(word)))
    if not named:
        raise UsageError("tasks: expected at least one task id, or --env, or --world")
    if named == (ALL,):
        return tuple(name for name in task_ids() if name not in robot.not_offered)
    if ALL in named:
        raise UsageError(f"tasks: expected {ALL!r} alone, or task ids, got {', '.join(named)}")
    for name in named:
        require_offered(robot, get_task(name).id)
    return named


def _summary(task: str, report: SessionReport, device: str) -> str:
    if device == EXPERT and not report.attempts and not report.interrupted:
        return f"{report.path}: all episodes of {task} are there; another --session records others"
    return (
        f"{report.path}: {report.recorded} episodes of {task} recorded in {report.attempts}"
        f" attempts, {report.steps} steps; {report.total} episodes in all"
        f"{' (interrupted)' if report.interrupted else ''}"
    )
