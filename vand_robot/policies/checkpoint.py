"""Policies on disk: a folder of safetensors and JSON. Nothing is ever unpickled.

    policy.safetensors      weights, and the statistics of the normalizer
    policy.json             configuration, interface, versions, extras, hashes of the tensor files
    optimizer.safetensors   only in `last/`: what training needs to go on exactly
    trainer.json            only in `last/`: likewise

A folder is written under another name and renamed, so that a crash leaves the old one or the new.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vand_demos.system.files import disk_errors, replacing_folder
from vand_demos.system.version import software_version
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.config.schema import TrainConfig
from vand_robot.interface import PolicySpec
from vand_robot.layout import (
    POLICY_JSON,
    POLICY_TENSORS,
    TRAINER_JSON,
    TRAINER_TENSORS,
    find_checkpoint,
)
from vand_robot.policies.recurrent import RecurrentPolicy

FORMAT = "vand-robot-policy"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class TrainerState:
    """The state of training beside the policy, so that it goes on as if it had never stopped."""

    update: int
    """Updates done."""
    facts: Mapping[str, Any]
    """The best checkpoint so far, the fingerprint of the data; values that JSON can hold."""
    tensors: Mapping[str, Tensor]
    """The optimizer's moments and, with averaging, the weights themselves."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A policy, and everything written beside it."""

    policy: RecurrentPolicy
    """In evaluation mode."""
    config: TrainConfig
    """The run that made it."""
    update: int
    """Updates done when it was saved."""
    metrics: Mapping[str, float]
    """Metrics of that moment: validation loss, validation rollouts."""
    extras: Mapping[str, Any]
    """The mapping that the caller of `train` stored."""


def load_policy(path: str | Path) -> RecurrentPolicy:
    """Load a policy, ready to act.

    Args:
        path: A run's folder (its best checkpoint is taken, or else its last), or a checkpoint's.

    Raises:
        UsageError: There is no such folder, or no checkpoint in it.
        VandError: The checkpoint is damaged, foreign, or of another version.
    """
    return load_checkpoint(path).policy


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a policy with everything written beside it; path and errors as in `load_policy`."""
    folder = find_checkpoint(Path(path))
    file = folder / POLICY_JSON
    facts = _read_json(file)
    if facts.get("format") != FORMAT:
        raise VandError(f"{file}: expected format {FORMAT!r}, got {facts.get('format')!r}")
    if facts.get("format_version") != FORMAT_VERSION:
        got = facts.get("format_version")
        raise VandError(f"{file}: expected format version {FORMAT_VERSION}, got {got!r}")
    try:
        config = validation.build(TrainConfig, facts["config"])
        spec = validation.build(PolicySpec, facts["spec"])
        policy = RecurrentPolicy(config.policy, spec)
        saved = Checkpoint(policy, config, facts["update"], facts["metrics"], facts["extras"])
        digest = facts["sha256"][POLICY_TENSORS]
    except KeyError as error:
        raise VandError(f"{file}: {error} is missing") from None
    except (TypeError, UsageError) as error:
        raise VandError(f"{file}: {error}") from None
    tensors = read_tensors(folder / POLICY_TENSORS, digest)
    require_tensors(folder / POLICY_TENSORS, tensors, policy.state_dict())
    policy.load_state_dict(tensors)
    policy.eval()
    return saved


def save_checkpoint(folder: Path, saved: Checkpoint, trainer: TrainerState | None) -> None:
    """Write a checkpoint, in place of an older one.

    Args:
        folder: The checkpoint's folder.
        saved: The policy, and everything written beside it.
        trainer: The state of training; None where training shall not go on from here.

    Raises:
        VandError: It cannot be written; an older one is intact.
    """
    files = {POLICY_TENSORS: _pack(saved.policy.state_dict())}
    if trainer is not None:
        files[TRAINER_TENSORS] = _pack(trainer.tensors)
        facts = {"update": trainer.update, **trainer.facts}
        files[TRAINER_JSON] = _dump(facts)
    head = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "update": saved.update,
        "metrics": dict(saved.metrics),
        "spec": validation.to_dict(saved.policy.spec),
        "config": validation.to_dict(saved.config),
        "extras": dict(saved.extras),
        "versions": software_versions(),
        "sha256": {name: sha256(content).hexdigest() for name, content in files.items()},
    }
    files[POLICY_JSON] = _dump(head)
    with disk_errors("write checkpoint", folder), replacing_folder(folder) as new:
        for name, content in files.items():
            (new / name).write_bytes(content)


def load_trainer_state(folder: Path) -> TrainerState:
    """Load the state of training that `save_checkpoint` wrote; errors as in `load_policy`."""
    folder = find_checkpoint(folder)
    facts = _read_json(folder / TRAINER_JSON)
    digests = _read_json(folder / POLICY_JSON)["sha256"]
    tensors = read_tensors(folder / TRAINER_TENSORS, digests.get(TRAINER_TENSORS, "none"))
    return TrainerState(int(facts.pop("update")), facts, tensors)


def read_tensors(file: Path, digest: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whose SHA-256 is known."""
    content = _read(file)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise VandError(f"{file} is damaged or no safetensors file: {error}") from None
    if digest != sha256(content).hexdigest():
        raise VandError(f"{file} is damaged: it is not the file that {POLICY_JSON} belongs to")
    return tensors


def require_tensors(
    file: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Check names and shapes, so that a foreign file is one line and not a page."""
    for name in sorted(expected.keys() ^ tensors.keys()):
        state = "is missing" if name in expected else "is unexpected"
        raise VandError(f"{file}: tensor {name!r} {state}")
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            shapes = f"expected shape {tuple(tensor.shape)}, got {tuple(tensors[name].shape)}"
            raise VandError(f"{file}: tensor {name!r}: {shapes}")


def software_versions() -> dict[str, str]:
    """Versions of the software that makes a checkpoint."""
    versions = {
        "vand-robot": software_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    return {**versions, "python": platform.python_version()}


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().contiguous() for k, v in tensors.items()})


def _dump(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=1, allow_nan=False).encode()


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise VandError(f"{file} is missing")
    with disk_errors("read", file):
        return file.read_bytes()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(_read(file))
    except ValueError:
        raise VandError(f"{file} is damaged: not valid JSON") from None
    if not isinstance(facts, dict):
        raise VandError(f"{file} is damaged: expected a mapping")
    return facts
