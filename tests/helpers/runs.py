"""Small demonstrations whose right answer is known, written as real data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos import Episode, write_dataset
from vand_robot.config.loading import load_config, merge
from vand_robot.config.schema import TrainConfig
from vand_robot.config.validation import build, to_dict

TASKS = ("stow-cube", "wipe")
RECORDED_AT = "2026-01-01T00:00:00+00:00"

SMALL = (
    "policy.hidden_size=8",
    "policy.encoder.sizes=[6]",
    "batch_size=3",
    "updates=4",
    "validation_interval=2",
    "rollouts.interval=2",
    "optimizer.warmup_updates=2",
    "threads=1",
)
"""Overrides of a run that takes a moment."""


def env_args(**changes: Any) -> dict[str, Any]:
    kwargs = {
        "robot": "vander",
        "action_mode": "ee_twist",
        "control_dt_s": 0.1,
        "instructions": list(TASKS),
    }
    return {
        "env_name": "VandRobot/StowCube-v0",
        "env_version": "0.1.0",
        "type": 2,
        "env_kwargs": {**kwargs, **changes},
    }


def make_episode(
    observations: Mapping[str, np.ndarray],
    actions: np.ndarray,
    *,
    task: str = "wipe",
    seed: int = 0,
    success: bool = True,
    step_tasks: np.ndarray | None = None,
) -> Episode:
    """An episode of N steps: observations (N, .), actions (N, 10)."""
    steps = len(actions)
    told = np.full(steps, TASKS.index(task)) if step_tasks is None else step_tasks
    code = np.eye(len(TASKS), dtype=np.float32)[told]
    return Episode(
        task=task,
        instruction=f"please {task}",
        seed=seed,
        success=success,
        device="expert",
        control_dt_s=0.1,
        action_mode="ee_twist",
        observations={**observations, "instruction": code},
        next_observations={},
        actions=actions.astype(np.float32),
        action_parts={},
        rewards=np.zeros(steps, np.float32),
        dones=np.zeros(steps, np.int64),
        states=None,
        model_file="<mujoco/>",
        recorded_at=RECORDED_AT,
        versions={},
        step_tasks=step_tasks,
    )


def random_episode(rng: np.random.Generator, task: str, steps: int, **options: Any) -> Episode:
    observations = {
        "ee_pos": rng.normal(size=(steps, 3)).astype(np.float32),
        "gripper": rng.normal(3.0, 0.1, (steps, 2)).astype(np.float32),
    }
    actions = rng.uniform(-1, 1, (steps, 10))
    return make_episode(observations, actions, task=task, **options)


def counting_episode(rng: np.random.Generator, seed: int, steps: int = 16) -> Episode:
    """A bell rings three times; actions are +0.5 until the second ring, then -0.5."""
    bell = np.zeros((steps, 1), np.float32)
    rings = np.sort(rng.choice(np.arange(1, steps), 3, replace=False))
    bell[rings] = 1.0
    sign = np.where(np.arange(steps) < rings[1], 0.5, -0.5)
    return make_episode({"bell": bell}, np.tile(sign[:, None], 10), seed=seed)


def write_random(path: Path, per_task: int = 4, seed: int = 0, **changes: Any) -> Path:
    rng = np.random.default_rng(seed)
    episodes = [
        random_episode(rng, task, int(rng.integers(5, 12)), seed=i)
        for i in range(per_task)
        for task in TASKS
    ]
    return write(path, episodes, **changes)


def write(path: Path, episodes: Sequence[Episode], masks: Any = None, **changes: Any) -> Path:
    write_dataset(path, episodes, env_args(**changes), masks, next_observations=False)
    return path


def small_config(data: Path, *overrides: str) -> TrainConfig:
    return load_config(None, [f"data=[{data}]", *SMALL, *overrides])


def override(config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """The configuration with `key=value` overrides applied."""
    return build(TrainConfig, merge(to_dict(config), overrides))
