"""Makes the session of what a person wants to look at."""

from pathlib import Path

from vand_envs.errors import UsageError, unknown_name
from vand_robot.evaluation.target import load_target
from vand_robot.viewer.live_episodes import LiveEpisodes
from vand_robot.viewer.player import Player
from vand_robot.viewer.recorded_episodes import RecordedEpisodes
from vand_robot.viewer.replay import episode_job

EXPERT = "expert"
"""In place of a data set beside a policy: the scripted expert, on the same seed."""


def open_session(
    source: Path,
    *,
    task: str | None = None,
    seed: int = 0,
    episode: str | None = None,
    seconds: float | None = None,
    perturbation: str = "nominal",
    expert: bool = False,
    beside: str | None = None,
) -> Player:
    """Open what `vand-robot replay` names, as far as a window can show it.

    Args:
        source: Folder of a run, or a data set.
        task: Task to begin with; the first by default.
        seed: Which held-out episode of a run.
        episode: Name of the demonstration; the first of the task by default.
        seconds: Length of rollouts [s]; as in the evaluation by default.
        perturbation: Perturbation of the evaluation under which a run is rolled out.
        expert: Whether the scripted expert acts in place of the run's policy.
        beside: A data set whose demonstrations are shown beside, or `expert`.

    Raises:
        UsageError: No such source, task, episode or perturbation.
        VandError: Something cannot be read.
    """
    if not source.exists():
        raise UsageError(f"no run and no data set {source}")
    if source.is_file() and not expert:
        shown: LiveEpisodes | RecordedEpisodes = RecordedEpisodes(source, task, episode)
    elif episode is not None:
        raise UsageError(f"--episode: no demonstration is shown of {source}; use --seed")
    else:
        shown = _rollouts(source, task, seed, seconds, perturbation, expert=expert)
    if beside is None:
        return Player(shown)
    if beside == EXPERT:
        other: LiveEpisodes | RecordedEpisodes = _rollouts(
            source, shown.task, seed, seconds, perturbation, expert=True
        )
    elif not Path(beside).is_file():
        raise UsageError(f"--beside: expected a data set or {EXPERT!r}, got {beside!r}")
    else:
        other = RecordedEpisodes(Path(beside), shown.task)
    return Player(shown, other)


def _rollouts(
    source: Path,
    task: str | None,
    seed: int,
    seconds: float | None,
    perturbation: str,
    *,
    expert: bool,
) -> LiveEpisodes:
    target = load_target(source, expert=expert)
    task = next(iter(target.references)) if task is None else task
    if task not in target.references:
        raise unknown_name("task", task, target.references)
    return LiveEpisodes(
        target,
        lambda task, seed: episode_job(target, task, seed, seconds, perturbation=perturbation),
        task,
        seed,
    )
