"""What an evaluation puts to the test: the policy of a run, or the scripted experts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from vand_envs.errors import UsageError, VandError
from vand_robot import schema
from vand_robot.checkpoint import (
    POLICY_TENSORS,
    find_checkpoint,
    load_checkpoint,
    load_policy,
    software_versions,
)
from vand_robot.expert_policy import ExpertPolicy
from vand_robot.standard import Standard, from_extras, standards_of
from vand_robot.suite import PolicyMaker


@dataclass(frozen=True)
class Subject:
    """What is evaluated."""

    make_policy: PolicyMaker
    """Makes the policy."""
    digest: str
    """Tells it from every other."""
    standards: Mapping[str, Standard]
    """What it is judged by, for each task that it was trained for."""
    control_dt_s: float
    """Duration of a control step [s]."""
    facts: Mapping[str, Any]
    """What to say of it in `results.json`."""


def find_subject(source: Path, *, expert: bool = False) -> Subject:
    """What a run, or a data set for the experts, puts to the test.

    Args:
        source: Folder of a run or of a checkpoint; with `expert` also a data set, for its tasks.
        expert: Whether the scripted experts act in place of the run's policy.

    Raises:
        UsageError: There is no run, or a data set without `expert`.
        VandError: A damaged checkpoint or data set, or a run that was trained on no demonstrations.
    """
    if not source.exists():
        raise UsageError(f"no run{' and no data set' if expert else ''} {source}")
    if source.is_file():
        if not expert:
            raise UsageError(f"{source} is no run; a data set is evaluated with --expert")
        standards = standards_of([source])
        return Subject(
            partial(ExpertPolicy, 0.1),
            "expert",
            standards,
            0.1,
            {
                "run": f"experts on {source.name}",
                "path": str(source),
                "expert": True,
                "versions": software_versions(),
            },
        )
    checkpoint = load_checkpoint(source)
    standards = from_extras(checkpoint.extras)
    if not standards:
        raise VandError(f"{source}: the run holds no standards to judge by")
    dt = checkpoint.policy.spec.control_dt_s
    make_policy: PolicyMaker
    if expert:
        name, make_policy, digest = f"experts on {source.name}", partial(ExpertPolicy, dt), "expert"
    else:
        name, make_policy = source.name, partial(load_policy, source)
        digest = sha256((find_checkpoint(source) / POLICY_TENSORS).read_bytes()).hexdigest()
    facts = {
        "run": name,
        "path": str(source),
        "expert": expert,
        "checkpoint_update": None if expert else checkpoint.update,
        "config": {} if expert else schema.to_dict(checkpoint.config),
        "versions": software_versions(),
    }
    return Subject(make_policy, digest, standards, dt, facts)
