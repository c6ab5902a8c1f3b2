"""Targets of an evaluation: the policy of a run, or the scripted experts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

import torch

from vand_demos import DemoDataset
from vand_demos.native import NATIVE
from vand_demos.system.files import read_regular
from vand_demos.system.json_record import clean_text
from vand_envs.errors import UsageError, VandError
from vand_envs.robot import DEFAULT_ROBOT, RobotSpec, get_robot
from vand_robot.config import validation
from vand_robot.evaluation.jobs import PolicyMaker
from vand_robot.evaluation.reference import TaskReference, from_extras, references_from_datasets
from vand_robot.evaluation.results import PolicyFacts
from vand_robot.interface import PolicySpec
from vand_robot.layout import POLICY_JSON, POLICY_TENSORS, find_checkpoint, named, run_folder
from vand_robot.policies.checkpoint import (
    load_checkpoint,
    load_policy,
    software_versions,
)
from vand_robot.policies.device import CPU, find_device
from vand_robot.policies.expert import ExpertPolicy
from vand_robot.policies.provenance import machine
from vand_robot.policies.recurrent import RecurrentPolicy


@dataclass(frozen=True)
class EvaluationTarget:
    """A policy that is evaluated, and what it is judged by."""

    make_policy: PolicyMaker
    """Function that makes the policy."""
    digest: str
    """Digest that no other policy has."""
    references: Mapping[str, TaskReference]
    """References that the policy is judged by, for each task that it was trained for."""
    control_dt_s: float
    """Duration of a control step [s]."""
    facts: PolicyFacts
    """Its description in `results.json`."""


def load_target(
    source: Path, *, expert: bool = False, device: str = CPU, judged: bool = True
) -> EvaluationTarget:
    """Load the target that a run, or a data set for the experts, stands for.

    Args:
        source: Folder of a run or of a checkpoint; with `expert` also a data set, for its tasks.
        expert: Whether the scripted experts act in place of the run's policy.
        device: Where the policy acts.
        judged: Whether demonstrations judge it, which the run must then hold.

    Raises:
        UsageError: There is no run, or a data set without `expert`; or a device that is not there.
        VandError: A damaged checkpoint or data set, a run that was trained on no demonstrations,
            or a data set that holds no successful one.
    """
    if not source.exists():
        raise UsageError(f"no run{' and no data set' if expert else ''} {source}")
    if source.is_file():
        if not expert:
            raise UsageError(f"{source} is no run; a data set is evaluated with --expert")
        return _experts_on(source)
    folder = named(source)
    digest = "" if expert else _weights_digest(folder)
    place = str(find_device(device))
    checkpoint = load_checkpoint(folder)
    references = from_extras(checkpoint.extras, str(find_checkpoint(folder) / POLICY_JSON))
    if judged and not references:
        raise VandError(f"{source}: {_why_not_judged(checkpoint.policy.spec, source)}")
    dt = checkpoint.policy.spec.control_dt_s
    name = clean_text(run_folder(folder).name)
    make_policy: PolicyMaker
    if expert:
        robot = get_robot(checkpoint.policy.spec.robot)
        name, make_policy = f"experts on {name}", partial(ExpertPolicy, dt, robot)
        digest = _expert_digest(dt, robot)
    else:
        make_policy = partial(_load_unchanged, folder, digest, place)
        digest = digest if place == CPU else f"{digest} on {place}"  # the last bits are others
    facts = PolicyFacts(
        run=name,
        path=clean_text(str(source)),
        expert=expert,
        checkpoint_update=None if expert else checkpoint.update,
        config={} if expert else validation.to_dict(checkpoint.config),
        versions=software_versions(),
        machine=_machine(place),
        digest=digest,
    )
    return EvaluationTarget(make_policy, digest, references, dt, facts)


def _why_not_judged(spec: PolicySpec, source: Path) -> str:
    if spec.scene:
        return (
            "the run was trained in a scene without a task: what succeeded there is for a"
            f" person to say; to see what it does: vand-robot replay {source} --out a.html"
        )
    if spec.action_mode == NATIVE:
        return (
            "the run was trained on what others recorded, in a world that is not here; its"
            " policy acts in that world's own environment"
        )
    return "the run holds no references to judge by"


def _machine(place: str) -> dict[str, str]:
    """What bits depend on; jobs run with one thread of torch each."""
    return {**machine(torch.device(place)), "threads": "1"}


def _experts_on(source: Path) -> EvaluationTarget:
    """The experts of the tasks of a data set.

    Raises:
        VandError: It holds no successful demonstration.
    """
    references = references_from_datasets([source])
    if not references:
        raise VandError(f"{source}: no successful demonstration to judge by")
    # the experts drive in a mode of their own, whatever the file's
    dt, robot = _control_dt_s(source), _robot(source)
    return EvaluationTarget(
        partial(ExpertPolicy, dt, robot),
        _expert_digest(dt, robot),
        references,
        dt,
        PolicyFacts(
            run=clean_text(f"experts on {source.name}"),
            path=clean_text(str(source)),
            expert=True,
            versions=software_versions(),
            machine=_machine(CPU),
            digest=_expert_digest(dt, robot),
        ),
    )


def _control_dt_s(file: Path) -> float:
    """Duration of a control step of a data set [s]."""
    with DemoDataset.open(file, guarded=True) as dataset:
        return float(dataset.env_args["env_kwargs"]["control_dt_s"])


def _robot(file: Path) -> RobotSpec:
    """Robot of a data set."""
    with DemoDataset.open(file, guarded=True) as dataset:
        return get_robot(dataset.env_args["env_kwargs"]["robot"])


def _expert_digest(control_dt_s: float, robot: RobotSpec) -> str:
    """Digest of the experts at a control rate, of a robot."""
    driven = "" if robot == DEFAULT_ROBOT else f" of {robot.id}"
    return f"expert {control_dt_s!r}{driven}"


def _weights_digest(source: Path) -> str:
    """Digest of the weights of the checkpoint that a folder stands for."""
    file = find_checkpoint(source) / POLICY_TENSORS
    return sha256(read_regular(file)).hexdigest()


def _load_unchanged(source: Path, digest: str, device: str) -> RecurrentPolicy:
    """The policy in a folder, on a device, as long as its weights have that digest.

    Raises:
        VandError: They have another by now: somebody trains there.
    """
    policy = load_policy(source).to(device)
    if _weights_digest(source) != digest:
        raise VandError(f"{source}: the policy changed while it was evaluated")
    return policy
