"""Makes the session of what a person wants to look at."""

from pathlib import Path

from vand_envs.errors import UsageError, unknown_name
from vand_robot.evaluation.target import find_subject
from vand_robot.viewer.live_episodes import LiveRollout
from vand_robot.viewer.player import Session
from vand_robot.viewer.recorded_episodes import Demonstrations
from vand_robot.viewer.replay import episode_unit

EXPERT = "expert"
"""In place of a data set beside a policy: the scripted expert, on the same seed."""


def open_session(
    source: Path,
    *,
    task: str | None = None,
    seed: int = 0,
    episode: str | None = None,
    seconds: float | None = None,
    condition: str = "nominal",
    expert: bool = False,
    beside: str | None = None,
) -> Session:
    """Open what `vand-robot replay` names, as far as a window can show it.

    Args:
        source: Folder of a run, or a data set.
        task: Task to begin with; the first by default.
        seed: Which held-out episode of a run.
        episode: Name of the demonstration; the first of the task by default.
        seconds: Length of rollouts [s]; as in the evaluation by default.
        condition: Condition of the evaluation under which a run is rolled out.
        expert: Whether the scripted expert acts in place of the run's policy.
        beside: A data set whose demonstrations are shown beside, or `expert`.

    Raises:
        UsageError: No such source, task, episode or condition.
        VandError: Something cannot be read.
    """
    if not source.exists():
        raise UsageError(f"no run and no data set {source}")
    if source.is_file() and not expert:
        shown: LiveRollout | Demonstrations = Demonstrations(source, task, episode)
    elif episode is not None:
        raise UsageError(f"--episode: no demonstration is shown of {source}; use --seed")
    else:
        shown = _rollouts(source, task, seed, seconds, condition, expert=expert)
    if beside is None:
        return Session(shown)
    if beside == EXPERT:
        other: LiveRollout | Demonstrations = _rollouts(
            source, shown.task, seed, seconds, condition, expert=True
        )
    elif not Path(beside).is_file():
        raise UsageError(f"--beside: expected a data set or {EXPERT!r}, got {beside!r}")
    else:
        other = Demonstrations(Path(beside), shown.task)
    return Session(shown, other)


def _rollouts(
    source: Path,
    task: str | None,
    seed: int,
    seconds: float | None,
    condition: str,
    *,
    expert: bool,
) -> LiveRollout:
    subject = find_subject(source, expert=expert)
    task = next(iter(subject.standards)) if task is None else task
    if task not in subject.standards:
        raise unknown_name("task", task, subject.standards)
    return LiveRollout(
        subject,
        lambda task, seed: episode_unit(subject, task, seed, seconds, condition=condition),
        task,
        seed,
    )
