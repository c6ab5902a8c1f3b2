"""The scripted experts behind the interface of a policy: what a perfect policy would reach.

Evaluating them tells what the suite itself makes impossible: a world that cannot be put right any
more, a push that nobody survives, a criterion that the demonstrator fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from vand_demos.experts import Expert, make_expert
from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.errors import VandError
from vand_envs.typing import Float32Array, Observation
from vand_robot.interface import PolicySpec

ACTION_SIZE = 10
"""Numbers in an action of mode `ee_twist`, in which the experts drive."""


@dataclass(eq=False)
class ExpertEpisode:
    """The expert of one episode, and what it did last."""

    task: str
    """What it was told."""
    style: int
    """Seed of its style."""
    expert: Expert
    """Who acts."""
    action: Float32Array = field(default_factory=lambda: np.zeros(ACTION_SIZE, np.float32))
    """The last action, (10,)."""
    over: bool = False
    """Whether the demonstration is over."""


class ExpertPolicy:
    """Acts as the expert of the instructed task does; another instruction brings another expert.

    The experts see what the policy would see, with its noise. Their style is drawn from the first
    observation, in which no two episodes are alike, so that it is a function of the episode. They
    keep a rhythm without end, and stand still after everything else.

    Args:
        control_dt_s: Duration of a control step [s].
    """

    def __init__(self, control_dt_s: float = 0.1) -> None:
        batch = TaskBatch(task_ids()[0], 1, control_dt_s=control_dt_s)
        self.spec = PolicySpec(
            robot=batch.world.robot.name,
            action_mode=batch.controller.mode,
            action_size=batch.action_size,
            control_dt_s=control_dt_s,
            instructions=task_ids(),
            observations=batch.observation_sizes,
        )

    def act(
        self, observation: Observation, state: Sequence[ExpertEpisode] | None = None
    ) -> tuple[Float32Array, Sequence[ExpertEpisode]]:
        """Actions (n, 10) for an observation, key -> (n, d), and the experts for the next call.

        Raises:
            VandError: No expert knows the instruction.
        """
        told = [self.spec.instructions[k] for k in observation["instruction"].argmax(axis=1)]
        acting: list[ExpertEpisode] = []
        for i, task in enumerate(told):
            view = {key: value[i] for key, value in observation.items()}
            it = state[i] if state and state[i].task == task else self._begin(task, view)
            last = acting[-1] if acting else None
            if last is not None and (it is last or (it.task, it.style) == (last.task, last.style)):
                acting.append(last)  # rows that are copies of one another: one expert is enough
                continue
            _advance(it, view)
            acting.append(it)
        return np.stack([it.action for it in acting]), acting

    def _begin(self, task: str, view: Observation) -> ExpertEpisode:
        style = crc32(np.concatenate([view["base_pose"], view["cube_pos"]]).tobytes())
        expert = make_expert(task, style, self.spec.control_dt_s, endless=True)
        return ExpertEpisode(task, style, expert)


def _advance(it: ExpertEpisode, view: Observation) -> None:
    action = None if it.over else it.expert.act(view)
    if action is None:
        if get_task(it.task).kind == "periodic":
            raise VandError(f"task {it.task!r}: its expert stops, a rhythm without end does not")
        it.over = True
        it.action = np.append(np.zeros(ACTION_SIZE - 1), it.action[-1]).astype(np.float32)
    else:
        it.action = np.asarray(action, np.float32)
