"""The interface of a policy: its observations and actions, and the call that acts."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np

from vand_demos.native import NATIVE, bounds_fault, from_unit
from vand_demos.scenes import adopt_scene
from vand_envs.errors import UsageError, VandError
from vand_envs.robots.records import ROBOT_RECORD, adopt
from vand_envs.scenes import SCENE_RECORD
from vand_envs.typing import Float32Array, Observation
from vand_envs.world import TIME_STEPS_S
from vand_robot.nn import Range

Size = Annotated[int, Range(1, 10**9, open_high=False)]
"""Numbers in an observation or an action."""
ControlStep = Annotated[float, Range(*TIME_STEPS_S, open_high=False)]
"""Time between two actions [s]."""
Pixels = Annotated[int, Range(1, 16384, open_high=False)]
"""A side of an image [pixel]."""


@dataclass(frozen=True)
class PolicySpec:
    """Observations and actions of a policy, which must fit those of an environment.

    It holds nothing that JSON could not.
    """

    robot: str
    """Name of the robot."""
    action_mode: str
    """Meaning of the numbers of an action, see `vand_envs.controller`."""
    action_size: Size
    """Numbers in an action, A."""
    control_dt_s: ControlStep
    """Time between two actions [s]."""
    instructions: tuple[str, ...]
    """Task ids, in the order of the instruction's one-hot code."""
    observations: Mapping[str, Size]
    """Observation key -> size, in the order in which the policy concatenates them."""
    images: Mapping[str, tuple[Pixels, ...]] = field(default_factory=dict)
    """Image observation -> height and width [pixel]; empty where the policy sees none."""
    action_low: tuple[float, ...] = ()
    """Least value of each number of a native action in its own unit, A; else empty."""
    action_high: tuple[float, ...] = ()
    """Greatest value of each."""
    robot_record: Mapping[str, Any] = field(default_factory=dict)
    """The robot's spec and what its mesh files are; empty of the built-in one."""
    scene: str = ""
    """Id of the scene of one's own that it acts in; empty: another world."""
    scene_record: Mapping[str, Any] = field(default_factory=dict)
    """What that scene is."""

    def __post_init__(self) -> None:
        if self.action_mode == NATIVE:
            low, high = (np.array(x, np.float64) for x in (self.action_low, self.action_high))
            if (fault := bounds_fault(low, high, self.action_size)) is not None:
                raise UsageError(fault)
        elif self.action_low or self.action_high:
            raise UsageError(f"action_low: expected none in mode {self.action_mode!r}")
        for key, size in self.images.items():
            if len(size) != 2:
                raise UsageError(f"images.{key}: expected height and width, got {size!r:.60}")
        if self.robot_record and adopt(self.robot_record, "the policy").id != self.robot:
            raise UsageError(f"robot: expected the robot that is described, got {self.robot!r}")
        described = adopt_scene(self.scene_record, "the policy").id if self.scene_record else ""
        if described != self.scene:
            raise UsageError(f"scene: expected the scene that is described, got {self.scene!r}")

    def columns(self, key: str) -> slice | None:
        """Numbers of an observation among all that the policy concatenates; None: it sees none."""
        if key not in self.observations:
            return None
        keys = list(self.observations)
        start = sum(self.observations[before] for before in keys[: keys.index(key)])
        return slice(start, start + self.observations[key])

    @classmethod
    def of(
        cls,
        env_args: Mapping[str, Any],
        observations: Mapping[str, int],
        action_size: int,
        images: Mapping[str, Sequence[int]] | None = None,
    ) -> "PolicySpec":
        """The interface of a policy for an environment.

        Args:
            env_args: The `env_args` of the environment, or of a data set that was recorded in it.
            observations: Observation key -> size, of those that the policy sees.
            action_size: Numbers in an action, A.
            images: Image observation -> height and width [pixel].
        """
        kwargs = env_args["env_kwargs"]
        return cls(
            robot=str(kwargs["robot"]),
            action_mode=str(kwargs["action_mode"]),
            action_size=action_size,
            control_dt_s=float(kwargs["control_dt_s"]),
            instructions=tuple(kwargs["instructions"]),
            observations=observations,
            images={key: tuple(size) for key, size in (images or {}).items()},
            action_low=tuple(float(x) for x in kwargs.get("action_low", ())),
            action_high=tuple(float(x) for x in kwargs.get("action_high", ())),
            robot_record=env_args.get(ROBOT_RECORD, {}),
            scene=str(kwargs.get("scene", "")),
            scene_record=env_args.get(SCENE_RECORD, {}),
        )

    def in_own_units(self, actions: Float32Array) -> Float32Array:
        """Native actions (..., A) in their own units, from [-1, 1]; others as they are."""
        if not self.action_low:
            return actions
        return from_unit(actions, self.action_low, self.action_high).astype(np.float32)

    @property
    def observation_size(self) -> int:
        """Numbers in an observation, D."""
        return sum(self.observations.values())

    def require_compatible(self, other: "PolicySpec | Mapping[str, Any]") -> None:
        """Check that a policy of this interface can act where another one is asked for.

        Args:
            other: Another interface, or the `env_args` of an environment or a data set. These
                say nothing of sizes, which are checked when the policy acts.

        Raises:
            VandError: They differ; the line names in what.
        """
        ours = dataclasses.asdict(self)
        del ours["scene_record"]  # the id says what it is, and its folder may differ
        theirs: Mapping[str, Any] = (
            {"scene": "", **other["env_kwargs"]}
            if isinstance(other, Mapping)
            else dataclasses.asdict(other)
        )
        for name in (name for name in ours if name in theirs):
            if _comparable(ours[name]) != _comparable(theirs[name]):
                got = f"not for {_comparable(theirs[name])!r}"
                raise VandError(f"the policy acts for {name} {_comparable(ours[name])!r}, {got}")


def _comparable(value: Any) -> Any:
    """The value as JSON gives it back; the order of observations and tasks matters."""
    if isinstance(value, Mapping):
        return [(key, _comparable(item)) for key, item in value.items()]
    return list(value) if isinstance(value, tuple) else value


State = TypeVar("State")


class Policy(Protocol[State]):
    """Anything that can be rolled out: a learned policy, a scripted expert, a client of a server.

    A policy keeps nothing between calls: its memory is the state that it is handed.
    """

    @property
    def spec(self) -> PolicySpec:
        """Its observations and actions."""
        ...

    def act(
        self, observation: Observation, state: State | None = None
    ) -> tuple[Float32Array, State]:
        """Choose the actions of n episodes that advance together.

        Args:
            observation: Key -> (n, d).
            state: What the last call returned; None at the beginning of the episodes.

        Returns:
            Actions (n, A) float32 in [-1, 1], native ones in their own units, and the state for
            the next call.
        """
        ...
