"""Perturbations: the disturbances under which a policy is evaluated, with their magnitudes.

Whatever is random in an episode follows from (suite version, task, perturbation, seed): every
episode has a stream of its own, so it does not depend on how many others there are.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from zlib import crc32

import mujoco
import numpy as np

from vand_envs import Task, get_task, task_ids
from vand_envs.controller import ActionMode
from vand_envs.errors import VandError
from vand_envs.simulation import Simulation
from vand_envs.typing import Float32Array, FloatArray, Observation
from vand_robot.evaluation.reference import TaskReference

SUITE_VERSION = "3"
"""Changes whenever the same policy would get other numbers."""

PERIODIC_HORIZON = 3.0
"""Periodic tasks are rolled out for this multiple of the demonstrations' median length."""


@dataclass(frozen=True, eq=False)
class RolloutContext:
    """Facts about n new episodes that a perturbation needs."""

    streams: Sequence[np.random.Generator]
    """A random stream for each episode, n."""
    action_mode: ActionMode
    """Meaning of the numbers of an action, see `vand_envs.controller`."""
    steps: int
    """Length of the episodes [control step]."""
    control_dt_s: float
    """Duration of a control step [s]."""
    simulation: Simulation
    """Where the episodes take place."""


class PerturbationProcess:
    """A perturbation of n running episodes. This base class leaves them alone.

    Args:
        context: The episodes.
    """

    pushes_s: tuple[tuple[float, ...], ...] = ()
    """When each episode is pushed [s]; empty where none is."""

    def __init__(self, context: RolloutContext) -> None:
        self._context = context

    def seen(self, observation: Observation) -> Observation:
        """The observation as the policy sees it, key -> (n, ...)."""
        return observation

    def executed(self, actions: Float32Array) -> Float32Array:
        """The policy's actions as the robot carries them out, (n, A)."""
        return actions

    def push(self, step: int) -> None:
        """Set the external forces that act during a control step."""


@dataclass(frozen=True)
class FirstInstruction:
    """An instruction that comes before the one that is judged."""

    task: str
    """Id of its task."""
    steps: int
    """Until when it holds [control step]."""


@dataclass(frozen=True)
class Perturbation(ABC):
    """A disturbance of episodes: which tasks it is for, how long they last, what happens in them.

    Its fields are its magnitudes.
    """

    name: ClassVar[str]
    """Name on the command line and in results. The random streams depend on it."""
    about: ClassVar[str]
    """One line of description."""

    def applies(self, task: Task, known: Sequence[str]) -> bool:  # noqa: ARG002  (others ask)
        """Whether a task is evaluated under this perturbation: all tasks by default.

        Args:
            task: The task that is judged.
            known: Ids of the tasks that the policy was trained for, in the instruction's order.
        """
        return True

    def steps(self, task: Task, reference: TaskReference, control_dt_s: float) -> int:
        """For how long a task is judged [control step].

        It is the task's horizon, or a multiple of the demonstrations' length if it is periodic.

        Args:
            task: The task that is judged.
            reference: What its demonstrations show.
            control_dt_s: Duration of a control step [s].
        """
        if task.kind == "periodic":
            return round(PERIODIC_HORIZON * reference.median_steps)
        return round(task.horizon_s / control_dt_s)

    def first_instruction(
        self,
        task: Task,  # noqa: ARG002  (others ask)
        references: Mapping[str, TaskReference],  # noqa: ARG002
        control_dt_s: float,  # noqa: ARG002
    ) -> FirstInstruction | None:
        """The instruction that comes before a task; None by default.

        Args:
            task: The task that is judged. The perturbation applies to it.
            references: What demonstrations show, by every task that the policy was trained for.
            control_dt_s: Duration of a control step [s].
        """
        return None

    @abstractmethod
    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """Begin to perturb new episodes."""

    def to_json(self) -> dict[str, Any]:
        """Description and magnitudes as plain values."""
        magnitudes = dataclasses.asdict(self)
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in magnitudes.items()}
        return {"about": self.about, **plain}


