"""What a policy sees and says: everything that must fit between a policy and an environment."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from vand_envs.errors import VandError
from vand_envs.typing import Float32Array, Observation


@dataclass(frozen=True)
class PolicySpec:
    """The interface of a policy. Holds nothing that JSON could not."""

    robot: str
    """Name of the robot."""
    action_mode: str
    """What the numbers of an action mean, see `vand_envs.controller`."""
    action_size: int
    """Numbers in an action, A."""
    control_dt_s: float
    """Time between two actions [s]."""
    instructions: tuple[str, ...]
    """Task ids, in the order of the instruction's one-hot code."""
    observations: Mapping[str, int]
    """Observation key -> size, in the order in which the policy concatenates them."""
    images: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Image observation -> height and width [pixel]; empty where the policy sees none."""

    @property
    def observation_size(self) -> int:
        """Numbers in an observation, D."""
        return sum(self.observations.values())

    def require_compatible(self, other: "PolicySpec | Mapping[str, Any]") -> None:
        """Checks that a policy of this interface can act where another one is asked for.

        Args:
            other: Another interface, or the `env_args` of an environment or a data set, which
                say nothing of sizes: these are checked when the policy acts.

        Raises:
            VandError: They differ; the line names in what.
        """
        ours = dataclasses.asdict(self)
        theirs = other["env_kwargs"] if isinstance(other, Mapping) else dataclasses.asdict(other)
        for name in (name for name in ours if name in theirs):
            if _comparable(ours[name]) != _comparable(theirs[name]):
                came = f"not for {_comparable(theirs[name])!r}"
                raise VandError(f"the policy acts for {name} {_comparable(ours[name])!r}, {came}")


def _comparable(value: Any) -> Any:
    """The value with what JSON changes undone; the order of observations and tasks matters."""
    if isinstance(value, Mapping):
        return [(key, _comparable(item)) for key, item in value.items()]
    return list(value) if isinstance(value, tuple) else value


State = TypeVar("State")


class Policy(Protocol[State]):
    """What can be rolled out."""

    @property
    def spec(self) -> PolicySpec:
        """What the policy sees and says."""
        ...

    def act(
        self, observation: Observation, state: State | None = None
    ) -> tuple[Float32Array, State]:
        """Actions (n, A) for an observation, key -> (n, d), and the state for the next call."""
        ...
