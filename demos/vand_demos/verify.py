"""Verifies a demonstration: how exactly it agrees with what is computed from it again."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from vand_demos.embedded import world_of
from vand_demos.episode import Episode
from vand_demos.native import NATIVE
from vand_demos.scenes import get_scene
from vand_demos.storage.reader import DemoDataset
from vand_envs import TaskBatch, make_world
from vand_envs.controller import action_mode
from vand_envs.errors import VandError, unknown_name
from vand_envs.observation import Observer
from vand_envs.robot import get_robot, known_robots
from vand_envs.simulation import Simulation
from vand_envs.typing import FloatArray, IntArray

SOURCES = ("states", "actions", "controls")
"""Sources to verify a demonstration from: `restore` its states, `resimulate` the others."""

REPORTED_S = (1.0, 5.0)
"""Divergence is reported after these times, and at the end [s]."""

SAME_CONTROL = 1e-5
"""Controls that differ by less are the same [m, rad, m/s or rad/s]: actions are float32."""

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
_CONTROL = int(mujoco.mjtState.mjSTATE_CTRL)
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


@dataclass(frozen=True)
class Restoration:
    """Result of restoring every recorded state."""

    steps: int
    """States restored."""
    built_in_world: bool
    """Whether in this software's own world; otherwise in the one embedded in the episode."""
    differences: Mapping[str, float]
    """Observation key -> largest difference from what was recorded, in the key's own unit."""
    not_compared: tuple[str, ...]
    """Recorded keys that restoring a state does not give: the instruction, images."""

    @property
    def exact(self) -> bool:
        """Whether all that was compared agrees, bit for bit."""
        return not any(self.differences.values())


@dataclass(frozen=True)
class Divergence:
    """Distance of a simulation from the recording."""

    time_s: float
    """Since the start [s]."""
    hand_m: float
    """Distance of the hands [m]."""
    hand_rad: float
    """Angle between the hands [rad]."""
    base_m: float
    """Distance of the bases [m]."""
    base_rad: float
    """Angle between the bases [rad]."""
    objects_m: float
    """Largest distance of an object that moves freely from where it was [m]."""


@dataclass(frozen=True)
class Resimulation:
    """Result of simulating a demonstration again."""

    steps: int
    """Steps simulated."""
    same_start: bool
    """Whether the episode's seed still gives its first state; if not, what else the seed decides
    (masses, friction, latency) has changed too."""
    other_steps: int
    """Steps at which something else than the recorded action was executed."""
    divergence: tuple[Divergence, ...]
    """After each of `REPORTED_S` that the demonstration lasts, and at the end."""

    @property
    def exact(self) -> bool:
        """Whether the simulation agrees with the recording, as far as `divergence` shows it."""
        apart = (distance for at in self.divergence for distance in astuple(at)[1:])
        return self.same_start and not any(apart)


def load_verifiable(path: str | Path, name: str | None = None) -> Episode:
    """Read an episode that can be verified: one with states, of a robot that is known here.

    Args:
        path: The data set.
        name: `demo_<int>`; the first by default.

    Raises:
        UsageError: No such file or episode.
        VandError: It was recorded without states, with another robot, or is damaged.
    """
    with DemoDataset.open(path, guarded=True) as dataset:
        robot = dataset.env_args["env_kwargs"]["robot"]
        robots = known_robots()
        if robot not in robots and dataset.env_args["env_kwargs"]["action_mode"] == NATIVE:
            raise VandError(
                f"{path}: what others recorded cannot be simulated here; vand-robot demos check"
                " checks its arrays"
            )
        if robot not in robots:
            known = ", ".join(map(repr, robots))
            raise VandError(f"{path}: robot: expected {known}, got {robot!r}")
        if not dataset.names:
            raise VandError(f"{path}: the data set is empty")
        episode = dataset.episode(
            dataset.names[0] if name is None else name, next_observations=False
        )
    if episode.states is None:
        raise VandError(
            f"{path}: {episode.name} was recorded without states, so there is nothing to verify"
        )
    return episode


def restore(episode: Episode) -> Restoration:
    """Restore every recorded state and observe it.

    Raises:
        VandError: The episode has no states, or its world cannot be built here.
    """
    states = _states(episode)
    world = world_of(episode)
    try:
        simulation = Simulation(world, 1, episode.control_dt_s)
        observer = Observer(simulation)
    except KeyError as error:
        missing = " ".join(str(error).split())
        raise VandError(
            f"{episode.label}: its world lacks what is observed here: {missing}"
        ) from error
    differences: dict[str, float] = {}
    for step, state in enumerate(states):
        simulation.restore(state[None])
        for key, rows in observer.observe().items():
            recorded = episode.observations.get(key)
            if recorded is None:
                continue
            if recorded.shape[1:] != rows.shape[1:]:
                raise VandError(
                    f"{episode.label}: obs/{key}: expected {rows.shape[1:]} a step as observed"
                    f" here, got {recorded.shape[1:]}"
                )
            difference = float(np.abs(rows[0] - recorded[step]).max())
            differences[key] = max(differences.get(key, 0.0), difference)
    return Restoration(
        steps=len(episode),
        built_in_world=world.xml == make_world(get_robot(episode.robot), scene=world.scene).xml,
        differences=differences,
        not_compared=tuple(sorted(episode.observations.keys() - differences.keys())),
    )