@dataclass(frozen=True)
class Nominal(Perturbation):
    """No disturbance: held-out seeds alone, that nothing was tuned on."""

    name: ClassVar[str] = "nominal"
    about: ClassVar[str] = "held-out seeds, nothing else"

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`: nothing happens."""
        return PerturbationProcess(context)


NOMINAL = Nominal()
"""What all others are compared with."""


@dataclass(frozen=True)
class ObservationNoise(Perturbation):
    """White noise on the observation, in physical units; never on the instruction.

    Magnitudes are standard deviations.
    """

    name: ClassVar[str] = "sensor"
    about: ClassVar[str] = "noise on every observation but the instruction"
    object_position_m: float = 0.002
    """Noise of the positions of objects and stations [m]."""
    object_angle_rad: float = 0.02
    """Noise of their orientations [rad]."""
    base_position_m: float = 0.005
    """Noise of the base's position in the world [m]."""
    base_angle_rad: float = 0.005
    """Noise of the base's heading [rad]."""
    speed_ms: float = 0.01
    """Noise of linear velocities [m/s]."""
    speed_rads: float = 0.02
    """Noise of angular velocities [rad/s]."""
    hand_position_m: float = 0.001
    """Noise of the hand's position, the gripper's opening, the lift [m]."""
    hand_angle_rad: float = 0.002
    """Noise of the hand's orientation and the arm's joints [rad]."""
    lag_m: float = 0.0005
    """Noise of how far the commanded hand is ahead of the real one, that is, of felt forces [m]."""
    pixel: float = 3.0
    """Noise of images, in levels of 255."""
    keys: tuple[str, ...] = ()
    """Observations that are noisy; empty: all."""

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`."""
        return _NoisySenses(context, self)

    def deviation(self, key: str, size: int) -> FloatArray:
        """Standard deviation of each number of an observation, (size,), each in its unit.

        Raises:
            VandError: The perturbation does not say how noisy that observation is.
        """
        kinds = _KINDS.get(key) or _OBJECT_KINDS.get(key.rpartition("_")[2])
        if kinds is None:
            raise VandError(f"perturbation 'sensor': no noise is defined for observation {key!r}")
        return np.resize([getattr(self, kind) for kind in kinds], size)


_KINDS: dict[str, tuple[str, ...]] = {
    "base_pose": ("base_position_m",) * 2 + ("base_angle_rad",) * 2,
    "base_twist": ("speed_ms", "speed_ms", "speed_rads"),
    "gripper": ("hand_position_m", "speed_ms"),
    "ee_pos": ("hand_position_m",),
    "ee_rot": ("hand_angle_rad",),
    "ee_lag": ("lag_m",),
}
"""Observation -> magnitudes of its numbers, a shorter row repeated; joints follow from the robot. A
small error of an angle is one of its sine and cosine, and of the columns of a rotation."""

_OBJECT_KINDS: dict[str, tuple[str, ...]] = {
    "pos": ("object_position_m",),
    "rel": ("object_position_m",),
    "rot": ("object_angle_rad",),
}
"""The same for objects and stations: end of the key -> magnitudes."""


class _NoisySenses(PerturbationProcess):
    def __init__(self, context: RolloutContext, sensor: ObservationNoise) -> None:
        super().__init__(context)
        self._sensor, self._streams = sensor, context.streams
        sim = context.simulation
        joints = sim.joint_ids(sim.world.robot.arm.joints)
        slides = sim.model.jnt_type[joints] == int(mujoco.mjtJoint.mjJNT_SLIDE)  # (J,)
        position = np.where(slides, sensor.hand_position_m, sensor.hand_angle_rad)
        speed = np.where(slides, sensor.speed_ms, sensor.speed_rads)
        self._joints = {"joint_pos": position, "joint_vel": speed}

    def seen(self, observation: Observation) -> Observation:
        keys = self._sensor.keys or tuple(key for key in observation if key != "instruction")
        noisy = dict(observation)
        numbers = [key for key in keys if observation[key].ndim == 2]
        known, of = self._joints, self._sensor.deviation
        each = [known[k] if k in known else of(k, observation[k].shape[1]) for k in numbers]
        spread = np.concatenate(each)  # (D,)
        noise = spread * np.stack([stream.standard_normal(len(spread)) for stream in self._streams])
        at = 0
        for key in numbers:
            size = observation[key].shape[1]
            noisy[key] = (observation[key] + noise[:, at : at + size]).astype(np.float32)
            at += size
        for key in (key for key in keys if observation[key].ndim > 2):
            levels = np.stack(
                [s.standard_normal(observation[key].shape[1:]) for s in self._streams]
            )
            image = np.clip(np.rint(observation[key] + self._sensor.pixel * levels), 0, 255)
            noisy[key] = image.astype(observation[key].dtype)
        return noisy


@dataclass(frozen=True)
class ActuationNoise(Perturbation):
    """Noise on the motion of the hand, and wheels that slip; the gripper is spared.

    The wheels slip in proportion to their speed: a base that is told to stand still does.
    """

    name: ClassVar[str] = "slip"
    about: ClassVar[str] = "noise on the hand's motion, wheels that slip"
    hand_std: float = 0.04
    """Standard deviation of the noise on the end-effector twist, in units of the action."""
    joint_std: float = 0.003
    """Standard deviation of the noise on joint targets, in units of the action; for policies that
    act in mode `joint`."""
    correlation_s: float = 0.5
    """Correlation time of that noise [s]; 0: white."""
    base_slip: float = 0.15
    """Standard deviation of the base's speed as a share of what is commanded, for each axis."""
    slip_correlation_s: float = 1.0
    """Correlation time of the slip [s]."""

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`."""
        return _Slipping(context, self)


class _Slipping(PerturbationProcess):
    """Ornstein-Uhlenbeck processes, begun in their stationary distribution."""

    def __init__(self, context: RolloutContext, slip: ActuationNoise) -> None:
        super().__init__(context)
        self._streams, dt = context.streams, context.control_dt_s
        self._base = slip.base_slip
        self._hand = slip.hand_std if context.action_mode == "ee_twist" else slip.joint_std
        self._keep = (_kept(dt, slip.slip_correlation_s), _kept(dt, slip.correlation_s))
        self._robot = context.simulation.world.robot
        self._noise: FloatArray | None = None  # (n, A - G), of unit variance

    def executed(self, actions: Float32Array) -> Float32Array:
        b, free = self._robot.base_size, actions.shape[1] - self._robot.gripper_size
        keep = np.repeat(self._keep, [b, free - b])  # (A - G,)
        fresh = np.stack([stream.standard_normal(free) for stream in self._streams])
        self._noise = (
            fresh if self._noise is None else keep * self._noise + np.sqrt(1 - keep**2) * fresh
        )
        moved = actions.astype(np.float64)
        moved[:, :b] *= 1 + self._base * self._noise[:, :b]
        moved[:, b:free] += self._hand * self._noise[:, b:]
        return np.clip(moved, -1.0, 1.0).astype(np.float32)


def _kept(dt: float, correlation_s: float) -> float:
    """Share of correlated noise that is left after one step."""
    return float(np.exp(-dt / correlation_s)) if correlation_s > 0 else 0.0


@dataclass(frozen=True)
class ExternalPush(Perturbation):
    """Short horizontal forces on hand or base, one after the other."""

    name: ClassVar[str] = "push"
    about: ClassVar[str] = "force impulses on hand and base"
    hand_impulse_ns: float = 4.0
    """Impulse on the hand [N s]."""
    base_impulse_ns: float = 40.0
    """Impulse on the base [N s]."""
    duration_s: float = 0.2
    """Duration of a push [s]."""
    first_s: tuple[float, float] = (3.0, 6.0)
    """Range of the time of the first [s]."""
    interval_s: tuple[float, float] = (5.0, 9.0)
    """Range of the time from one to the next [s]."""

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`."""
        return _Pushes(context, self)


class _Pushes(PerturbationProcess):
    def __init__(self, context: RolloutContext, push: ExternalPush) -> None:
        super().__init__(context)
        streams, steps, dt = context.streams, context.steps, context.control_dt_s
        simulation = context.simulation
        self._bodies = [simulation.ee_body, simulation.base.body]
        length = max(1, round(push.duration_s / dt))
        impulses = (push.hand_impulse_ns, push.base_impulse_ns)
        self._force = np.zeros((steps, len(streams), 2, 3))  # [N], hand and base
        times = []
        for i, stream in enumerate(streams):
            begun, time_s = [], stream.uniform(*push.first_s)
            while (start := round(time_s / dt)) < steps:
                body, angle = stream.integers(2), stream.uniform(0, 2 * np.pi)
                force = impulses[body] / (length * dt)
                direction = np.array([np.cos(angle), np.sin(angle), 0.0])
                self._force[start : start + length, i, body] = force * direction
                begun.append(start * dt)
                time_s += stream.uniform(*push.interval_s)
            times.append(tuple(begun))
        self.pushes_s = tuple(times)

    def push(self, step: int) -> None:
        self._context.simulation.wrench[:, self._bodies, :3] = self._force[step]


@dataclass(frozen=True)
class LongHorizon(Perturbation):
    """A periodic task that has to go on for longer."""

    name: ClassVar[str] = "long"
    about: ClassVar[str] = "periodic tasks, for many times the demonstrations' length"
    horizon: float = 5.0
    """Length of an episode [the demonstrations' median length]."""

    def applies(self, task: Task, known: Sequence[str]) -> bool:  # noqa: ARG002  (others ask)
        """As `Perturbation.applies`: periodic tasks."""
        return task.kind == "periodic"

    def steps(
        self,
        task: Task,  # noqa: ARG002  (others ask)
        reference: TaskReference,
        control_dt_s: float,  # noqa: ARG002
    ) -> int:
        """As `Perturbation.steps`."""
        return round(self.horizon * reference.median_steps)

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`: nothing happens to the episodes."""
        return PerturbationProcess(context)


@dataclass(frozen=True)
class InstructionSwitch(Perturbation):
    """Halfway the instruction changes; success is the second task's, from where the first left off.

    Before a task comes the one half the list away, of those that the policy was trained for in the
    order of the instruction's code: so every task comes second once.
    """

    name: ClassVar[str] = "switch"
    about: ClassVar[str] = "another instruction halfway; success is the second task's, from there"
    after: float = 0.5
    """When the instruction changes, as a share of the first task's horizon."""

    def applies(self, task: Task, known: Sequence[str]) -> bool:
        """As `Perturbation.applies`: where there is another task to come first."""
        return task_before(task.id, known) is not None

    def first_instruction(
        self, task: Task, references: Mapping[str, TaskReference], control_dt_s: float
    ) -> FirstInstruction | None:
        """As `Perturbation.first_instruction`."""
        first = task_before(task.id, known_tasks(references))
        if first is None:
            return None
        horizon = self.steps(get_task(first), references[first], control_dt_s)
        return FirstInstruction(first, round(self.after * horizon))

    def begin(self, context: RolloutContext) -> PerturbationProcess:
        """As `Perturbation.begin`: nothing else happens to the episodes."""
        return PerturbationProcess(context)


PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        NOMINAL,
        ObservationNoise(),
        ActuationNoise(),
        ExternalPush(),
        LongHorizon(),
        InstructionSwitch(),
    )
}
"""Name -> perturbation, with the suite's magnitudes."""


def known_tasks(references: Mapping[str, TaskReference]) -> list[str]:
    """Tasks that have a reference, in the order of the instruction's code."""
    return [task for task in task_ids() if task in references]


def task_before(task_id: str, known: Sequence[str]) -> str | None:
    """The task that comes before one, see `InstructionSwitch`; None where there is no other."""
    index = known.index(task_id) - len(known) // 2
    return known[index] if len(known) > 1 else None


def streams(task_id: str, perturbation: str, seeds: Sequence[int]) -> list[np.random.Generator]:
    """The random stream of each episode."""
    place = crc32(f"{SUITE_VERSION} {task_id} {perturbation}".encode())
    return [np.random.default_rng([place, seed]) for seed in seeds]
