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
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vand_demos.system.files import disk_errors, read_regular, replacing_folder
from vand_demos.system.json_record import JsonRecord
from vand_demos.system.version import software_version
from vand_envs.errors import VandError
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
from vand_robot.nn import apply_schedules
from vand_robot.policies.recurrent import RecurrentPolicy

FORMAT = "vand-robot-policy"
FORMAT_VERSION = 2


@dataclass(frozen=True, eq=False)
class TrainerState:
    """The state of training beside the policy, so that it goes on as if it had never stopped."""

    update: int
    """Updates done."""
    tensors: Mapping[str, Tensor]
    """The optimizer's moments and, with averaging, the weights themselves."""
    best: Mapping[str, float]
    """Metrics of the best checkpoint so far, and its `"update"`; empty where there is none."""
    fingerprint: str
    """Fingerprint of the training data."""
    valid_fingerprint: str | None
    """That of the validation data; None where there is none, or it is not known."""
    knows_valid: bool = True
    """Whether it is known: older states lack it."""
    mean_sums: Mapping[str, float] = field(default_factory=dict)
    """Sum of each metric since the means were last taken."""
    mean_count: int = 0
    """Updates in these sums."""
    validation_pending: bool = False
    """Whether it was stopped in the validation rollouts that follow the last update."""

    def to_json(self) -> dict[str, Any]:
        """The content of `trainer.json`: all but the tensors."""
        return {
            "update": self.update,
            "best": dict(self.best),
            "fingerprint": self.fingerprint,
            "valid_fingerprint": self.valid_fingerprint,
            "means": {"sums": dict(self.mean_sums), "count": self.mean_count},
            "validation_pending": self.validation_pending,
        }

    @classmethod
    def from_json(cls, record: JsonRecord, tensors: Mapping[str, Tensor]) -> "TrainerState":
        """The state that `to_json` described, with its tensors.

        Raises:
            VandError: Something is missing, of another type, or out of range.
        """
        update = record.integer("update", 0)
        best = record.record("best")
        if best.values:
            best.integer("update", 0, update)
        knows_valid = "valid_fingerprint" in record.values
        means = record.record("means") if "means" in record.values else None  # older states lack it
        return cls(
            update=update,
            tensors=tensors,
            best=record.numbers("best"),
            fingerprint=record.text("fingerprint"),
            valid_fingerprint=record.optional_text("valid_fingerprint") if knows_valid else None,
            knows_valid=knows_valid,
            mean_sums={} if means is None else means.numbers("sums"),
            mean_count=0 if means is None else means.integer("count", 0),
            validation_pending="validation_pending" in record.values
            and record.flag("validation_pending"),
        )


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
    """Loads a policy, ready to act on the CPU; `to` moves it to another device.

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
    head = JsonRecord.read(file)
    came, version = head.values.get("format"), head.values.get("format_version")
    if came != FORMAT:
        raise VandError(f"{file}: expected format {FORMAT!r}, got {came!r:.60}")
    if version != FORMAT_VERSION:
        raise VandError(f"{file}: expected format version {FORMAT_VERSION}, got {version!r:.60}")
    update, metrics = head.integer("update", 0), head.numbers("metrics")
    extras, digest = head.record("extras").values, head.record("sha256").text(POLICY_TENSORS)
    plain_config, plain_spec = head.record("config").values, head.record("spec").values
    try:
        config = validation.build(TrainConfig, plain_config, "config.")
        spec = validation.build(PolicySpec, plain_spec, "spec.")
        policy = RecurrentPolicy(config.policy, spec)
    except VandError as error:
        raise VandError(f"{file}: {error}") from None
    tensors = read_tensors(folder / POLICY_TENSORS, digest)
    require_tensors(folder / POLICY_TENSORS, tensors, policy.state_dict())
    policy.load_state_dict(tensors)
    apply_schedules(policy, config.ramps, update)
    policy.eval()
    return Checkpoint(policy, config, update, metrics, extras)


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
        files[TRAINER_JSON] = _dump(trainer.to_json())
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
    record = JsonRecord.read(_present(folder / TRAINER_JSON))
    digest = JsonRecord.read(folder / POLICY_JSON).record("sha256").text(TRAINER_TENSORS)
    state = TrainerState.from_json(record, {})
    return replace(state, tensors=read_tensors(folder / TRAINER_TENSORS, digest))


def read_tensors(file: Path, digest: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whose SHA-256 is known."""
    content = read_regular(_present(file))
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
    """Checks names, types and shapes, and that every number is finite.

    Raises:
        VandError: Something differs; the line names the tensor.
    """
    for name in sorted(expected.keys() ^ tensors.keys()):
        state = "is missing" if name in expected else "is unexpected"
        raise VandError(f"{file}: tensor {name!r} {state}")
    for name, tensor in expected.items():
        came = tensors[name]
        if tensor.shape != came.shape:
            shapes = f"expected shape {tuple(tensor.shape)}, got {tuple(came.shape)}"
            raise VandError(f"{file}: tensor {name!r}: {shapes}")
        if tensor.dtype != came.dtype:
            raise VandError(f"{file}: tensor {name!r}: expected {tensor.dtype}, got {came.dtype}")
        if came.is_floating_point() and not bool(came.isfinite().all()):
            raise VandError(f"{file}: tensor {name!r}: expected finite numbers only")


def software_versions() -> dict[str, str]:
    """Versions of the software that makes a checkpoint."""
    versions = {
        "vand-robot": software_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
    return {**versions, "python": platform.python_version()}


def _pack(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def _dump(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=1, allow_nan=False).encode()


def _present(file: Path) -> Path:
    """The file, which belongs into every checkpoint of its kind."""
    if not file.exists():
        raise VandError(f"{file} is missing")
    return file
