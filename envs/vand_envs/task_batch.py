"""TaskBatch: n episodes of one task side by side. Everything that runs a task runs this."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from vand_envs.controller import ActionMode, Controller
from vand_envs.errors import UsageError
from vand_envs.observation import OBSERVATION_SIZES, Observer
from vand_envs.progress import Judge, Progress
from vand_envs.randomisation import Randomiser
from vand_envs.robot import VANDER, RobotSpec
from vand_envs.simulation import Simulation
from vand_envs.tasks import get_task, task_ids
from vand_envs.typing import Float32Array, FloatArray, IntArray
from vand_envs.world import PHYSICS_DT_S, make_world

ENV_VERSION = "0"
"""Changes whenever the same seed and actions would give other states."""


class TaskBatch:
    """n episodes of one task, stepped together.

    An episode is a function of (task, seed, actions): it does not depend on n, on its place in
    the batch, or on the number of threads.

    Args:
        task_id: The task, one of `task_ids()`.
        n: Number of episodes.
        action_mode: `ee_twist` or `joint`, see `Controller`.
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        num_threads: Threads to step on; 0 means one per processor.
        robot: The robot.

    Raises:
        UsageError: An unknown task or action mode, or times that do not fit together.
    """

    def __init__(
        self,
        task_id: str,
        n: int,
        *,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        num_threads: int = 0,
        robot: RobotSpec = VANDER,
    ) -> None:
        self.task = get_task(task_id)
        self.world = make_world(robot, physics_dt_s)
        self.simulation = Simulation(self.world, n, control_dt_s, num_threads)
        self.controller = Controller(self.simulation, action_mode)
        self.n = n
        self.action_size = self.controller.action_size
        self.horizon = round(self.task.horizon_s / control_dt_s)
        """Control steps within which the task must be done."""
        self.reward: Float32Array = np.zeros(n, np.float32)
        """1 where a stage completed or a cycle closed at the last step, (n,)."""
        self._observer = Observer(self.simulation)
        self._randomiser = Randomiser(self.simulation)
        self._judge = Judge(self.task, self.simulation)
        self._instruction = np.zeros((n, len(task_ids())), np.float32)
        self._instruction[:, task_ids().index(task_id)] = 1.0

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Observation key -> size."""
        return {**OBSERVATION_SIZES, "instruction": self._instruction.shape[1]}

    @property
    def control_dt_s(self) -> float:
        """Duration of one step [s]."""
        return self.simulation.control_dt_s

    @property
    def model(self) -> mujoco.MjModel:
        """The world's model."""
        return self.world.model

    @property
    def state(self) -> FloatArray:
        """mjSTATE_INTEGRATION of every simulation, (n, S): a live view."""
        return self.simulation.state

    @property
    def qpos(self) -> FloatArray:
        """Generalised positions, (n, nq): a live view."""
        return self.simulation.qpos

    @property
    def progress(self) -> Progress:
        """How far the episodes have come."""
        return self._judge.progress

    @property
    def env_args(self) -> dict[str, Any]:
        """All that is needed to rebuild the environment through `gymnasium.make`."""
        return {
            "env_name": self.task.env_id,
            "env_version": ENV_VERSION,
            "type": 2,  # robomimic's code for a Gymnasium environment
            "env_kwargs": {
                "robot": self.world.robot.name,
                "action_mode": self.controller.mode,
                "control_dt_s": self.control_dt_s,
                "physics_dt_s": float(self.model.opt.timestep),
                "instructions": list(task_ids()),
            },
        }

    def reset(
        self, seeds: Sequence[int], ids: Sequence[int] | None = None
    ) -> dict[str, Float32Array]:
        """Begin new episodes.

        Args:
            seeds: A non-negative seed for each new episode.
            ids: Simulations to begin them in, ascending; all n by default.

        Returns:
            The first observation, key -> (n, d), of all n simulations.

        Raises:
            UsageError: The number of seeds is not that of the simulations.
        """
        which: IntArray = np.arange(self.n) if ids is None else np.asarray(ids, np.int64)
        if len(seeds) != len(which):
            raise UsageError(f"seeds: expected {len(which)}, one per simulation, got {len(seeds)}")
        self._randomiser.apply(which, seeds)
        self.controller.hold(which)
        self.simulation.forward(which)
        observation = self.observe()
        self._judge.reset(which, observation)
        self.reward = np.zeros(self.n, np.float32)
        return observation

    def observe(self) -> dict[str, Float32Array]:
        """Observation of the present state, key -> (n, d); fresh arrays."""
        return {**self._observer.observe(), "instruction": self._instruction.copy()}

    def step(self, actions: Float32Array) -> dict[str, Float32Array]:
        """Carry out one action in every simulation.

        Args:
            actions: (n, A) in [-1, 1].

        Returns:
            The next observation, key -> (n, d). `reward` and `progress` follow.

        Raises:
            UsageError: The actions have another shape.
        """
        if np.shape(actions) != (self.n, self.action_size):
            raise UsageError(
                f"actions: expected shape {(self.n, self.action_size)}, got {np.shape(actions)}"
            )
        self.simulation.step(self.controller.controls(actions))
        observation = self.observe()
        self.reward = self._judge.judge(observation)
        return observation
