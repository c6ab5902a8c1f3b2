"""One demonstration: frozen arrays along time that are checked when the episode is built."""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.native import NATIVE, bounds_fault, from_unit
from vand_demos.step_tasks import step_task_faults
from vand_envs.errors import VandError
from vand_envs.robot import DEFAULT_ROBOT
from vand_envs.world import TIME_STEPS_S

DEVICES = ("expert", "web", "keyboard", "gamepad", "spacemouse")
"""Devices that can have driven the robot; those of plugins are called `NAMESPACE/NAME`."""

ACTION_MODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ee_twist": ("base_twist", "ee_twist", "gripper"),
        "joint": ("base_twist", "joint_targets", "gripper"),
        NATIVE: (),
    }
)
"""The parts that make up an action of each mode, in their order; actions of mode native, which
others recorded in units of their own, have none."""

OPTIONAL_PARTS = ("base_twist", "gripper")
"""Parts that a robot with a fixed base, or without a gripper, lacks."""

ACTION_PARTS = tuple(dict.fromkeys(part for parts in ACTION_MODES.values() for part in parts))
"""Every part that an episode may hold, of whatever mode."""

KEY_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,127}")
"""Form of an observation key: safe as a name inside a file."""


IMAGE_TYPE = np.dtype(np.uint8)
"""Type of images; other observations are float32."""


OPTIONAL = ("seed", "success", "device", "model_file", "recorded_at")
"""What may be unknown of an episode that others recorded, besides arrays."""


class EpisodeError(VandError):
    """An episode that breaks rules; `faults` holds one line for each, the message the first."""

    def __init__(self, label: str, faults: Sequence[str]) -> None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{label}: {faults[0]}{more}")
        self.faults = tuple(faults)


@dataclass(frozen=True)
class Unreadable:
    """Stands in for a value that could not be read, so that the check can say why."""

    reason: str
    """Reason, to follow the name of the value: `"is missing"`."""


