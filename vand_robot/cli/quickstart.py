"""Quickstart: record, train, evaluate and replay, end to end, on both kinds of task."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vand_demos.recording import episodes_missing, record
from vand_demos.storage.layout import parts_folder
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer
from vand_envs.world import make_world
from vand_robot.cli import console
from vand_robot.config.library import find_config
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import processors
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
"""Of which a video is written beside the pages."""
DEMONSTRATIONS = 120
"""Recorded for each task."""
EPISODES = 50
"""Held-out episodes of each task in the evaluation."""
REPLAY_S = 30.0
"""Length of the replays [s]."""
SESSION_SEED = 1
"""Seed of the recording session; the shipped data set was recorded with another."""
MARKER = "quickstart"
"""File that marks a folder as made by quickstart: force clears no other."""
DEMOS, RUN = "demos.hdf5", "run"
PAGES = {f"Replay of {task}": f"replay-{task}.html" for task in TASKS}
VIDEOS = {f"Video of {VIDEO_TASK}": f"replay-{VIDEO_TASK}.mp4"}


class QuickstartInterruptedError(VandError):
    """Ctrl-C while demonstrations were recorded; what was finished is safe."""

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

    Returns:
        The result of the evaluation.

    Raises:
        UsageError: The folder exists, or both `resume` and `force`.
        VandError: Something failed; the line says what.
    """
    _prepare(out, resume=resume, force=force)
    demos, run = out / DEMOS, out / RUN
    began = time.monotonic()
    drawable = _can_draw()
    with _step(1, f"recording {demonstrations} demonstrations of each task"):
        _record(demos, demonstrations)
    with _step(2, "training one policy on both tasks"):
        run_training(
            find_config("quickstart"),
            [f"data=[{demos}]", *overrides],
            run,
            resume=(run / LAST).exists(),
            force=run.exists() and not (run / LAST).exists(),
            console=console.err,
        )
    videos = VIDEOS if drawable else {}
    evaluated = (out / RESULTS_FILE).exists()
    with (
        _step(3, f"evaluating {episodes} held-out episodes of each task"),
        console.progress_bar("evaluating", 1) as progress,
    ):
        result = run_evaluation(
            run,
            out,
            episodes=episodes,
            processes=processors(),
            resume=not evaluated,
            force=evaluated,
            links={**PAGES, **videos},
            progress=progress,
        )
    with _step(4, "writing replays"):
        for task, page in zip(TASKS, PAGES.values(), strict=True):
            motion = policy_motion(run, task, 0, replay_s)
            write_motion(motion, out / page, "html")
            for video in videos.values() if task == VIDEO_TASK else ():
                write_motion(motion, out / video, "video")
    console.err.print(f"done in {time.monotonic() - began:.0f} s: {out / REPORT_FILE}")
    return result


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
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()


def _clear(out: Path) -> None:
    """Remove what quickstart goes on from, and the pages of what it did.

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
def _step(number: int, what: str) -> Iterator[None]:
    console.err.print(f"{number}/4 {what}", style="bold")
    began = time.monotonic()
    yield
    console.err.print(f"    {time.monotonic() - began:.0f} s")


def _record(path: Path, wanted: int) -> None:
    for task in TASKS:
        rest = episodes_missing(path, task, episodes=wanted, session=SESSION_SEED)
        if rest == 0:
            continue
        with console.progress_bar(f"recording {task}", rest) as progress:
            report = record(
                task, path, episodes=rest, session=SESSION_SEED, resume=True, progress=progress
            )
        if report.interrupted:
            raise QuickstartInterruptedError("interrupted; --resume goes on with what is recorded")


def _can_draw() -> bool:
    """Whether a video can be drawn here; where it cannot, a line says why before the work."""
    try:
        with Renderer(make_world().model, 64, 48):
            return True
    except VandError as error:
        console.err.print(f"no video will be written: {error}")
        return False
