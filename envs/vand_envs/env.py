"""The Gymnasium environments: one episode, and n side by side. Both are thin over `TaskBatch`."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from vand_envs.controller import ActionMode
from vand_envs.errors import unknown_name
from vand_envs.rendering import Renderer
from vand_envs.robot import VANDER, RobotSpec
from vand_envs.task_batch import TaskBatch
from vand_envs.tasks import TASKS
from vand_envs.typing import BoolArray, Float32Array, FloatArray
from vand_envs.world import PHYSICS_DT_S

MAX_SEED = 2**31 - 1

ROBOTS: dict[str, RobotSpec] = {VANDER.name: VANDER}
"""Robots that `gymnasium.make(..., robot=NAME)` knows."""


def _robot(robot: str | RobotSpec) -> RobotSpec:
    if isinstance(robot, RobotSpec):
        return robot
    if robot not in ROBOTS:
        raise unknown_name("robot", robot, ROBOTS)
    return ROBOTS[robot]


def _observation_space(batch: TaskBatch) -> spaces.Dict:
    return spaces.Dict(
        {
            key: spaces.Box(0.0, 1.0, (size,), np.float32)
            if key == "instruction"
            else spaces.Box(-np.inf, np.inf, (size,), np.float32)
            for key, size in batch.observation_sizes.items()
        }
        | {key: spaces.Box(0, 255, (*size, 3), np.uint8) for key, size in batch.image_sizes.items()}
    )


def _action_space(batch: TaskBatch) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, (batch.action_size,), np.float32)


class MobileManipulationEnv(gymnasium.Env[Any, Any]):
    """One mobile manipulator with one instruction.

    Observations are the flat dictionary of `vand_envs.observation`; actions are in [-1, 1], see
    `vand_envs.controller`; the reward is 1 where a stage completes or a cycle closes. A sequential
    task terminates on success; every episode is truncated at the task's horizon.

    Args:
        task_id: The task, one of `vand_envs.task_ids()`.
        render_mode: None or "rgb_array".
        robot: Name of the robot, or its `RobotSpec`.
        action_mode: "ee_twist" or "joint".
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        instructions: Task ids in the order of the instruction's one-hot code, as data sets store
            them; checked if given.
        cameras: Images to observe, `"head_rgb"` or `"wrist_rgb"` -> (height, width) [pixel].
        camera: Camera to render.
        width: Width of the picture [px].
        height: Height of the picture [px].
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's)

    def __init__(
        self,
        task_id: str,
        *,
        render_mode: Literal["rgb_array"] | None = None,
        robot: str | RobotSpec = VANDER,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        instructions: list[str] | None = None,
        cameras: Mapping[str, Sequence[int]] | None = None,
        camera: str = "overview",
        width: int = 640,
        height: int = 480,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise unknown_name("render mode", str(render_mode), ("rgb_array",))
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": round(1 / control_dt_s)}
        self.batch = TaskBatch(
            task_id,
            1,
            action_mode=action_mode,
            control_dt_s=control_dt_s,
            physics_dt_s=physics_dt_s,
            robot=_robot(robot),
            cameras=cameras,
        )
        _check_instructions(instructions)
        self.observation_space = _observation_space(self.batch)
        self.action_space = _action_space(self.batch)
        self._camera, self._size = camera, (width, height)
        self._renderer: Renderer | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin the episode of that seed, or of one drawn from the environment's generator.

        `info` is as in `step`, with the episode's seed.
        """
        super().reset(seed=seed, options=options)
        episode_seed = seed if seed is not None else int(self.np_random.integers(MAX_SEED))
        observation = self.batch.reset([episode_seed])
        self._steps = 0
        return _first(observation), {"seed": episode_seed, **self._info()}

    def step(
        self, action: Float32Array
    ) -> tuple[dict[str, NDArray[Any]], SupportsFloat, bool, bool, dict[str, Any]]:
        """Carry out an action (A,) for one control step.

        `info` holds `success`, `at_end`, `stages_done`, `out_of_order` and `cycles`.
        """
        observation = self.batch.step(np.asarray(action, np.float32)[None])
        self._steps += 1
        info = self._info()
        terminated = info["success"] and self.batch.task.kind == "sequential"
        truncated = self._steps >= self.batch.horizon
        return _first(observation), float(self.batch.reward[0]), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The scene as (height, width, 3) uint8 in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        if self._renderer is None:
            width, height = self._size
            self._renderer = Renderer(self.batch.model, width, height, camera=self._camera)
        return self._renderer.render(self.batch.simulation.data(0))

    def close(self) -> None:
        """Release the renderers."""
        self.batch.close()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _info(self) -> dict[str, Any]:
        progress = self.batch.progress
        return {
            "success": bool(progress.success[0]),
            "at_end": bool(progress.at_end[0]),
            "stages_done": int(progress.stages_done[0]),
            "out_of_order": int(progress.out_of_order[0]),
            "cycles": float(progress.cycles[0]),
        }


class MobileManipulationVectorEnv(VectorEnv[Any, Any, Any]):
    """n episodes of one task, stepped on a thread pool; episodes begin anew on the next step.

    Args:
        task_id: The task.
        num_envs: Number of episodes side by side.
        robot: Name of the robot, or its `RobotSpec`.
        action_mode: "ee_twist" or "joint".
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        num_threads: Threads to step on; 0 means one per processor.
        instructions: As for `MobileManipulationEnv`.
        cameras: As for `MobileManipulationEnv`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's)
        "render_modes": [],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        task_id: str,
        num_envs: int = 1,
        *,
        robot: str | RobotSpec = VANDER,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        num_threads: int = 0,
        instructions: list[str] | None = None,
        cameras: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.batch = TaskBatch(
            task_id,
            num_envs,
            action_mode=action_mode,
            control_dt_s=control_dt_s,
            physics_dt_s=physics_dt_s,
            num_threads=num_threads,
            robot=_robot(robot),
            cameras=cameras,
        )
        _check_instructions(instructions)
        self.num_envs = num_envs
        self.single_observation_space = _observation_space(self.batch)
        self.single_action_space = _action_space(self.batch)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._steps = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin all episodes; an integer seed gives them seed, seed + 1, ..."""
        super().reset(seed=seed if isinstance(seed, int) else None, options=options)
        if isinstance(seed, int):
            seed = [seed + i for i in range(self.num_envs)]
        wanted = seed if seed is not None else [None] * self.num_envs
        seeds = [s if s is not None else int(self.np_random.integers(MAX_SEED)) for s in wanted]
        observation = self.batch.reset(seeds)
        self._steps[:] = 0
        self._over[:] = False
        return observation, {"seed": np.array(seeds), **self._info()}

    def step(
        self, actions: Float32Array
    ) -> tuple[dict[str, NDArray[Any]], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Carry out actions (n, A); episodes that were over begin anew and ignore theirs."""
        begin = np.flatnonzero(self._over)
        observation = self.batch.step(np.asarray(actions, np.float32))
        reward = self.batch.reward.astype(np.float64)
        self._steps += 1
        if begin.size:
            seeds = [int(s) for s in self.np_random.integers(MAX_SEED, size=begin.size)]
            observation = self.batch.reset(seeds, [int(i) for i in begin])
            reward[begin] = 0.0
            self._steps[begin] = 0
        info = self._info()
        success: BoolArray = info["success"]
        terminated = success & (self.batch.task.kind == "sequential")
        truncated = self._steps >= self.batch.horizon
        terminated[begin] = truncated[begin] = False
        self._over = terminated | truncated
        return observation, reward, terminated, truncated, info

    def close_extras(self, **_: Any) -> None:
        """Release the renderers."""
        self.batch.close()

    def _info(self) -> dict[str, Any]:
        progress = self.batch.progress
        return {
            "success": progress.success,
            "at_end": progress.at_end,
            "stages_done": progress.stages_done,
            "out_of_order": progress.out_of_order,
            "cycles": progress.cycles,
        }


def _first(observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key: value[0] for key, value in observation.items()}


def _check_instructions(instructions: list[str] | None) -> None:
    known = [task.id for task in TASKS]
    if instructions is not None and list(instructions) != known:
        raise unknown_name("instruction set", ", ".join(instructions), [", ".join(known)])


def register_all() -> None:
    """Register every task with Gymnasium, as "VandRobot/<Task>-v0". Called on import."""
    for task in TASKS:
        if task.env_id not in gymnasium.registry:
            gymnasium.register(
                task.env_id,
                entry_point="vand_envs.env:MobileManipulationEnv",
                vector_entry_point="vand_envs.env:MobileManipulationVectorEnv",
                kwargs={"task_id": task.id},
            )
