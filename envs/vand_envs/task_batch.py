"""TaskBatch: n episodes of one task side by side; all that runs a task is built on it."""

import json
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from vand_envs.cameras import Cameras
from vand_envs.controller import ActionMode, Controller
from vand_envs.errors import UsageError, unknown_name
from vand_envs.judging import TaskProgress, TaskTracker
from vand_envs.observation import Observer, observation_sizes
from vand_envs.randomization import Randomizer, require_seed
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.robots.records import ROBOT_RECORD
from vand_envs.scenes.scene import SCENE_RECORD, Scene
from vand_envs.scenes.start import SceneStart
from vand_envs.simulation import Simulation
from vand_envs.tasks import Task, get_task, task_ids
from vand_envs.typing import Float32Array, FloatArray, IntArray
from vand_envs.world import PHYSICS_DT_S, make_world

ENV_VERSION = "1"
"""Changes whenever the same seed and actions would give other states."""


class TaskBatch:
    """n episodes of one task, stepped together.

    An episode is a function of (task, seed, actions): it does not depend on n, on its place in
    the batch, or on the number of threads.

    Args:
        task: Id of the task, one of `task_ids()`, or a task that is not registered.
        n: Number of episodes.
        action_mode: `ee_twist` or `joint`, see `Controller`.
        control_dt_s: Duration of one step [s].
        physics_dt_s: Physics time step [s].
        num_threads: Threads to step on; 0 means one per processor.
        robot: The robot.
        scene: A scene of one's own, whose only task that is; by default the workshop.
        cameras: Images to observe, `"head_rgb"` or `"wrist_rgb"` -> (height, width) [pixel]. The
            robot drives without them, and each takes about a millisecond a simulation and step.
        instructions: Task ids in the order of the instruction's one-hot code, as a policy or a data
            set stores them. Those that are not known here keep their places. By default all tasks,
            with one that is not registered at the end.

    Raises:
        UsageError: An unknown task, action mode or camera, a task that is not among the
            instructions, or times that do not fit together.
    """

    def __init__(
        self,
        task: str | Task,
        n: int,
        *,
        action_mode: ActionMode = "ee_twist",
        control_dt_s: float = 0.1,
        physics_dt_s: float = PHYSICS_DT_S,
        num_threads: int = 0,
        robot: RobotSpec = DEFAULT_ROBOT,
        scene: Scene | None = None,
        cameras: Mapping[str, Sequence[int]] | None = None,
        instructions: Sequence[str] | None = None,
    ) -> None:
        first = task if isinstance(task, str) else task.id
        self._own = task if isinstance(task, Task) else None
        if scene is not None:
            self._own = scene.task
            instructions = instructions or (scene.task.id,)
        self._instructions = _instructions(first, self._own, instructions)
        self.task = self._find(first)
        self.world = make_world(robot, physics_dt_s, scene)
        self.simulation = Simulation(self.world, n, control_dt_s, num_threads)
        self.controller = Controller(self.simulation, action_mode)
        self.n = n
        self.action_size = self.controller.action_size
        self.horizon = round(self.task.horizon_s / control_dt_s)
        """Control steps within which the task must be done."""
        self.reward: Float32Array = np.zeros(n, np.float32)
        """1 where a stage completed or a cycle closed at the last step, (n,)."""
        self._observer = Observer(self.simulation)
        self._cameras = Cameras(self.model, cameras or {})
        sim = self.simulation
        self._randomizer = Randomizer(sim) if scene is None else SceneStart(sim, scene)
        self._tracker = TaskTracker(self.task, self.simulation)
        self._instruction = np.zeros((n, len(self._instructions)), np.float32)
        self._instruction[:] = self._code(self.task.id)

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Observation key -> size, of all that are not images."""
        return {**observation_sizes(self.world), "instruction": self._instruction.shape[1]}

    @property
    def image_sizes(self) -> dict[str, tuple[int, int]]:
        """Image observation -> (height, width) [pixel]; empty without cameras."""
        return dict(self._cameras.sizes)

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
        """Generalized positions, (n, nq): a live view."""
        return self.simulation.qpos

    @property
    def progress(self) -> TaskProgress:
        """How far the episodes have come."""
        return self._tracker.progress

    @property
    def env_args(self) -> dict[str, Any]:
        """All that is needed to rebuild the environment through `gymnasium.make`."""
        return {
            "env_name": self.task.env_id,
            "env_version": ENV_VERSION,
            "type": 2,  # robomimic's code for a Gymnasium environment
            "env_kwargs": {
                "robot": self.world.robot.id,
                "action_mode": self.controller.mode,
                "control_dt_s": self.control_dt_s,
                "physics_dt_s": float(self.model.opt.timestep),
                "instructions": list(self._instructions),
                **({"cameras": sizes} if (sizes := self.image_sizes) else {}),
                **({} if (scene := self.world.scene) is None else {"scene": scene.id}),
            },
            **({ROBOT_RECORD: json.loads(record)} if (record := self.world.record) else {}),
            **({} if scene is None else {SCENE_RECORD: scene.record}),
        }

    def reset(
        self, seeds: Sequence[int], ids: Sequence[int] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Begin new episodes.

        Args:
            seeds: A non-negative seed for each new episode.
            ids: Simulations to begin them in, ascending; all n by default.

        Returns:
            The first observation of all n simulations, as `observe` gives it.

        Raises:
            UsageError: A seed is negative or no integer, there is not one for each simulation, or
                the ids are not as said; nothing has changed then.
        """
        which = np.arange(self.n) if ids is None else self._checked_ids(ids)
        wanted = [require_seed(seed) for seed in require_one_each(seeds, len(which))]
        self._randomizer.apply(which, wanted)
        self.controller.hold(which)
        self.simulation.forward(which)
        observation = self.observe()
        self._tracker.reset(which, observation)
        self.reward = np.zeros(self.n, np.float32)
        return observation

    def instruct(self, task_id: str) -> dict[str, NDArray[Any]]:
        """Change the instruction of running episodes; they are judged anew, from here on.

        Args:
            task_id: The new task; the world stays as it is.

        Returns:
            The present observation with the new instruction, as `observe` gives it.

        Raises:
            UsageError: An unknown task.
        """
        self.task = self._find(task_id)
        self.horizon = round(self.task.horizon_s / self.control_dt_s)
        self._tracker = TaskTracker(self.task, self.simulation)
        self._instruction[:] = self._code(self.task.id)
        observation = self.observe()
        self._tracker.reset(np.arange(self.n), observation)
        self.reward = np.zeros(self.n, np.float32)
        return observation

    def tell(self, task_id: str, ids: Sequence[int] | None = None) -> dict[str, NDArray[Any]]:
        """Change what some running episodes are told; `task` goes on to judge them, anew from here.

        So an episode can be told something else before the task that it is judged by, and each at
        a time of its own.

        Args:
            task_id: What they are told.
            ids: Their simulations, ascending; all n by default.

        Returns:
            The present observation of all n simulations, as `observe` gives it.

        Raises:
            UsageError: An unknown task, or the ids are not as said; nothing has changed then.
        """
        which = np.arange(self.n) if ids is None else self._checked_ids(ids)
        self._instruction[which] = self._code(self._find(task_id).id)
        observation = self.observe()
        self._tracker.reset(which, observation)
        self.reward[which] = 0.0
        return observation

    def observe(self) -> dict[str, NDArray[Any]]:
        """Observation of the present state: key -> (n, d) float32, images (n, H, W, 3) uint8.

        The arrays are fresh.

        Raises:
            VandError: Images are asked for, and cannot be rendered here.
        """
        return {
            **self._observer.observe(),
            "instruction": self._instruction.copy(),
            **self._cameras.render(self.state),
        }

    def close(self) -> None:
        """Free what draws images; more than once is allowed, and observing makes it anew."""
        self._cameras.close()

    def step(self, actions: Float32Array) -> dict[str, NDArray[Any]]:
        """Carry out one action in every simulation.

        Args:
            actions: (n, A) in [-1, 1]; numbers beyond are clipped.

        Returns:
            The next observation, as `observe` gives it. `reward` and `progress` follow.

        Raises:
            UsageError: The actions have another shape, or are not finite; nothing has changed then.
        """
        if np.shape(actions) != (self.n, self.action_size):
            raise UsageError(
                f"actions: expected shape {(self.n, self.action_size)}, got {np.shape(actions)}"
            )
        finite = np.isfinite(actions)  # (n, A)
        if not finite.all():
            # Joint targets are integrated: one NaN would stay in them, and the arm be dead.
            i, k = np.argwhere(~finite)[0]
            raise UsageError(
                f"actions: expected finite numbers, got {actions[i][k]} in simulation {i}"
                f" at index {k}"
            )
        self.simulation.step(self.controller.controls(actions))
        observation = self.observe()
        self.reward = self._tracker.judge(observation)
        return observation

    def _checked_ids(self, ids: Sequence[int]) -> IntArray:
        """Ids of simulations, ascending and each once, (k,)."""
        expected = f"ids: expected numbers from 0 to {self.n - 1}, ascending"
        which = np.asarray(ids)
        if which.ndim != 1 or (which.size and which.dtype.kind not in "iu"):
            raise UsageError(f"{expected}, got {reprlib.repr(which.tolist())}")
        before: Any = None
        for i in which.tolist():
            if not 0 <= i < self.n:
                raise UsageError(f"{expected}, got {i}")
            if before is not None and i <= before:
                raise UsageError(f"{expected}, got {i} after {before}")
            before = i
        return which.astype(np.int64)

    def _find(self, task_id: str) -> Task:
        if task_id not in self._instructions:
            raise unknown_name("task", task_id, self._instructions)
        if self._own is not None and self._own.id == task_id:
            return self._own
        return get_task(task_id)

    def _code(self, told: str) -> Float32Array:
        """One-hot code of an instruction, (K,)."""
        return np.array([task_id == told for task_id in self._instructions], np.float32)