def mismatch(expected: str, value: Any) -> str:
    """`"expected text, got 3"`, or the reason where the value could not be read."""
    if isinstance(value, Unreadable):
        return (
            value.reason
            if value.reason.startswith("expected")
            else f"expected {expected}, but it {value.reason}"
        )
    return f"expected {expected}, got {_short(value)}"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Episode:
    """A demonstration of N steps.

    Arrays are copied unless they are read-only already, and are read-only afterwards. Step t holds
    what was seen before action t, the action, and what was seen after it, so
    `next_observations[k][:-1]` equals `observations[k][1:]`. Images need not be in
    `next_observations`: they take the most room, and all but the last are in `observations`.

    Raises:
        EpisodeError: At construction, where a rule is broken; the line names the episode, the
            array, and the first bad index with its value.
    """

    task: str
    """Task id."""
    instruction: str
    """Instruction to the robot, in words."""
    seed: int | None = None
    """Seed of the initial state (>= 0); None: unknown, here as below."""
    success: bool | None = None
    """Whether the task was done by the end."""
    device: str | None = None
    """One of `DEVICES`, or `NAMESPACE/NAME` of a plugin's."""
    control_dt_s: float
    """Time between two actions [s]."""
    action_mode: str
    """One of `ACTION_MODES`."""
    observations: Mapping[str, NDArray[Any]]
    """Key -> (N, ...) float32, or (N, H, W, 3) uint8 for images, before each action."""
    next_observations: Mapping[str, NDArray[Any]]
    """The same keys and shapes, after each action; images may be left out, and all is empty where
    it was not loaded."""
    actions: NDArray[np.float32]
    """(N, A), each number in [-1, 1]; `native_actions` are those of mode native in their units."""
    action_parts: Mapping[str, NDArray[np.float32]]
    """Part -> (N, .) in [-1, 1], part of `ACTION_PARTS`; those of the action mode, side by side,
    are `actions`; empty where they are not known."""
    rewards: NDArray[np.float32] | None = None
    """(N,), 1 where a stage completed or a cycle closed, else 0; any finite numbers in what others
    recorded."""
    dones: NDArray[np.int64]
    """(N,), 1 where the episode was over, else 0."""
    states: NDArray[np.float64] | None = None
    """(N, S) mjSTATE_INTEGRATION before each action, or None where they were left out; of what
    others recorded, the state as they have it."""
    model_file: str | None = None
    """The world as MJCF text."""
    recorded_at: str | None = None
    """ISO 8601, UTC."""
    versions: Mapping[str, str]
    """Software -> version that recorded it; and fact -> value of the machine that did."""
    uid: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Identity of this recording (32 hex digits), the same wherever it is copied."""
    disturbed: NDArray[np.bool_] | None = None
    """(N,), whether a disturbance acts during the step or is being recovered from; None where it is
    not known, as of demonstrations by hand."""
    step_tasks: NDArray[np.int64] | None = None
    """(N,) the task that the robot is told at each step, an index among the `instructions` of the
    data set, where that changes on the way; None: `task` throughout. The last is `task`."""
    action_low: NDArray[np.float64] | None = None
    """(A,) least value of each number of an action in its own unit, which -1 stands for; of mode
    native alone."""
    action_high: NDArray[np.float64] | None = None
    """(A,) greatest value, which 1 stands for."""
    source: Mapping[str, str] = field(default_factory=dict)
    """`format`, `name` and `version` of the data set that it was imported from, the `episode` in it
    and notes on how; empty where it was recorded here."""
    name: str = ""
    """`demo_<int>` in the data set it was read from; empty until then."""
    robot: str = DEFAULT_ROBOT.name
    """Id of the robot, which the data set says once for all of its episodes."""
    scene: str = ""
    """Id of the scene of one's own that it took place in, said once as well; empty: another."""

    def __post_init__(self) -> None:
        """Freezes the arrays, then checks them."""
        for item in fields(self):
            object.__setattr__(self, item.name, _frozen(getattr(self, item.name)))
        faults = list(self._faults())
        if faults:
            raise EpisodeError(self.label, faults)

    def __reduce__(self) -> tuple[Any, ...]:
        """Form in which it goes to another process: read-only mappings cannot be pickled."""
        values = {item.name: _thawed(getattr(self, item.name)) for item in fields(self)}
        return partial(Episode, **values), ()

    def __repr__(self) -> str:
        """One line: the arrays would fill the screen."""
        ends = {True: "success", False: "failure", None: "outcome unknown"}
        end = ends[self.success]
        name = f"{self.name}: " if self.name else ""
        return (
            f"Episode({name}{self.task!r}, {len(self)} steps of {self.control_dt_s:g} s, {end},"
            f" seed {self.seed}, by {self.device!r})"
        )

    def __len__(self) -> int:
        """Number of steps N."""
        return len(self.actions)

    @property
    def label(self) -> str:
        """Name of this episode in error messages."""
        return self.name or f"episode of {self.task!r} (seed {self.seed!r})"

    @property
    def native_actions(self) -> NDArray[np.float64]:
        """(N, A) the actions in their own units; those of other modes than native as they are."""
        if self.action_low is None or self.action_high is None:
            return self.actions.astype(np.float64)
        return from_unit(self.actions, self.action_low, self.action_high)

    def renamed(self, name: str) -> "Episode":
        """The same recording under another name; the arrays are shared."""
        return replace(self, name=name)

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Every array with its path inside an episode: `("obs/ee_pos", (N, 3))`."""
        yield "actions", self.actions
        yield from ((f"action_dict/{part}", a) for part, a in self.action_parts.items())
        if self.states is not None:
            yield "states", self.states
        yield from ((f"obs/{key}", a) for key, a in self.observations.items())
        yield from ((f"next_obs/{key}", a) for key, a in self.next_observations.items())
        if self.rewards is not None:
            yield "rewards", self.rewards
        yield "dones", self.dones
        if self.disturbed is not None:
            yield "disturbed", self.disturbed
        if self.step_tasks is not None:
            yield "step_tasks", self.step_tasks

    def _faults(self) -> Iterator[str]:
        """Every rule that this episode breaks, one line each."""
        yield from _attribute_faults(self)
        broken = list(self._array_faults())
        yield from broken
        if not broken:  # comparing arrays makes sense only where each is sound
            yield from self._consistency_faults()

    def _array_faults(self) -> Iterator[str]:
        lengths = [len(a) for _, a in self.arrays() if isinstance(a, np.ndarray) and a.ndim]
        steps = lengths[0] if lengths else 0  # that of the actions, where there are any
        if steps == 0:
            yield "actions: expected at least one step, got none"
        free = ("rewards",) if self.source else ()
        if self.rewards is None and not self.source:
            yield "rewards: is missing"
        for path, array in self.arrays():
            yield from array_faults(path, array, steps, free)
        if self.action_mode == NATIVE:
            a = self.actions
            size = a.shape[1] if isinstance(a, np.ndarray) and a.ndim == 2 else None
            fault = bounds_fault(self.action_low, self.action_high, size)
        else:
            given = [self.action_low is not None, self.action_high is not None]
            fault = "action_low, action_high: expected for native actions only" * any(given)
        if fault:
            yield fault

    def _consistency_faults(self) -> Iterator[str]:
        known = isinstance(self.action_mode, str) and self.action_mode in ACTION_MODES
        mode = ACTION_MODES[self.action_mode] if known and self.action_parts else ()
        if self.robot != DEFAULT_ROBOT.name:  # that one has them all
            lacks = {part for part in OPTIONAL_PARTS if part not in self.action_parts}
            mode = tuple(part for part in mode if part not in lacks)
        yield from _key_faults(self, mode)
        if mode and all(part in self.action_parts for part in mode):
            joined = np.concatenate([self.action_parts[part] for part in mode], axis=1)  # (N, A)
            parts = " + ".join(mode)
            if joined.shape != self.actions.shape:
                yield f"actions: {parts} are {joined.shape}, actions are {self.actions.shape}"
            elif (at := _first(joined != self.actions)) is not None:
                yield f"actions{_at(self.actions, at)} differs from {parts}, {joined[at]}"
        yield from step_task_faults(self.step_tasks, self.observations.get("instruction"))
        for key in sorted(self.observations.keys() & self.next_observations.keys()):
            now, after = self.observations[key], self.next_observations[key]
            if now.shape != after.shape:
                yield f"next_obs/{key}: expected the shape of obs, {now.shape}, got {after.shape}"
            elif (at := _first(after[:-1] != now[1:])) is not None:
                came = f"next_obs/{key}{_at(after, at)}"
                yield f"{came} differs from obs one step later, {now[1:][at]}"


def _attribute_faults(episode: Episode) -> Iterator[str]:
    """Faults of everything in an episode that is not an array, one line each."""
    for name, (rule, holds) in _ATTRIBUTE_RULES.items():
        value = getattr(episode, name)
        if value is None and name in OPTIONAL and episode.source:
            continue
        if isinstance(value, Unreadable):
            yield f"{name}: {value.reason}"
        elif not holds(value):
            yield f"{name}: {mismatch(rule, value)}"


def is_own_device(name: str) -> bool:
    """Whether a device's name is one that a plugin may give: `NAMESPACE/NAME`."""
    return re.fullmatch(r"[\w-]{1,40}/[\w-]{1,40}", name, re.ASCII) is not None


