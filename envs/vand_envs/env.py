"""The Gymnasium environments: one episode, and n side by side. Both are thin over `TaskBatch`."""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Literal, Self, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import EzPickle, seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from vand_envs.controller import ActionMode
from vand_envs.errors import UsageError, require_integer, unknown_name
from vand_envs.randomization import require_seed
from vand_envs.rendering import Renderer, require_picture
from vand_envs.robot import DEFAULT_ROBOT, ROBOTS, RobotSpec, get_robot
from vand_envs.robots.reading import INTERNAL, from_mapping
from vand_envs.task_batch import TaskBatch, require_one_each
from vand_envs.typing import BoolArray, Float32Array, FloatArray, ImageArray
from vand_envs.world import PHYSICS_DT_S

MAX_SEED = 2**31 - 1


def _robot(robot: str | RobotSpec | Mapping[str, Any]) -> RobotSpec:
    """A robot by name, by itself, or by its fields as JSON has them."""
    if isinstance(robot, RobotSpec):
        return robot
    if isinstance(robot, Mapping):
        said = {key: value for key, value in robot.items() if key not in INTERNAL}
        return from_mapping(said, "robot")
    return get_robot(robot)


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


class _Rebuilt(EzPickle):
    """Pickled and copied as constructor arguments and specification: MuJoCo's batch cannot travel.

    The specification says how long an episode may last, and holds nothing that JSON could not.
    """

    _spec: EnvSpec | None = None
    _max_steps: int

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Keep the arguments of the constructor, whatever they are."""
        environment = super().__new__(cls)
        EzPickle.__init__(environment, *args, **kwargs)
        return environment

    @property
    def spec(self) -> EnvSpec | None:
        """The specification that Gymnasium made it from; None if it was made without Gymnasium."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec = copy(spec)
            robot = spec.kwargs.get("robot")
            if isinstance(robot, RobotSpec) and ROBOTS.get(robot.id) == robot:
                spec.kwargs = {**spec.kwargs, "robot": robot.id}
            if spec.max_episode_steps is None:
                spec.max_episode_steps = self._max_steps
        self._spec = spec

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "spec": self.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._spec = state["spec"]


class _Pictures:
    """Draws simulations for people; its renderer is made at the first picture.

    Raises:
        UsageError: There is no such camera, or no such size.
    """

    def __init__(self, batch: TaskBatch, camera: str, width: int, height: int) -> None:
        require_picture(batch.model, width, height, camera)
        self._batch = batch
        self._make = partial(Renderer, batch.model, width, height, camera=camera)
        self._renderer: Renderer | None = None

    def draw(self, i: int) -> ImageArray:
        """Simulation i, (height, width, 3)."""
        if self._renderer is None:
            self._renderer = self._make()
        return self._renderer.render(self._batch.simulation.data(i))

    def close(self) -> None:
        """Free the renderer; more than once is allowed, and drawing makes a new one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class MobileManipulationEnv(_Rebuilt, gymnasium.Env[Any, Any]):
    """One mobile manipulator with one instruction.

    Observations are the flat dictionary of `vand_envs.observation`; actions are in [-1, 1], see
    `vand_envs.controller`; the reward is 1 where a stage completes or a cycle closes. A sequential
    task terminates on success; every episode is truncated at the task's horizon.

    It can be pickled and copied: the other one is made anew from the same arguments. The running
    episode and the generator of seeds do not travel, so reset it first.

    Args:
        task_id: The task, one of `vand_envs.task_ids()`.
        render_mode: None or "rgb_array".
        robot: Name of the robot, its `RobotSpec`, or the fields of one.
        action_mode: "ee_twist" or "joint".
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        instructions: Task ids in the order of the instruction's one-hot code, as policies and data
            sets store them; all tasks by default.
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
        robot: str | RobotSpec | Mapping[str, Any] = DEFAULT_ROBOT,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        instructions: Sequence[str] | None = None,
        cameras: Mapping[str, Sequence[int]] | None = None,
        camera: str = "overview",
        width: int = 640,
        height: int = 480,
    ) -> None:
        _check_render_mode(render_mode)
        self.render_mode = render_mode
        self.batch = TaskBatch(
            task_id,
            1,
            action_mode=action_mode,
            control_dt_s=control_dt_s,
            physics_dt_s=physics_dt_s,
            robot=_robot(robot),
            cameras=cameras,
            instructions=instructions,
        )
        self.metadata = {**self.metadata, "render_fps": round(1 / control_dt_s)}
        self.observation_space = _observation_space(self.batch)
        self.action_space = _action_space(self.batch)
        self._pictures = _Pictures(self.batch, camera, width, height)
        self._max_steps = self.batch.horizon
        self._steps = 0
        self._seed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin the episode of that seed, or of one drawn from the environment's generator.

        `info` is as in `step`.

        Raises:
            UsageError: The seed is negative or no integer.
        """
        seed = None if seed is None else require_seed(seed)
        super().reset(seed=seed, options=options)
        self._seed = seed if seed is not None else int(self.np_random.integers(MAX_SEED))
        observation = self.batch.reset([self._seed])
        self._steps = 0
        return _first(observation), self._info()

    def step(
        self, action: Float32Array
    ) -> tuple[dict[str, NDArray[Any]], SupportsFloat, bool, bool, dict[str, Any]]:
        """Carry out an action (A,) for one control step.

        `info` holds the episode's `seed`, `success`, `at_end`, `stages_done`, `out_of_order` and
        `cycles`.

        Raises:
            UsageError: The action has another shape, or is not finite; nothing has changed then.
        """
        observation = self.batch.step(np.asarray(action, np.float32)[None])
        self._steps += 1
        info = self._info()
        terminated = info["success"] and self.batch.task.kind == "sequential"
        truncated = self._steps >= self._max_steps
        return _first(observation), float(self.batch.reward[0]), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The scene as (height, width, 3) uint8 in mode "rgb_array", else None."""
        return None if self.render_mode is None else self._pictures.draw(0)

    def close(self) -> None:
        """Release the renderers."""
        self.batch.close()
        self._pictures.close()

    def _info(self) -> dict[str, Any]:
        progress = self.batch.progress
        return {
            "seed": self._seed,
            "success": bool(progress.success[0]),
            "at_end": bool(progress.at_end[0]),
            "stages_done": int(progress.stages_done[0]),
            "out_of_order": int(progress.out_of_order[0]),
            "cycles": float(progress.cycles[0]),
        }