def _instructions(
    task_id: str, own: Task | None, instructions: Sequence[str] | None
) -> tuple[str, ...]:
    """Task ids in the order of the one-hot code.

    Args:
        task_id: The task that is run.
        own: A task that need not be registered.
        instructions: The ids, if they are given.

    Raises:
        UsageError: They are no list of different names with that task among them.
    """
    if instructions is None:
        if own is None:
            get_task(task_id)
        return tuple(dict.fromkeys((*task_ids(), task_id)))
    if isinstance(instructions, str) or not all(isinstance(name, str) for name in instructions):
        raise UsageError(f"instructions: expected a list of task ids, got {instructions!r}")
    if len(set(instructions)) < len(instructions):
        raise UsageError(f"instructions: expected each once, got {', '.join(instructions)}")
    if task_id not in instructions:
        raise unknown_name("task", task_id, instructions)
    return tuple(instructions)


def require_one_each(seeds: object, n: int) -> Sequence[object]:
    """Seeds of n simulations, or whatever else stands in their places.

    Raises:
        UsageError: They are not n.
    """
    if isinstance(seeds, np.ndarray):
        seeds = seeds.tolist()
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise UsageError(f"seeds: expected {n}, one per simulation, got {seeds!r}")
    if len(seeds) != n:
        raise UsageError(f"seeds: expected {n}, one per simulation, got {len(seeds)}")
    return seeds
