"""How another project's policy sees our observations and acts in our units: a small YAML file.

observations:            # its key -> our key, or several side by side
  observation.state: [joint_pos, gripper]
images:                  # its key -> our camera, with height and width [pixel]
  observation.images.head: {camera: head_rgb, size: [224, 224]}
prompt: prompt           # key of the instruction in words; null: it is told none
reset: null              # key that is true at the first step of an episode; null: none
actions: actions         # key of its answer: (A,), or a chunk (H, A)
execute: 8               # actions of a chunk that are carried out before the next is asked for
robot: vander
action_mode: ee_twist    # or joint
control_dt_s: 0.1        # [s]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray

from vand_demos.system.files import read_regular
from vand_demos.system.yaml_core import parse_yaml
from vand_envs import OBSERVATION_KEYS, TaskBatch, get_task, task_ids
from vand_envs.cameras import IMAGE_CAMERAS
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_envs.robot import DEFAULT_ROBOT, get_robot
from vand_robot.config import validation
from vand_robot.interface import ControlStep, Pixels, PolicySpec
from vand_robot.nn import Range


@dataclass(frozen=True)
class ImageMapping:
    """An image that a policy sees."""

    camera: str
    """Our image observation."""
    size: tuple[Pixels, ...] = (224, 224)
    """Height and width [pixel]."""


@dataclass(frozen=True)
class PolicyMapping:
    """Between our observations and actions and those of another project's policy."""

    observations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Its key -> ours, side by side; empty: all of ours, by our names."""
    images: Mapping[str, ImageMapping] = field(default_factory=dict)
    """Its key -> our camera."""
    prompt: str | None = "prompt"
    """Key of the instruction in words; None: it is told none."""
    reset: str | None = None
    """Key that is true at the first step of an episode; None: it is not told."""
    actions: str = "actions"
    """Key of its answer: actions (A,), or a chunk of them (H, A)."""
    execute: Annotated[int, Range(1)] | None = None
    """Actions of a chunk that are carried out before the next is asked for; None: all."""
    robot: str = DEFAULT_ROBOT.name
    """The robot that it drives."""
    action_mode: Literal["ee_twist", "joint"] = "ee_twist"
    """Meaning of its actions, each number in [-1, 1]."""
    control_dt_s: ControlStep = 0.1
    """Time between two actions [s]."""

    def __post_init__(self) -> None:
        for keys in self.observations.values():
            for key in keys:
                if key not in OBSERVATION_KEYS:
                    raise unknown_name("observation", key, OBSERVATION_KEYS)
        for image in self.images.values():
            if image.camera not in IMAGE_CAMERAS:
                raise unknown_name("camera", image.camera, IMAGE_CAMERAS)

    def spec(self) -> PolicySpec:
        """The interface of the policy in our terms.

        Raises:
            VandError: One camera is asked for in two sizes.
        """
        batch = TaskBatch(
            task_ids()[0],
            1,
            robot=get_robot(self.robot),
            action_mode=self.action_mode,
            control_dt_s=self.control_dt_s,
        )
        images: dict[str, tuple[int, ...]] = {}
        for image in self.images.values():
            if images.setdefault(image.camera, image.size) != image.size:
                raise VandError(f"camera {image.camera!r}: asked for in two sizes")
        sizes = batch.observation_sizes
        wanted = dict.fromkeys(key for keys in self.observations.values() for key in keys)
        wanted |= {"instruction": None}  # whether it sees it or not: the prompt is made of it
        return PolicySpec.of(
            batch.env_args,
            {key: sizes[key] for key in (wanted if self.observations else sizes)},
            batch.action_size,
            images,
        )

    def message(
        self, row: Mapping[str, NDArray[Any]], spec: PolicySpec, *, first: bool
    ) -> dict[str, Any]:
        """One observation as the policy wants it.

        Args:
            row: Our observation, key -> (d,), images (H, W, 3).
            spec: The policy's interface in our terms.
            first: Whether it is the first of an episode.
        """
        named = self.observations or {key: (key,) for key in spec.observations}
        message: dict[str, Any] = {
            key: np.concatenate([row[own] for own in keys]).astype(np.float32)
            for key, keys in named.items()
        }
        message |= {key: row[image.camera] for key, image in self.images.items()}
        if self.prompt is not None:
            told = spec.instructions[int(row["instruction"].argmax())]
            message[self.prompt] = get_task(told).instruction
        if self.reset is not None:
            message[self.reset] = first
        return message

    def chunk(self, answer: Any, action_size: int) -> NDArray[np.float32]:
        """The actions (K, A) of an answer that are carried out.

        Raises:
            VandError: It holds no actions, of another size, or not finite.
        """
        if isinstance(answer, Mapping):
            if self.actions not in answer:
                there = ", ".join(map(str, answer)) or "nothing"
                raise VandError(f"the policy's answer lacks {self.actions!r}; it has: {there}")
            answer = answer[self.actions]
        try:
            actions = np.atleast_2d(np.asarray(answer, np.float32))
        except (ValueError, TypeError):
            raise VandError(f"the policy's actions are no numbers: {answer!r:.60}") from None
        if actions.ndim != 2 or not len(actions) or actions.shape[1] != action_size:
            raise VandError(
                f"the policy's actions: expected ({action_size},) or a chunk (H, {action_size}),"
                f" got {np.shape(answer)}"
            )
        if not np.isfinite(actions).all():
            raise VandError("the policy's actions are not finite")
        return np.clip(actions[: self.execute], -1.0, 1.0)


def read_mapping(path: Path | None) -> PolicyMapping:
    """The mapping of a YAML file; all of our observations by our names where there is none.

    Raises:
        UsageError: An unknown key, observation or camera.
        VandError: The file cannot be read, or a value is of another type.
    """
    if path is None:
        return PolicyMapping()
    try:
        content = parse_yaml(read_regular(path).decode("utf-8", "replace"))
    except (yaml.YAMLError, ValueError) as error:
        raise VandError(f"{path}: expected YAML: {' '.join(str(error).split())[:200]}") from None
    try:
        return validation.build(PolicyMapping, content or {})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
