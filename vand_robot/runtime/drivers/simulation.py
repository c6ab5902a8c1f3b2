"""Driver of our own simulation in real time: the test bench. It needs MuJoCo."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_robot.runtime.errors import PolicyError, PolicyUsageError
from vand_robot.runtime.interface import Interface
from vand_robot.runtime.policy import Observation


class Driver:
    """One episode of a task in `vand_envs`, as long as its horizon.

    Args:
        task: The task; the instruction's by default.
        seed: Seed of the episode.
    """

    success: bool | None = None
    """Whether the task was done by now."""

    def __init__(self, task: str = "", seed: int = 0) -> None:
        self.task, self.seed = task, int(seed)
        self.batch: Any = None
        self._observation: dict[str, NDArray[Any]] = {}
        self._steps = 0
        self._states: list[NDArray[np.float64]] = []  # before each action, (S,) each
        self._rewards: list[float] = []

    def connect(self, interface: Interface, instruction: str | None) -> None:
        """See `Driver.connect`.

        Raises:
            PolicyError: The simulation's interface is not the policy's, or there is no MuJoCo.
        """
        try:
            from vand_envs import TaskBatch, VandError  # noqa: PLC0415  (needs MuJoCo)
            from vand_envs.robot import get_robot  # noqa: PLC0415
        except ImportError as error:
            raise PolicyError(f"driver simulation needs vand_envs with MuJoCo: {error}") from None
        task = self.task or instruction or interface.instructions[0]
        mode: Any = interface.action_mode
        if mode not in ("ee_twist", "joint"):
            raise PolicyUsageError(f"driver simulation: no such action mode: {mode!r}")
        try:
            self.batch = TaskBatch(
                task,
                1,
                robot=get_robot(interface.robot),
                action_mode=mode,
                control_dt_s=interface.control_dt_s,
                instructions=interface.instructions,
                cameras=interface.images,
            )
            self._observation = self.batch.reset([self.seed])
        except VandError as error:
            raise PolicyError(f"driver simulation: {error}") from None

    def observe(self) -> Observation | None:
        """See `Driver.observe`: None at the task's horizon."""
        if self._steps >= self.batch.horizon:
            return None
        return {key: value[0] for key, value in self._observation.items()}

    def act(self, action: NDArray[np.float32]) -> None:
        """See `Driver.act`: one control step of the simulation."""
        self._states.append(self.batch.state[0].copy())
        self._observation = self.batch.step(action[None])
        self._rewards.append(float(self.batch.reward[0]))
        self._steps += 1
        self.success = bool(self.batch.progress.success[0])

    def extras(self) -> dict[str, Any]:
        """What a recording of the simulation holds beside observations and actions."""
        return {
            "states": np.array(self._states),
            "rewards": np.array(self._rewards, np.float32),
            "seed": self.seed,
            "model": self.batch.world.xml,
            "task": self.batch.task.id,
        }

    def stop(self) -> None:
        """See `Driver.stop`: what draws images is freed."""
        if self.batch is not None:
            self.batch.close()
