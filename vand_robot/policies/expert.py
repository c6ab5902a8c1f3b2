"""The scripted experts behind the interface of a policy.

Their evaluation is what a perfect policy would reach. Where they fail, the suite itself makes
success impossible: a world that cannot be put right any more, a push that nobody survives, a
criterion that the demonstrator fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from vand_demos.experts import Expert, make_expert
from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import VandError
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec
from vand_envs.typing import Float32Array, Observation
from vand_robot.interface import PolicySpec


@dataclass(eq=False)
class ExpertEpisode:
    """The expert of one episode, and its last action."""

    task: str
    """Task that it was instructed to do."""
    style: int
    """Seed of its style."""
    expert: Expert
    """The expert, which acts."""
    action: Float32Array
    """Its last action, (A,)."""
    grips: bool = True
    """Whether the robot has a gripper."""
    over: bool = False
    """Whether the demonstration is over."""

    def advance(self, view: Observation) -> None:
        """Choose the next action; an expert that is done stands still and keeps its gripper.

        Args:
            view: Observation of the episode, key -> (d,).

        Raises:
            VandError: The expert of a rhythm stops.
        """
        action = None if self.over else self.expert.act(view)
        if action is not None:
            self.action = np.asarray(action, np.float32)
            return
        if get_task(self.task).kind == "periodic":
            raise VandError(f"task {self.task!r}: its expert stops, a rhythm without end does not")
        self.over = True
        still = np.zeros_like(self.action)
        if self.grips:
            still[-1] = self.action[-1]  # the gripper comes last in every mode
        self.action = still


class ExpertPolicy:
    """Acts as the expert of the instructed task does; another instruction brings another expert.

    The experts see what the policy would see, with its noise. Their style is drawn from the first
    observation, in which no two episodes are alike, so that it is a function of the episode. They
    keep a rhythm without end, and stand still after everything else.

    Args:
        control_dt_s: Duration of a control step [s].
        robot: The robot that they drive.
    """

    def __init__(self, control_dt_s: float = 0.1, robot: RobotSpec = DEFAULT_ROBOT) -> None:
        self._robot = robot
        batch = TaskBatch(task_ids()[0], 1, control_dt_s=control_dt_s, robot=robot)
        self.spec = PolicySpec.of(batch.env_args, batch.observation_sizes, batch.action_size)

    def act(
        self, observation: Observation, state: Sequence[ExpertEpisode] | None = None
    ) -> tuple[Float32Array, Sequence[ExpertEpisode]]:
        """Actions (n, A) for an observation, key -> (n, d), and the experts for the next call.

        Raises:
            VandError: No expert knows the instruction.
        """
        told = [self.spec.instructions[k] for k in observation["instruction"].argmax(axis=1)]
        acting: list[ExpertEpisode] = []
        for i, task in enumerate(told):
            view = {key: value[i] for key, value in observation.items()}
            episode = state[i] if state and state[i].task == task else self._begin(task, view)
            last = acting[-1] if acting else None
            if last is None or not _is_copy(episode, last):
                episode.advance(view)
                last = episode
            acting.append(last)  # one expert is enough for rows that are copies of one another
        return np.stack([episode.action for episode in acting]), acting

    def _begin(self, task: str, view: Observation) -> ExpertEpisode:
        style = crc32(np.concatenate([view["base_pose"], view["cube_pos"]]).tobytes())
        expert = make_expert(task, style, self.spec.control_dt_s, robot=self._robot, endless=True)
        action = np.zeros(self.spec.action_size, np.float32)
        return ExpertEpisode(task, style, expert, action, bool(self._robot.gripper_size))


def _is_copy(episode: ExpertEpisode, other: ExpertEpisode) -> bool:
    """Whether two rows of a batch are one episode."""
    return episode is other or (episode.task, episode.style) == (other.task, other.style)
