"""Driver of a Gymnasium environment in real time. It needs gymnasium."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyError, PolicyUsageError, gist
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.policy import Observation


class Driver:
    """One episode of an environment of Gymnasium's.

    Observations are its dictionary, nested ones as `outer.inner`; of an environment whose
    observation is one array, `observation`.

    Args:
        env_id: `[MODULE:]ID`, as `gymnasium.make` takes it.
        seed: Seed of the episode.
        **env_args: Arguments of the environment.
    """

    control_dt_s: float | None = None
    """Time between two actions where the environment says it [s]."""
    success: bool | None = None
    """`info["success"]` or `info["is_success"]` of the latest step; None where there is none."""

    def __init__(self, env_id: str, seed: int = 0, **env_args: Any) -> None:
        self.env_id, self.seed, self.env_args = env_id, int(seed), env_args
        self.env: Any = None
        self._observation: dict[str, Any] | None = None

    def connect(self, interface: Interface, instruction: str | None) -> None:  # noqa: ARG002  (the environment has its own task)
        """See `Driver.connect`.

        Raises:
            PolicyError: The environment cannot be made, or its actions are of another size.
        """
        try:
            import gymnasium  # noqa: PLC0415  (a board has none)

            self.env = gymnasium.make(self.env_id, **self.env_args)
        except Exception as error:
            raise PolicyError(f"driver gymnasium: {self.env_id}: {gist(error)}") from error
        unwrapped = self.env.unwrapped
        rate = unwrapped.metadata.get("render_fps")
        dt = getattr(unwrapped, "dt", None) or (1 / rate if rate else None)
        self.control_dt_s = float(dt) if isinstance(dt, int | float) else None
        shape = self.env.action_space.shape
        if shape != (interface.action_size,):
            raise PolicyUsageError(
                f"{self.env_id}: the policy acts with {interface.action_size} numbers, the"
                f" environment takes {shape}"
            )
        self._observation = _flat(self.env.reset(seed=self.seed)[0])

    def observe(self) -> Observation | None:
        """See `Driver.observe`: None where the episode is over."""
        return self._observation

    def act(self, action: NDArray[np.float32]) -> None:
        """See `Driver.act`: one step of the environment."""
        observation, _, terminated, truncated, info = self.env.step(action)
        self._observation = None if terminated or truncated else _flat(observation)
        done = info.get("success", info.get("is_success"))
        self.success = None if done is None else bool(done)

    def stop(self) -> None:
        """See `Driver.stop`."""
        if self.env is not None:
            self.env.close()


def _flat(observation: Any, prefix: str = "") -> dict[str, Any]:
    """A nested observation as arrays by key."""
    if not isinstance(observation, dict):
        return {prefix[:-1] or "observation": np.asarray(observation)}
    flat: dict[str, Any] = {}
    for key, value in observation.items():
        flat |= _flat(value, f"{prefix}{key}.")
    return flat
