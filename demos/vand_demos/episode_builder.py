"""Collects the steps of a running episode until it becomes an `Episode`."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vand_demos.episode import ACTION_MODES, Episode, utc_now
from vand_demos.step_tasks import step_tasks_of
from vand_demos.system.version import made_by
from vand_envs import TaskBatch
from vand_envs.controller import ActionMode

Row = Mapping[str, npt.NDArray[np.float32]]


class EpisodeBuilder:
    """The steps of one running episode.

    Args:
        seed: Seed of the episode.
        view: The first observation, key -> (d,).
    """

    def __init__(self, seed: int, view: Row) -> None:
        self.seed = seed
        self._views: list[Row] = [view]
        self._parts: list[Row] = []
        self._states: list[npt.NDArray[np.float64]] = []
        self._disturbed: list[bool | None] = []
        self.rewards: list[float] = []
        """One for each step."""

    def __len__(self) -> int:
        """Steps so far."""
        return len(self.rewards)

    @property
    def view(self) -> Row:
        """The latest observation."""
        return self._views[-1]

    def add(
        self,
        state: npt.NDArray[np.float64],
        parts: Row,
        reward: float,
        view: Row,
        *,
        disturbed: bool | None = None,
    ) -> None:
        """Remember one step.

        Args:
            state: The simulation's state before it, (S,).
            parts: The action in the terms of both modes, see `Controller.parts`, part -> (.,).
            reward: What it earned.
            view: The observation after it.
            disturbed: Whether a disturbance acts or is being recovered from; None: unknown.
        """
        self._states.append(state)
        self._parts.append(parts)
        self.rewards.append(reward)
        self._views.append(view)
        self._disturbed.append(disturbed)

    def episode(
        self,
        batch: TaskBatch,
        *,
        action_mode: ActionMode,
        device: str,
        success: bool,
        steps: int | None = None,
    ) -> Episode:
        """The episode, or its first `steps` steps.

        Args:
            batch: Where it took place.
            action_mode: What `actions` holds.
            device: Who drove.
            success: Whether the task was done.
            steps: Steps to keep, at least 1; all by default.

        Raises:
            EpisodeError: There is no step.
        """
        n = len(self) if steps is None else steps
        views = {key: np.stack([v[key] for v in self._views[: n + 1]]) for key in self.view}
        disturbed = self._disturbed[:n]
        given = [key for key, part in self._parts[0].items() if part.size]  # a fixed base has none
        parts = {key: np.stack([p[key] for p in self._parts[:n]]) for key in given}
        return Episode(
            task=batch.task.id,
            instruction=batch.task.instruction,
            seed=self.seed,
            success=success,
            device=device,
            control_dt_s=batch.control_dt_s,
            action_mode=action_mode,
            observations={key: value[:-1] for key, value in views.items()},
            next_observations={key: value[1:] for key, value in views.items()},
            actions=np.concatenate(
                [parts[part] for part in ACTION_MODES[action_mode] if part in parts], axis=1
            ),
            action_parts=parts,
            rewards=np.array(self.rewards[:n], np.float32),
            dones=(np.arange(n) == n - 1).astype(np.int64),
            states=np.stack(self._states[:n]),
            model_file=batch.world.xml,
            robot=batch.world.robot.id,
            scene="" if batch.world.scene is None else batch.world.scene.id,
            recorded_at=utc_now(),
            disturbed=None if None in disturbed else np.array(disturbed, np.bool_),
            step_tasks=step_tasks_of(views["instruction"][:-1]),
            versions=made_by(),
        )