_ATTRIBUTE_RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "task": (
            "a task id such as 'stow-cube'",
            lambda x: isinstance(x, str) and bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,63}", x)),
        ),
        "instruction": ("text", lambda x: isinstance(x, str) and bool(x)),
        "seed": ("an integer >= 0", lambda x: type(x) is int and x >= 0),
        "success": ("true or false", lambda x: type(x) is bool),
        "device": (
            f"one of {', '.join(DEVICES)}, or NAMESPACE/NAME of a plugin's",
            lambda x: isinstance(x, str) and (x in DEVICES or is_own_device(x)),
        ),
        "control_dt_s": (
            f"seconds from {TIME_STEPS_S[0]:g} to {TIME_STEPS_S[1]:g}",
            lambda x: type(x) in (int, float) and TIME_STEPS_S[0] <= x <= TIME_STEPS_S[1],
        ),
        "action_mode": (
            f"one of {', '.join(ACTION_MODES)}",
            lambda x: isinstance(x, str) and x in ACTION_MODES,
        ),
        "model_file": ("MJCF text", lambda x: isinstance(x, str) and "<mujoco" in x),
        "recorded_at": ("ISO 8601 in UTC", lambda x: isinstance(x, str) and _is_utc(x)),
        "versions": (
            "text -> text",
            lambda x: isinstance(x, Mapping) and all(type(s) is str for p in x.items() for s in p),
        ),
        "source": (
            "text -> text",
            lambda x: isinstance(x, Mapping) and all(type(s) is str for p in x.items() for s in p),
        ),
        "uid": (
            "32 hex digits",
            lambda x: isinstance(x, str) and bool(re.fullmatch(r"[0-9a-f]{32}", x)),
        ),
    }
)
"""Field -> (what is expected, whether a value is that)."""


