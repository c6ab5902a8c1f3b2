"""Live rollouts of a policy, recorded as they go, so that one can look back."""

from collections.abc import Callable, Sequence

import numpy as np

from vand_demos.system.interrupt import obey_interrupt
from vand_envs import get_task
from vand_envs.errors import UsageError, unknown_name
from vand_envs.typing import FloatArray
from vand_envs.world import World
from vand_robot.evaluation.jobs import RolloutJob
from vand_robot.evaluation.perturbations import NOMINAL, ExternalPush
from vand_robot.evaluation.rollout import EpisodeStepper
from vand_robot.evaluation.target import EvaluationTarget
from vand_robot.policies.recurrent import PolicyState
from vand_robot.viewer.episodes import Frame

LONGEST_S = 3600.0
"""No episode goes on for longer, however often the instruction changes [s]."""

PARTS = ("base", "hand")
"""Parts of the robot that can be pushed."""
DIRECTIONS = {"ahead": 0.0, "left": np.pi / 2, "right": -np.pi / 2, "back": np.pi}
"""Direction of a push -> angle from where the base looks to [rad]."""


class LiveEpisodes:
    """Rollouts of a policy; see `EpisodeSource`.

    As long as nobody interferes, an episode is to the last bit that of the evaluation. An
    interference at a moment that is not the latest begins another future there: the episode is a
    function of its seed and of what was done to it, so it is rolled out anew up to that moment.

    Args:
        target: Whose policy acts.
        job_of: What to roll out for a task and the number of a held-out episode.
        task: Task that is opened first.
        number: Number of the episode that is opened first.

    Raises:
        UsageError: No such task or episode.
        VandError: The simulation and the policy do not fit together.
    """

    def __init__(
        self,
        target: EvaluationTarget,
        job_of: Callable[[str, int], RolloutJob],
        task: str,
        number: int = 0,
    ) -> None:
        self._target, self._job_of = target, job_of
        self._policy = target.make_policy()
        self.tasks = tuple(target.references)
        self.instructions = tuple(t for t in self._policy.spec.instructions if t in self.tasks)
        """Tasks that the running policy can be told."""
        self.control_dt_s = target.control_dt_s
        self.count = None
        self._begin(task, number)

    def _begin(self, task: str, number: int) -> None:
        self._job = self._job_of(task, number)
        self.task, self.number = task, number
        self._changes = _switch(self._job)  # control step -> new instruction
        self._wrenches: dict[int, FloatArray] = {}  # control step -> (nbody, 6) [N, N m], world
        self._steps = self._job.steps
        self._begin_rollout()

    def _begin_rollout(self) -> None:
        """Roll the episode out from its beginning, with what was done to it."""
        self._stepper = EpisodeStepper(
            self._policy,
            self._job.told_first,
            self._job.seeds[:1],
            round(LONGEST_S / self.control_dt_s),
            perturbation=self._job.perturbation,
            instructions=self._changes,
        )
        self._frames = [self._frame()]

    def open(self, task: str, number: int) -> None:
        """As `EpisodeSource.open`."""
        before = self._stepper
        self._begin(task, number)
        before.close()

    @property
    def world(self) -> World:
        """As `EpisodeSource.world`."""
        return self._stepper.batch.world

    @property
    def title(self) -> str:
        """As `EpisodeSource.title`."""
        under = "" if self._job.perturbation == NOMINAL else f", {self._job.perturbation.name}"
        return f"{self._target.facts.run}: held-out episode {self.number}{under}"

    @property
    def frames(self) -> Sequence[Frame]:
        """As `EpisodeSource.frames`."""
        return self._frames

    @property
    def length(self) -> int:
        """As `EpisodeSource.length`."""
        return self._steps + 1

    @property
    def touched(self) -> bool:
        """Whether somebody interfered, so that this is no longer the evaluated episode."""
        return bool(self._wrenches) or self._changes != _switch(self._job)

    def extend(self) -> None:
        """As `EpisodeSource.extend`."""
        step = self._stepper.steps_done
        if step < self._steps:
            self._stepper.step(self._wrenches.get(step))
            self._frames.append(self._frame())

    def instruct(self, step: int, task: str) -> None:
        """Change the instruction from a moment on; what was known of later ones is forgotten.

        The episode then lasts at least as long as the task may take.

        Args:
            step: The moment.
            task: One of `instructions`.

        Raises:
            UsageError: The policy does not know the task, or the moment is not known.
        """
        if task not in self.instructions:
            raise unknown_name("task", task, self.instructions)
        self._go_back(step)
        self._changes[step] = task
        self._stepper.instruct(task)
        self._frames[-1] = self._frame()
        reference = self._target.references[task]
        needed = NOMINAL.steps(get_task(task), reference, self.control_dt_s)
        longest = round(LONGEST_S / self.control_dt_s)
        self._steps = min(max(self._steps, step + needed), longest)

    def push(self, step: int, part: str, direction: str) -> None:
        """Push the robot from a moment on; what was known of later ones is forgotten.

        The impulse is that of the evaluation's perturbation `push`.

        Args:
            step: The moment.
            part: One of `PARTS`.
            direction: One of `DIRECTIONS`, as the base sees it.

        Raises:
            UsageError: No such part or direction, or the moment is not known.
        """
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
        if direction not in DIRECTIONS:
            raise unknown_name("direction", direction, DIRECTIONS)
        self._go_back(step)
        sim, magnitude = self._stepper.batch.simulation, ExternalPush()
        body, impulse_ns = (
            (sim.base.body, magnitude.base_impulse_ns)
            if part == "base"
            else (sim.ee_body, magnitude.hand_impulse_ns)
        )
        steps = max(1, round(magnitude.duration_s / self.control_dt_s))
        angle = sim.base.pose()[0, 2] + DIRECTIONS[direction]
        wrenches = np.zeros(sim.wrench.shape[1:])
        force = impulse_ns / (steps * self.control_dt_s)
        wrenches[body, :2] = force * np.cos(angle), force * np.sin(angle)
        self.pull(step, wrenches, steps)

    def pull(self, step: int, wrenches: FloatArray, steps: int = 1) -> None:
        """Let forces act from a moment on; what was known of later ones is forgotten.

        Args:
            step: The moment.
            wrenches: Force and torque on each body, (nbody, 6) in the world [N, N m].
            steps: For how long [control step].

        Raises:
            UsageError: The moment is not known.
        """
        self._go_back(step)
        for at in range(step, step + steps):
            self._wrenches[at] = self._wrenches.get(at, 0.0) + wrenches

    def close(self) -> None:
        """Free what draws images."""
        self._stepper.close()

    def _go_back(self, step: int) -> None:
        """Make a moment the latest."""
        latest = len(self.frames) - 1
        if not 0 <= step <= latest:
            raise UsageError(f"moment: expected 0 to {latest}, got {step}")
        if step == latest:
            return
        own = _switch(self._job)  # what the episode itself brings later is not forgotten
        self._changes = {
            **{at: task for at, task in self._changes.items() if at <= step},
            **{at: task for at, task in own.items() if at > step},
        }
        self._wrenches = {at: wrench for at, wrench in self._wrenches.items() if at < step}
        before = self._stepper
        self._begin_rollout()
        before.close()
        while len(self.frames) <= step:
            obey_interrupt()
            self.extend()

    def _frame(self) -> Frame:
        """The latest moment."""
        batch = self._stepper.batch
        progress = batch.progress
        state = self._stepper.policy.states[0]
        memory = None
        if isinstance(state, PolicyState):
            memory = state.core[:, 0].flatten().numpy().copy()
        return Frame(
            batch.state[0].copy(),
            batch.task.id,
            int(progress.stages_done[0]),
            float(progress.cycles[0]),
            bool(progress.success[0]),
            memory,
        )


def _switch(job: RolloutJob) -> dict[int, str]:
    """The change of the instruction that is part of a job: control step -> task."""
    return {} if job.switch is None else dict([job.switch])
