"""Where a task needs memory, nothing that is observed tells what has to be remembered.

Ridge regressions on real demonstrations, cross-validated by episode: at moments that look alike,
the observation must not tell the stage, the count or the time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from vand_demos.experts import Disturbance
from vand_demos.experts.demonstrate import demonstrate
from vand_envs import get_task, task_ids
from vand_envs.judging import CycleCounter
from vand_envs.robot import VANDER
from vand_envs.tasks import buttons, drawer_stow, knock_3, patrol

EPISODES, MORE = 20, 40
"""Demonstrations of each task, and of those that `make slow` examines; every other one is
disturbed."""
FOLDS = 5
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Ridge penalties, of which the one that tells most is taken."""
MOST_TOLD = 0.15
"""Largest share of the variance of what is hidden that an observation may tell: a guess between two
is then right in about two of three cases."""
SETTLED_S = 1.0
"""Time after a knock from which on a waiting hand is at rest."""


# What is hidden, at each step of an episode, (T,); NaN at moments that do not look alike.


def _visit_to_a(episode):
    """Number of the press of A, while the button is down."""
    depth = buttons.BUTTON_HEIGHT_M - _position(episode, "button_a")[:, 2]
    return _runs(depth > buttons.RELEASED_M, depth >= buttons.PRESSED_M)


def _knock(episode):
    """Number of the knock, while the fingers are near the table."""
    gap = -episode.observations["knock_plate_rel"][:, 2] - VANDER.tip_offset_m
    closed = episode.observations["gripper"][:, 0] < knock_3.CLOSED_M
    return _runs(closed & (gap < knock_3.RAISED_M), closed & (gap < knock_3.CONTACT_GAP_M))


def _time_waited(episode):
    """Time since the third knock [s], while the hand waits."""
    last = np.flatnonzero(_knock(episode) == knock_3.KNOCKS)[-1]
    since_s = (np.arange(len(episode)) - last) * episode.control_dt_s
    leaves = np.cumsum((since_s > 0) & (episode.actions[:, -1] > 0)) > 0
    return np.where((since_s > SETTLED_S) & ~leaves, since_s, np.nan)


def _cycles_before(episode):
    """Number of cycles completed before, while the motion counts."""
    task = get_task(episode.task)
    winding, number = CycleCounter(task.cycle, VANDER, 1), np.full(len(episode), np.nan)
    for t in range(len(episode)):
        winding.follow({key: value[t : t + 1] for key, value in episode.observations.items()})
        if winding.valid[0] and 0 < winding.cycles[0] < (task.count or np.inf):
            number[t] = np.floor(winding.cycles[0])
    return number


def _next_loop(episode):
    """Side of the pillar that comes next, in the middle between them."""
    ahead, aside = (episode.observations["base_pose"][:, :2] - patrol.MIDDLE).T
    side, last = np.full(len(episode), np.nan), np.nan
    for t in range(len(episode)):
        if abs(aside[t]) > patrol.PILLAR_M:
            last = np.sign(aside[t])
        elif abs(ahead[t]) < 0.10 and abs(aside[t]) < 0.10:
            side[t] = -last
    return side


def _cube_let_go(episode):
    """Whether the cube has been moved, while the base drives with an open hand."""
    speed = np.linalg.norm(episode.observations["base_twist"][:, :2], axis=1)
    moved = np.cumsum(episode.actions[:, -1] < 0) > 0
    return np.where((speed > 0.2) & (episode.observations["gripper"][:, 0] > 0.08), moved, np.nan)


def _drawer_was_open(episode):
    """Whether the drawer was open before, while the hand has it half-open."""
    x = _to_world(episode, "drawer")[:, 0]
    opening = drawer_stow.CLOSED_KNOB_M[0] - x
    was_open = np.cumsum(opening >= drawer_stow.OPEN_M) > 0
    at_knob = np.linalg.norm(episode.observations["drawer_rel"], axis=1) < 0.03
    return np.where(at_knob & (abs(opening - 0.08) < 0.05), was_open, np.nan)


def _task_on_the_way(episode):
    """Which task it is, until the base stands for the first time."""
    speed = np.linalg.norm(episode.observations["base_twist"][:, :2], axis=1)
    stands = np.cumsum((speed < 0.05) & (np.arange(len(speed)) > 10)) > 0
    return np.where(stands, np.nan, task_ids().index(episode.task))


def _task_while_wiping(episode):
    """Which task it is, in the first four circles."""
    return np.where(_cycles_before(episode) < 4, task_ids().index(episode.task), np.nan)


