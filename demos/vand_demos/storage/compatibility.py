"""Which episodes and files belong together in one data set."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vand_demos.episode import ACTION_MODES, Episode
from vand_demos.native import NATIVE, bounds_fault
from vand_demos.scenes import adopt_scene
from vand_demos.storage.layout import BOUNDS, ENV_KWARGS
from vand_demos.system.json_record import JsonRecord
from vand_envs import get_task, task_ids
from vand_envs.errors import VandError
from vand_envs.rendering import MAX_PICTURE_PX
from vand_envs.robots.records import ROBOT_RECORD, adopt
from vand_envs.scenes import SCENE_RECORD
from vand_envs.world import TIME_STEPS_S


def require_env_args(what: str, env_args: Any) -> None:
    """Check that env_args holds everything that it must.

    Raises:
        VandError: It does not.
    """
    record = JsonRecord.of(what, env_args, "env_args")
    for key in ("env_name", "env_version"):
        record.text(key)
    record.integer("type")
    kwargs = record.record("env_kwargs")
    robot = kwargs.text("robot")
    if ROBOT_RECORD in record.values:
        described = adopt(record.record(ROBOT_RECORD).values, what)
        if described.id != robot:
            raise kwargs.mistake("robot", repr(described.id))
    if SCENE_RECORD in record.values or "scene" in kwargs.values:
        scene = adopt_scene(record.record(SCENE_RECORD).values, what)
        if scene.id != kwargs.text("scene"):
            raise kwargs.mistake("scene", repr(scene.id))
    if kwargs.text("action_mode") not in ACTION_MODES:
        raise kwargs.mistake("action_mode", f"one of {', '.join(ACTION_MODES)}")
    kwargs.number("control_dt_s", *TIME_STEPS_S)
    kwargs.text_list("instructions")
    if kwargs.values["action_mode"] == NATIVE:
        low, high = (np.array(kwargs.number_list(name)) for name in BOUNDS)
        if (fault := bounds_fault(low, high)) is not None:
            raise VandError(f"{what}: env_args.env_kwargs: {fault}")
    if "cameras" not in kwargs.values:
        return
    cameras = kwargs.record("cameras")
    for name in cameras.values:
        size = cameras.integer_list(name, 1)
        if len(size) != 2 or max(size) > MAX_PICTURE_PX:
            raise cameras.mistake(name, f"height and width, at most {MAX_PICTURE_PX}")


def require_compatible(
    env_args: Mapping[str, Any], other: Mapping[str, Any], what: str = "the data set"
) -> None:
    """Check that two environments have the same robot, actions, control step and instructions.

    Args:
        env_args: What is wanted.
        other: What is there.
        what: What the second belongs to, for the message.

    Raises:
        VandError: They differ; the line names in what.
    """
    require_env_args("the environment", env_args)
    require_env_args(what, other)
    for key in ENV_KWARGS:
        ours, theirs = env_args["env_kwargs"].get(key), other["env_kwargs"].get(key)
        if key in ("instructions", *BOUNDS):
            ours, theirs = list(ours or ()), list(theirs or ())
        if ours != theirs:
            raise VandError(f"{what} does not fit: {key}: expected {ours!r}, got {theirs!r}")


class Recordings:
    """The recordings that belong to something, so that none gets into it twice."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}

    def require_new(self, uid: str, place: str) -> None:
        """Check that a recording is not among them.

        Args:
            uid: Identity of the recording.
            place: Where it is, for the message.

        Raises:
            VandError: It is; the line names both places.
        """
        if uid in self._places:
            raise VandError(f"{place} is the same recording as {self._places[uid]}")

    def add(self, uid: str, place: str) -> None:
        """Add a recording.

        Raises:
            VandError: It is among them already.
        """
        self.require_new(uid, place)
        self._places[uid] = place

    def discard(self, uid: str) -> None:
        """Forget a recording, where it is among them."""
        self._places.pop(uid, None)


def signature(episode: Episode) -> dict[str, str]:
    """Properties that all episodes of a data set share: array -> shape of a step and type."""
    return {
        path: f"{array.shape[1:]} {array.dtype}"
        for path, array in episode.arrays()
        if path.partition("/")[0] in ("actions", "action_dict", "obs", "states")
    }


def reward_fault(episode: Episode) -> str | None:
    """The fault of a success without a reward, or None.

    The reward of the last stage marks when a task was done. Nothing can be said of tasks that are
    not known here, nor of those that go on in cycles.
    """
    if not episode.success or episode.source or episode.task not in task_ids():
        return None
    if episode.rewards is None or episode.rewards.any():
        return None
    if get_task(episode.task).kind != "sequential":
        return None
    return "success: expected a reward for it, but all rewards are zero"


def _step_task_fault(episode: Episode, instructions: Sequence[str]) -> str | None:
    """The fault of the task of each step beside the instructions of a data set, or None."""
    told = episode.step_tasks
    if told is None:
        return None
    if (largest := int(told.max())) >= len(instructions):
        return f"step_tasks: expected less than {len(instructions)} (instructions), got {largest}"
    if (last := instructions[told[-1]]) != episode.task:
        return f"step_tasks: expected the episode's task {episode.task!r} at the end, got {last!r}"
    return None


def require_fits(episode: Episode, env_args: Mapping[str, Any], first: Mapping[str, str]) -> None:
    """Check that an episode belongs into a data set.

    Args:
        episode: The episode.
        env_args: The environment of the data set.
        first: The signature of an episode that is there already; empty where there is none.

    Raises:
        VandError: It differs in action mode, control step, task or arrays.
    """
    kwargs = env_args["env_kwargs"]
    for key in ("action_mode", "control_dt_s"):
        if getattr(episode, key) != kwargs[key]:
            raise VandError(
                f"{episode.label}: {key}: expected {kwargs[key]!r} as in the data set,"
                f" got {getattr(episode, key)!r}"
            )
    for key in BOUNDS:
        ours, theirs = getattr(episode, key), kwargs.get(key)
        if ours is not None and ours.tolist() != list(theirs or ()):
            raise VandError(
                f"{episode.label}: {key}: expected {theirs!r:.60} as in the data set,"
                f" got {ours.tolist()!r:.60}"
            )
    if episode.task not in kwargs["instructions"]:
        raise VandError(
            f"{episode.label}: task: expected one of {', '.join(kwargs['instructions'])},"
            f" got {episode.task!r}"
        )
    if (fault := _step_task_fault(episode, kwargs["instructions"])) is not None:
        raise VandError(f"{episode.label}: {fault}")
    arrays = signature(episode) if first else {}
    for path in sorted(first.keys() | arrays.keys()):
        if path == "states" and (path not in first or path not in arrays):
            continue  # states may be left out of any episode
        if first.get(path) != arrays.get(path):
            raise VandError(
                f"{episode.label}: {path}: expected {first.get(path, 'no such array')} as in"
                f" the data set, got {arrays.get(path, 'none')}"
            )
