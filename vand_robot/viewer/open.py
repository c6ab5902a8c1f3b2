"""From a request to the player of a viewer that a person operates."""

from pathlib import Path

from vand_envs.errors import unknown_name
from vand_robot.evaluation.perturbations import NOMINAL
from vand_robot.evaluation.target import load_target
from vand_robot.viewer.live_episodes import LiveEpisodes
from vand_robot.viewer.player import Player
from vand_robot.viewer.recorded_episodes import RecordedEpisodes
from vand_robot.viewer.replay import EXPERT, ReplayRequest, episode_job


def open_player(request: ReplayRequest) -> Player:
    """Open what `vand-robot replay` names, as far as a window can show it.

    Args:
        request: A request for `web` or `native`.

    Raises:
        UsageError: No such task, episode or length.
        VandError: Something cannot be read.
    """
    source: LiveEpisodes | RecordedEpisodes = (
        _rollouts(request, request.task, expert=request.expert)
        if request.is_rollout
        else RecordedEpisodes(request.source, request.task, request.episode)
    )
    if request.beside is None:
        return Player(source)
    if request.beside == EXPERT:
        return Player(source, _rollouts(request, source.task, expert=True))
    return Player(source, RecordedEpisodes(Path(request.beside), source.task))


def _rollouts(request: ReplayRequest, task: str | None, *, expert: bool) -> LiveEpisodes:
    target = load_target(request.source, expert=expert)
    task = next(iter(target.references)) if task is None else task
    if task not in target.references:
        raise unknown_name("task", task, target.references)
    perturbation = request.perturbation or NOMINAL.name
    return LiveEpisodes(
        target,
        lambda task, index: episode_job(
            target, task, index, request.seconds, perturbation=perturbation
        ),
        task,
        request.index or 0,
    )
