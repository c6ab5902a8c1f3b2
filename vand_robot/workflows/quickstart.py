"""Quickstart: record, train, evaluate and replay, end to end, on both kinds of task."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from vand_demos.recording import record
from vand_demos.sessions import episodes_missing
from vand_demos.storage.layout import parts_folder
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec, require_offered
from vand_envs.world import make_world
from vand_robot.config.library import find_config
from vand_robot.config.loading import load_config
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.layout import (
    LAST,
    REPORT_FILE,
    RESULTS_FILE,
    EvaluationFolder,
    RunFolder,
    remove_entries,
)
from vand_robot.viewer.replay import policy_motion, write_motion
from vand_robot.workflows.evaluate import run_evaluation
from vand_robot.workflows.train import run_training

TASKS = ("stow-cube", "wipe")
VIDEO_TASK = "stow-cube"
"""Task of which a video is written beside the pages."""
DEMONSTRATIONS = 120
"""Demonstrations to record of each task."""
EPISODES = 50
"""Held-out episodes of each task in the evaluation."""
REPLAY_S = 30.0
"""Length of the replays [s]."""
SESSION = 1
"""Number of the recording session; the shipped data set was recorded with another."""
MARKER = "quickstart"
"""File that marks a folder as made by quickstart: force clears only such a folder."""
DEMOS, RUN = "demos.hdf5", "run"
ProgressBar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Opens a bar for a piece of work; gives a function of (done, total)."""
PAGES = {f"Replay of {task}": f"replay-{task}.html" for task in TASKS}
VIDEOS = {f"Video of {VIDEO_TASK}": f"replay-{VIDEO_TASK}.mp4"}


class QuickstartInterruptedError(VandError):
    """Ctrl-C; what was finished is safe."""

    exit_code = 130


def quickstart(
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    demonstrations: int = DEMONSTRATIONS,
    episodes: int = EPISODES,
    overrides: Sequence[str] = (),
    replay_s: float = REPLAY_S,
    robot: RobotSpec = DEFAULT_ROBOT,
    console: Console | None = None,
    progress_bar: ProgressBar | None = None,
) -> EvaluationResult:
    """Do everything once: demonstrations, one policy for both tasks, evaluation, replays.

    Args:
        out: Folder for `demos.hdf5`, `run/`, `report.html`, figures and replays.
        resume: Go on where an earlier call stopped.
        force: Begin anew in a folder that quickstart made; what else is there stays.
        demonstrations: To record of each task.
        episodes: Held-out episodes of each task in the evaluation.
        overrides: `key=value` texts for the training configuration.
        replay_s: Length of the replays; that of a stowed cube ends when it is stowed [s].
        robot: The robot.
        console: Where to say what is done; nowhere by default.
        progress_bar: Shows how a step gets on; nothing does by default.

    Raises:
        UsageError: The folder exists, there is nothing to resume, or both `resume` and `force`.
        VandError: Something failed; the line says what.
    """
    console = console or Console(quiet=True)
    progress_bar = progress_bar or _no_bar
    demos, run = out / DEMOS, out / RUN
    settings = [f"data=[{demos}]", *overrides]
    load_config(find_config("quickstart"), settings)  # a mistake in them is found at once
    for task in TASKS:
        require_offered(robot, task)
    _prepare(out, resume=resume, force=force)
    began = time.monotonic()
    drawable = _can_draw(console, robot)
    with _step(console, 1, f"recording {demonstrations} demonstrations of each task"):
        _record(demos, demonstrations, robot, progress_bar)
    with _step(console, 2, "training one policy on both tasks"):
        begun = (run / LAST).exists()
        force_run = run.exists() and not begun
        config = find_config("quickstart")
        run_training(config, settings, run, resume=begun, force=force_run, console=console)
    videos = VIDEOS if drawable else {}
    with (
        _step(console, 3, f"evaluating {episodes} held-out episodes of each task"),
        progress_bar("evaluating") as progress,
    ):
        results = _evaluate(run, out, episodes, {**PAGES, **videos}, progress)
    with _step(console, 4, "writing replays"):
        _write_replays(run, out, replay_s, videos.values())
    console.print(f"done in {time.monotonic() - began:.0f} s: {out / REPORT_FILE}")
    return results


def _evaluate(
    run: Path,
    out: Path,
    episodes: int,
    links: Mapping[str, str],
    progress: Callable[[int, int], None],
) -> EvaluationResult:
    """Evaluate the policy; an evaluation that was finished is made anew, for its links."""
    evaluated = (out / RESULTS_FILE).exists()
    return run_evaluation(
        run,
        out,
        episodes=episodes,
        processes=0,
        resume=not evaluated,
        force=evaluated,
        links=links,
        progress=progress,
    )


def _write_replays(run: Path, out: Path, seconds: float, videos: Iterable[str]) -> None:
    for task, page in zip(TASKS, PAGES.values(), strict=True):
        motion = policy_motion(run, task, 0, seconds)
        write_motion(motion, out / page, "html")
        for video in videos if task == VIDEO_TASK else ():
            write_motion(motion, out / video, "video")


def _prepare(out: Path, *, resume: bool, force: bool) -> None:
    if resume and force:
        raise UsageError("resume a quickstart or begin it anew by force, not both")
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        if not (out / MARKER).exists():
            raise UsageError(f"{out} exists and is no quickstart folder; choose another with --out")
        if force:
            _clear(out)
        elif not resume:
            raise UsageError(f"{out} exists; --resume goes on with it, --force begins anew")
    elif resume:
        raise UsageError(f"{out}: nothing to go on with, no quickstart was begun there")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _clear(out: Path) -> None:
    """Remove what quickstart would go on from, and the pages that it wrote.

    Figures stay until they are replaced, as does what a person put there.
    """
    run = RunFolder(out / RUN)
    # without its configuration, a run's folder that holds anything else would not be trained in
    run.clear(keep_config=True)
    EvaluationFolder(out).clear()
    names = (DEMOS, *PAGES.values(), *VIDEOS.values())
    remove_entries(out, (parts_folder(out / DEMOS), *(out / name for name in names)))
    with suppress(OSError):  # not empty, or not there
        run.path.rmdir()


@contextmanager
def _no_bar(_: str) -> Iterator[Callable[[int, int], None]]:

    def tell(done: int, total: int) -> None:
        """Show nothing."""

    yield tell


@contextmanager
def _step(console: Console, number: int, what: str) -> Iterator[None]:
    console.print(f"{number}/4 {what}", style="bold")
    began = time.monotonic()
    try:
        yield
    except KeyboardInterrupt:
        raise QuickstartInterruptedError(
            "interrupted; --resume goes on with what is finished"
        ) from None
    console.print(f"    {time.monotonic() - began:.0f} s")


def _record(path: Path, wanted: int, robot: RobotSpec, progress_bar: ProgressBar) -> None:
    for task in TASKS:
        rest = episodes_missing(path, task, episodes=wanted, session=SESSION)
        if rest == 0:
            continue
        with progress_bar(f"recording {task}") as progress:
            progress(0, rest)
            report = record(
                task,
                path,
                episodes=rest,
                session=SESSION,
                robot=robot,
                resume=True,
                progress=progress,
            )
        if report.interrupted:
            raise QuickstartInterruptedError("interrupted; --resume goes on with what is recorded")


def _can_draw(console: Console, robot: RobotSpec) -> bool:
    """Whether a video can be drawn here; if not, a line says why before the work begins."""
    try:
        with Renderer(make_world(robot).model, 64, 48):
            return True
    except VandError as error:
        console.print(f"no video will be written: {error}")
        return False