def array_faults(path: str, array: Any, steps: int, free: Sequence[str]) -> Iterator[str]:
    """Faults of one array of an episode by itself, the first of each kind; `free`: any numbers."""
    if isinstance(array, Unreadable):
        yield f"{path}: {array.reason}"
        return
    if not isinstance(array, np.ndarray):
        yield f"{path}: expected an array, got {type(array).__name__}"
        return
    yield from shape_faults(path, array.shape, array.dtype, steps)
    if array.dtype.kind not in "if" or not array.ndim:
        return
    if (at := _first(~np.isfinite(array))) is not None:
        yield f"{path}{_at(array, at)} is not finite"
    group = path.partition("/")[0]
    if group in ("actions", "action_dict") and (at := _first(np.abs(array) > 1)) is not None:
        yield f"{path}{_at(array, at)} is outside [-1, 1]"
    if (
        group in ("rewards", "dones")
        and group not in free
        and (at := _first((array != 0) & (array != 1))) is not None
    ):
        yield f"{path}{_at(array, at)} is neither 0 nor 1"


def shape_faults(
    path: str, shape: tuple[int, ...], dtype: np.dtype[Any], steps: int
) -> Iterator[str]:
    """Faults of the declared shape (N, ...) and type of one array, without its values."""
    group = path.partition("/")[0]
    if not shape or shape[0] != steps:
        yield f"{path}: expected {steps} steps, got shape {shape}"
    elif 0 in shape:
        yield f"{path}: expected at least one number a step, got shape {shape}"
    rank = _RANKS.get(group)
    if rank is not None and len(shape) != rank:
        yield f"{path}: expected {rank} axes, got shape {shape}"
    elif rank is None and len(shape) < 2:
        yield f"{path}: expected at least 2 axes, got shape {shape}"
    image = group in ("obs", "next_obs") and dtype == IMAGE_TYPE
    if image and (len(shape) != 4 or shape[-1] != 3):
        yield f"{path}: expected an image (N, H, W, 3), got shape {shape}"
    expected = _TYPES.get(group, "float32")
    if not image and dtype != np.dtype(expected):
        yield f"{path}: expected {expected}, got {dtype}"


_RANKS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(("rewards", "dones", "disturbed", "step_tasks"), 1)
    | dict.fromkeys(("actions", "action_dict", "states"), 2)
)
"""Array, or group of arrays -> its number of axes, where it is fixed."""


_TYPES = {"states": "float64", "dones": "int64", "disturbed": "bool", "step_tasks": "int64"}
"""Array -> its type, where it is not float32."""


def is_image(array: NDArray[Any]) -> bool:
    """Whether an array of observations holds images."""
    return array.dtype == IMAGE_TYPE


def _key_faults(episode: Episode, mode_parts: Sequence[str]) -> Iterator[str]:
    """Faults of the names of the arrays."""
    if not episode.observations:
        yield "obs: expected at least one observation key, got none"
    for key in episode.observations:
        if not isinstance(key, str) or not KEY_PATTERN.fullmatch(key):
            yield f"obs: {key!r} is no valid key (letters, digits, '_', '.', '-'; a letter first)"
    if episode.next_observations:
        for key in sorted(episode.observations.keys() - episode.next_observations.keys()):
            if not is_image(episode.observations[key]):
                yield f"next_obs: {key!r} is missing"
        for key in sorted(episode.next_observations.keys() - episode.observations.keys()):
            yield f"obs: {key!r} is missing, but next_obs has it"
    for part in episode.action_parts:
        if part not in ACTION_PARTS:
            yield f"action_dict: unknown part {part!r}; known: {', '.join(ACTION_PARTS)}"
    for part in mode_parts:
        if part not in episode.action_parts:
            yield f"action_dict: {part!r} is missing, mode {episode.action_mode!r} is made of it"


def _thawed(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _frozen(value: Any) -> Any:
    """The value with its arrays read-only and its mappings immutable."""
    if isinstance(value, np.ndarray):
        if value.flags.writeable:
            value = value.copy()
            value.setflags(write=False)
        return value
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return value.item() if isinstance(value, np.generic) else value


def _first(bad: Any) -> tuple[int, ...] | None:
    """Index of the first True of a boolean array, or None."""
    if not bad.any():
        return None
    return tuple(int(i) for i in np.unravel_index(np.argmax(bad), bad.shape))


def _at(array: NDArray[Any], index: tuple[int, ...]) -> str:
    """`"[3, 1] = nan"`: an index, and the value there."""
    return f"[{', '.join(str(i) for i in index)}] = {array[index]}"


def _short(value: Any) -> str:
    """The value for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_utc(text: str) -> bool:
    """Whether the text is an ISO 8601 time with offset zero."""
    try:
        return datetime.fromisoformat(text).utcoffset() == timedelta(0)
    except ValueError:
        return False


def utc_now() -> str:
    """The present time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