def _runs(within, reached):
    """Numbers the runs of steps `within` (T,) in which `reached` (T,) comes true: 1, 2, ..."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], within.astype(int), [0]])))
    runs = [(a, b) for a, b in edges.reshape(-1, 2) if reached[a:b].any()]
    number = np.full(len(within), np.nan)
    for k, (begin, end) in enumerate(runs, start=1):
        number[begin:end] = k
    return number


def _position(episode, body):
    return episode.observations["ee_pos"] + episode.observations[f"{body}_rel"]


def _to_world(episode, body):
    x, y, cos, sin = episode.observations["base_pose"].T
    ahead, aside = episode.observations[f"{body}_pos"].T
    return np.stack([x + cos * ahead - sin * aside, y + sin * ahead + cos * aside], axis=1)


@dataclass(frozen=True)
class Alias:
    """Moments that look alike, and what only memory tells of them."""

    tasks: tuple[str, ...]
    hidden: str
    tell: Callable
    keys: tuple[str, ...] = ()
    """What must not tell it; all but the instruction by default."""


ALIASES = (
    Alias(("press-abac",), "which visit to A", _visit_to_a),
    Alias(("press-caba",), "which visit to A", _visit_to_a),
    Alias(("press-abac", "press-caba"), "which order", _task_on_the_way),
    Alias(("wipe",), "how many circles", _cycles_before),
    Alias(("stir",), "how many circles", _cycles_before),
    Alias(("patrol",), "which loop comes next", _next_loop),
    Alias(("patrol",), "how many figures of eight", _cycles_before),
    Alias(("wipe-4",), "how many circles", _cycles_before),
    Alias(("wipe", "wipe-4"), "whether four are wanted", _task_while_wiping),
    Alias(("knock-3",), "how many knocks", _knock),
    Alias(("knock-3",), "how long it has waited", _time_waited),
    # Where the cube is tells what was done with it, and a moving drawer where it moves to. Neither
    # tells what arm and base look like:
    Alias(
        ("stow-cube",),
        "whether the cube was let go",
        _cube_let_go,
        keys=("joint_pos", "gripper", "ee_pos", "ee_rot"),
    ),
    Alias(
        ("drawer-stow",),
        "whether it opens or closes",
        _drawer_was_open,
        keys=("base_pose", "ee_pos", "ee_rot", "drawer_pos"),
    ),
)
SLOW = {("press-caba",), ("press-abac", "press-caba"), ("patrol",), ("wipe-4",), ("stow-cube",)}
SLOW |= {("wipe", "wipe-4"), ("drawer-stow",), ("wipe",)}
"""Tasks that `make slow` examines; always: a press, a wait, circles."""

every_alias = pytest.mark.parametrize(
    "alias",
    [
        pytest.param(
            alias,
            id=f"{'+'.join(alias.tasks)}: {alias.hidden}",
            marks=[pytest.mark.slow] if alias.tasks in SLOW else [],
        )
        for alias in ALIASES
    ],
)


def _count(alias):
    return MORE if alias.tasks in SLOW else EPISODES


@cache
def _demonstrations(task_id, count):
    seeds = range(2000, 2000 + count)
    clean = demonstrate(task_id, seeds[::2], num_threads=1)
    disturbed = demonstrate(task_id, seeds[1::2], disturbance=Disturbance(), num_threads=1)
    return [episode for episode in (*clean, *disturbed) if episode.success]


def _moments(alias):
    """Observations (N, D), what is hidden (N,), and the episode's seed (N,), at those moments."""
    seen, hidden, seeds, count = [], [], [], _count(alias)
    for episode in (e for task in alias.tasks for e in _demonstrations(task, count)):
        told = alias.tell(episode)
        at = np.isfinite(told)
        keys = alias.keys or [key for key in episode.observations if key != "instruction"]
        seen.append(np.concatenate([episode.observations[key][at] for key in keys], axis=1))
        hidden.append(told[at])
        seeds.append(np.full(at.sum(), episode.seed))
    return np.concatenate(seen).astype(np.float64), np.concatenate(hidden), np.concatenate(seeds)


def _told(seen, hidden, seeds):
    """Share of the variance of `hidden` that a ridge regression tells of episodes new to it."""
    fold = np.searchsorted(np.unique(seeds), seeds) % FOLDS
    error = np.zeros((len(PENALTIES), len(hidden)))
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        mean, scale = seen[train].mean(axis=0), seen[train].std(axis=0) + 1e-6
        x, new = (seen[train] - mean) / scale, (seen[test] - mean) / scale
        middle = hidden[train].mean()
        for p, penalty in enumerate(PENALTIES):
            gram = x.T @ x + penalty * np.eye(x.shape[1])
            weight = np.linalg.solve(gram, x.T @ (hidden[train] - middle))
            error[p, test] = hidden[test] - middle - new @ weight
    return 1 - (error**2).mean(axis=1).min() / hidden.var()


def test_every_task_is_examined():
    assert {task for alias in ALIASES for task in alias.tasks} == set(task_ids())


@every_alias
def test_what_has_to_be_remembered_is_not_observed(alias):
    seen, hidden, seeds = _moments(alias)
    assert len(np.unique(seeds)) > 0.8 * _count(alias)
    assert hidden.std() > 0.1
    assert _told(seen, hidden, seeds) < MOST_TOLD
    # The same regression tells it if it is observed, however noisily.
    noise = 0.5 * hidden.std() * np.random.default_rng(0).standard_normal(len(hidden))
    assert _told(np.column_stack([seen, hidden + noise]), hidden, seeds) > 0.6


def test_what_is_observed_is_told():
    """The way to the middle of the console follows from where board and pot are seen."""
    alias = Alias(("press-abac",), "", _visit_to_a, keys=("board_pos", "pot_pos"))
    distance = Alias(("press-abac",), "", _visit_to_a, keys=("button_b_pos",))
    seen, _, seeds = _moments(alias)
    assert _told(seen, _moments(distance)[0][:, 1], seeds) > 0.7