def resimulate(episode: Episode, source: str) -> Resimulation:
    """Simulate an episode again from its first state, and compares that with its states.

    From `actions`, the recorded ones are carried out. They are what the demonstrator wanted: where
    a disturbance was on, the robot executed something else, which is not recorded as an action.
    Its outcome is, though: each state holds the control targets that the step before it led to.
    From `controls`, those are carried out.

    Args:
        episode: The episode.
        source: `actions` or `controls`.

    Raises:
        UsageError: Another source.
        VandError: The episode has no states, lasts one step, or was recorded in another world than
            this software's: what its seed decides cannot be repeated then.
    """
    if source not in SOURCES[1:]:
        raise unknown_name("source", source, SOURCES[1:])
    states = _states(episode)
    if len(states) < 2:
        raise VandError(f"{episode.label}: expected at least two steps to simulate, got one")
    batch = TaskBatch(
        episode.task,
        2,
        action_mode=action_mode(episode.action_mode),
        control_dt_s=episode.control_dt_s,
        physics_dt_s=float(world_of(episode).model.opt.timestep),
        robot=get_robot(episode.robot),
        scene=get_scene(episode.scene),
    )
    if batch.world.xml != episode.model_file or episode.seed is None:
        raise VandError(
            f"{episode.label} was recorded in another world than this software's: it can be"
            f" verified from its states, not simulated again"
        )
    simulation, recorded = batch.simulation, np.array([1])  # row 0 is simulated, row 1 recorded
    batch.reset([episode.seed] * 2)
    same_start = bool(np.array_equal(simulation.state[0], states[0]))
    simulation.restore(np.stack([states[0]] * 2))
    executed = _controls(batch.model, states)  # (N, nu), row t: after step t - 1
    objects = _free_bodies(batch.model)
    reported = {round(t / episode.control_dt_s) for t in REPORTED_S} | {len(states) - 1}
    divergence: list[Divergence] = []
    other_steps = 0
    for step, action in enumerate(episode.actions[:-1]):
        wanted = batch.controller.controls(np.stack([action] * 2))  # (2, nu)
        controls = executed[step + 1]
        other_steps += bool(np.abs(wanted[recorded] - controls).max() > SAME_CONTROL)
        simulation.step(np.stack([controls if source == "controls" else wanted[0], controls]))
        simulation.state[recorded] = states[step + 1]
        simulation.forward(recorded)
        if step + 1 in reported:
            time_s = (step + 1) * episode.control_dt_s
            divergence.append(_divergence(simulation, time_s, objects))
    return Resimulation(len(states) - 1, same_start, other_steps, tuple(divergence))


def _divergence(simulation: Simulation, time_s: float, objects: IntArray) -> Divergence:
    """Distance between the two simulations of a batch."""
    ours, theirs = simulation.base.pose()  # (3,) each: x, y, yaw
    hands = simulation.site_xpos[:, simulation.ee_site]  # (2, 3)
    turned = simulation.site_xmat[:, simulation.ee_site]  # (2, 3, 3)
    places = simulation.xpos[:, objects]  # (2, K, 3)
    return Divergence(
        time_s=time_s,
        hand_m=float(np.linalg.norm(hands[0] - hands[1])),
        hand_rad=_angle(turned[0], turned[1]),
        base_m=float(np.linalg.norm(ours[:2] - theirs[:2])),
        base_rad=float(abs((ours[2] - theirs[2] + np.pi) % (2 * np.pi) - np.pi)),
        objects_m=float(np.linalg.norm(places[0] - places[1], axis=-1).max(initial=0.0)),
    )


def _angle(a: FloatArray, b: FloatArray) -> float:
    """Angle [rad] between two rotations (3, 3): |A - B|_F = 2 sqrt(2) sin(angle / 2)."""
    return float(2 * np.arcsin(min(np.linalg.norm(a - b) / (2 * np.sqrt(2)), 1.0)))


def _states(episode: Episode) -> FloatArray:
    if episode.states is None:
        raise VandError(f"{episode.label} was recorded without states")
    return episode.states


def _controls(model: Any, states: FloatArray) -> FloatArray:
    """The controls in integration states (N, S), (N, nu)."""
    size = mujoco.mj_stateSize(model, _STATE)
    if states.shape[1] != size:
        raise VandError(f"states: expected {size} numbers a step, got {states.shape[1]}")
    controls = np.zeros((len(states), model.nu))
    for state, row in zip(states, controls, strict=True):
        mujoco.mj_extractState(model, state, _STATE, row, _CONTROL)
    return controls


def _free_bodies(model: Any) -> IntArray:
    """Bodies that move by themselves, (K,)."""
    return np.asarray(model.jnt_bodyid[np.flatnonzero(model.jnt_type == _FREE)], np.int64)
