"""A run repeated from what its folder holds, and compared with it to the last bit."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from vand_demos.system.files import expanded
from vand_demos.system.json_record import JsonRecord
from vand_demos.system.machine import likely_reason
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.config.loading import load_config, read_yaml
from vand_robot.config.schema import TrainConfig
from vand_robot.layout import BEST, LAST, POLICY_JSON, POLICY_TENSORS, RunFolder, find_checkpoint
from vand_robot.metrics.history import read_history
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.provenance import DataFile, TrainingSession, read_provenance
from vand_robot.workflows.train import first_weights, train_configured


@dataclass(frozen=True)
class Reproduction:
    """What a repeated run has in common with the first one."""

    run: Path
    """The run."""
    out: Path
    """Its repetition."""
    updates: int
    """Updates whose metrics were compared."""
    differences: tuple[str, ...]
    """Where the two differ, and by how much; empty where they are equal to the last bit."""
    reason: str
    """The likely reason, in words; empty where nothing differs."""


def reproduce(
    run: Path,
    out: Path,
    *,
    data: Sequence[str] = (),
    force: bool = False,
    console: Console | None = None,
) -> Reproduction:
    """Train a run again from its configuration and demonstrations, and compare the two.

    Args:
        run: Folder of the run.
        out: Folder for the repetition.
        data: Where its files of demonstrations are now, in the order of its configuration; where
            they were, by default.
        force: Replace a run that is in `out`.
        console: Where to show progress.

    Raises:
        UsageError: No run, a file of demonstrations is not there, or `out` is taken.
        VandError: A file of demonstrations, or the weights that the run began with, are not those
            of the run; or a file is damaged.
    """
    folder = RunFolder(expanded(run))
    if not folder.is_run:
        raise UsageError(f"{run}: expected the folder of a run, with its {folder.config.name}")
    if out.exists() and out.resolve() == folder.path.resolve():
        raise UsageError(f"{out}: expected another folder than that of the run")
    sessions = read_provenance(folder)
    config = _configuration(folder, data)
    require_same_data(config.data, sessions)
    train_configured(config, out, force=force, init=first_weights(folder), console=console)
    again = RunFolder(out)
    updates, differences = _metrics(folder, again)
    differences += list(_checkpoints(folder, again))
    before = sessions[-1].facts if sessions else {}
    reason = likely_reason(before, read_provenance(again)[-1].facts) if differences else ""
    return Reproduction(run, out, updates, tuple(differences), reason)


def _configuration(folder: RunFolder, data: Sequence[str]) -> TrainConfig:
    if not data:
        return load_config(folder.config)
    config = validation.build(TrainConfig, read_yaml(folder.config))
    if len(data) != len(config.data):
        expected = f"expected {len(config.data)} files as in {folder.config}"
        raise UsageError(f"--data: {expected}, got {len(data)}")
    return dataclasses.replace(config, data=tuple(data))


def require_same_data(paths: Sequence[str], sessions: Sequence[TrainingSession]) -> None:
    """Checks that files of demonstrations are those that a run was trained on.

    Raises:
        VandError: One is another file, or is not there.
    """
    if not sessions:
        return
    for path, before in zip(paths, sessions[-1].data, strict=False):
        now = DataFile.of(path)
        if now.sha256 != before.sha256:
            raise VandError(
                f"{path}: expected the demonstrations of the run, SHA-256 {before.sha256[:16]}...,"
                f" got {now.sha256[:16]}...; --data says where they are"
            )


def _metrics(one: RunFolder, other: RunFolder) -> tuple[int, list[str]]:
    """Updates that both runs have metrics of, and the first that differ."""
    histories = [{r.update: r.metrics for r in read_history(run.metrics)} for run in (one, other)]
    shared = [update for update in histories[0] if update in histories[1]]
    for update in shared:
        words = list(_numbers(histories[0][update], histories[1][update]))
        if words:
            return len(shared), [f"metrics: from update {update} on: {', '.join(words[:3])}"]
    if histories[0].keys() != histories[1].keys():
        ends = [max(history, default=0) for history in histories]
        return len(shared), [f"metrics: up to update {ends[0]} and up to update {ends[1]}"]
    return len(shared), []


def _numbers(a: Mapping[str, float], b: Mapping[str, float]) -> Iterator[str]:
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b:
            yield f"only one run has {name}"
        elif json.dumps(a[name]) != json.dumps(b[name]):  # to the last bit; nan equals nan
            yield f"{name} {a[name]!r} and {b[name]!r}"


def _checkpoints(one: RunFolder, other: RunFolder) -> Iterator[str]:
    """Where the weights of both runs' checkpoints differ."""
    for name in (BEST, LAST):
        folders = [run.path / name for run in (one, other)]
        there = [(folder / POLICY_JSON).is_file() for folder in folders]
        if not all(there):
            if any(there):
                yield f"{name}: only one run has it"
            continue
        updates = [
            JsonRecord.read(find_checkpoint(folder) / POLICY_JSON).integer("update", 0)
            for folder in folders
        ]
        if updates[0] != updates[1]:
            yield f"{name}: of update {updates[0]} and of update {updates[1]}"
            continue
        states = [load_checkpoint(folder).policy.state_dict() for folder in folders]
        if words := _weights(*states):
            yield f"{name}/{POLICY_TENSORS}: {words}"


def _weights(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str:
    """How two policies differ, in words; empty where they do not."""
    off = [
        name
        for name in a
        if name not in b or a[name].shape != b[name].shape or not torch.equal(a[name], b[name])
    ]
    if not off and a.keys() == b.keys():
        return ""
    gaps = {
        name: float((a[name].double() - b[name].double()).abs().max())
        for name in off
        if name in b and a[name].shape == b[name].shape and a[name].numel()
    }
    if not gaps:
        return "other tensors"
    most = max(gaps, key=lambda name: gaps[name])
    return f"{len(off)} of {len(a)} tensors differ, {most} most, by up to {gaps[most]:.3g}"