class MobileManipulationVectorEnv(_Rebuilt, VectorEnv[Any, Any, Any]):
    """n episodes of one task, stepped on a thread pool; episodes begin anew on the next step.

    It can be pickled and copied as `MobileManipulationEnv` can.

    Args:
        task_id: The task.
        num_envs: Number of episodes side by side.
        max_episode_steps: Steps after which an episode is truncated; the task's horizon by default.
        render_mode: None or "rgb_array".
        robot: Name of the robot, its `RobotSpec`, or the fields of one.
        action_mode: "ee_twist" or "joint".
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        num_threads: Threads to step on; 0 means one per processor.
        instructions: As for `MobileManipulationEnv`.
        cameras: As for `MobileManipulationEnv`.
        camera: Camera to render.
        width: Width of each picture [px].
        height: Height of each picture [px].
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (Gymnasium's)
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }
    closed = True  # until it is made: a constructor that failed leaves nothing to close

    def __init__(
        self,
        task_id: str,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        render_mode: Literal["rgb_array"] | None = None,
        robot: str | RobotSpec | Mapping[str, Any] = DEFAULT_ROBOT,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        num_threads: int = 0,
        instructions: Sequence[str] | None = None,
        cameras: Mapping[str, Sequence[int]] | None = None,
        camera: str = "overview",
        width: int = 640,
        height: int = 480,
    ) -> None:
        _check_render_mode(render_mode)
        self.render_mode = render_mode
        self.batch = TaskBatch(
            task_id,
            num_envs,
            action_mode=action_mode,
            control_dt_s=control_dt_s,
            physics_dt_s=physics_dt_s,
            num_threads=num_threads,
            robot=_robot(robot),
            cameras=cameras,
            instructions=instructions,
        )
        self.metadata = {**self.metadata, "render_fps": round(1 / control_dt_s)}
        self.num_envs = num_envs
        self.single_observation_space = _observation_space(self.batch)
        self.single_action_space = _action_space(self.batch)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._pictures = _Pictures(self.batch, camera, width, height)
        # Places that were seeded one by one, each with the generator that a single environment
        # would have; the others share `np_random`.
        self._generators: dict[int, np.random.Generator] = {}
        self._max_steps = self.batch.horizon
        if max_episode_steps is not None:
            self._max_steps = require_integer("max_episode_steps", max_episode_steps, 1)
        self._seeds = np.zeros(num_envs, np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, bool)
        self.closed = False

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Begin episodes.

        Args:
            seed: An integer gives the places seed, seed + 1, ..., and seeds one generator, of which
                they all draw their later episodes. A sequence gives each place a seed and a
                generator of its own: its later episodes are those of a single environment with that
                seed. None, alone or in a sequence, draws from the generator that is there.
            options: `"reset_mask"` -> booleans (n,): only those places begin anew, the others go
                on. An integer seed then acts as the sequence seed, seed + 1, ...

        Raises:
            UsageError: A seed is negative or no integer, there is not one for each place, or the
                mask is not as said; nothing has changed then.
        """
        masked = options is not None and options.get("reset_mask") is not None
        places = self._masked(options["reset_mask"]) if options and masked else self._all
        given: list[int | None] = [None] * self.num_envs
        if isinstance(seed, Sequence | np.ndarray):
            several = require_one_each(seed, self.num_envs)
            given = [None if s is None else require_seed(s) for s in several]
        elif seed is not None:
            first = require_seed(seed)
            given = [first + i for i in self._all]
        if isinstance(seed, Sequence | np.ndarray) or masked:
            for i in places:
                if (own := given[i]) is not None:
                    self._generators[i] = seeding.np_random(own)[0]
        elif seed is not None:
            super().reset(seed=given[0], options=options)
            self._generators.clear()
        seeds = [self._draw(i) if (s := given[i]) is None else s for i in places]
        observation = self._begin(places, seeds)
        return observation, self._info()

    def step(
        self, actions: Float32Array
    ) -> tuple[dict[str, NDArray[Any]], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Carry out actions (n, A); episodes that were over begin anew and ignore theirs.

        Raises:
            UsageError: The actions have another shape, or those of episodes that go on are not
                finite; nothing has changed then.
        """
        begin = np.flatnonzero(self._over)
        actions = np.asarray(actions, np.float32)
        if begin.size and actions.shape == self.action_space.shape:
            actions = np.where(self._over[:, None], np.float32(0), actions)  # whatever they are
        observation = self.batch.step(actions)
        reward = self.batch.reward.astype(np.float64)
        self._steps += 1
        if begin.size:
            places = begin.tolist()
            observation = self._begin(places, [self._draw(i) for i in places])
            reward[begin] = 0.0
        info = self._info()
        success: BoolArray = info["success"]
        terminated = success & (self.batch.task.kind == "sequential")
        truncated = self._steps >= self._max_steps
        terminated[begin] = truncated[begin] = False
        self._over = terminated | truncated
        return observation, reward, terminated, truncated, info

    def render(self) -> tuple[ImageArray, ...] | None:
        """Each scene as (height, width, 3) uint8 in mode "rgb_array", else None."""
        if self.render_mode is None:
            return None
        return tuple(self._pictures.draw(i) for i in range(self.num_envs))

    def close_extras(self, **_: Any) -> None:
        """Release the renderers."""
        self.batch.close()
        self._pictures.close()

    @property
    def _all(self) -> list[int]:
        """All places."""
        return list(range(self.num_envs))

    def _masked(self, mask: Any) -> list[int]:
        """The places of a mask.

        Raises:
            UsageError: It is no mask of the places, or none of them is in it.
        """
        values = np.asarray(mask)
        if values.dtype != np.bool_ or values.shape != (self.num_envs,) or not values.any():
            raise UsageError(
                f"reset_mask: expected {self.num_envs} booleans, one true at least, got {mask!r}"
            )
        return [int(i) for i in np.flatnonzero(values)]

    def _begin(self, places: list[int], seeds: list[int]) -> dict[str, NDArray[Any]]:
        """Begin episodes with these seeds in these places; the observation of all n."""
        observation = self.batch.reset(seeds, places)
        self._seeds[places] = seeds
        self._steps[places] = 0
        self._over[places] = False
        return observation

    def _draw(self, i: int) -> int:
        """Seed of the next episode in place i."""
        return int(self._generators.get(i, self.np_random).integers(MAX_SEED))

    def _info(self) -> dict[str, Any]:
        progress = self.batch.progress
        return {
            "seed": self._seeds.copy(),
            "success": progress.success,
            "at_end": progress.at_end,
            "stages_done": progress.stages_done,
            "out_of_order": progress.out_of_order,
            "cycles": progress.cycles,
        }


def _first(observation: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key: value[0] for key, value in observation.items()}


def _check_render_mode(mode: str | None) -> None:
    if mode not in (None, "rgb_array"):
        raise unknown_name("render mode", str(mode), ("rgb_array",))
