"""Targets of an evaluation that are no run: exported files, servers, policies of other projects."""

import json
from functools import partial
from hashlib import sha256
from pathlib import Path

from vand_demos.system.files import read_regular
from vand_demos.system.json_record import JsonRecord, clean_text, parse_json
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.evaluation.reference import TaskReference, from_extras, references_from_datasets
from vand_robot.evaluation.results import PolicyFacts
from vand_robot.evaluation.target import EvaluationTarget, load_target
from vand_robot.layout import POLICY_JSON, find_checkpoint
from vand_robot.policies.checkpoint import load_checkpoint, software_versions
from vand_robot.policies.exported import ExportedPolicy
from vand_robot.policies.mapping import read_mapping
from vand_robot.policies.others import connect, from_factory

EXPORTED = ".onnx"
"""Ends the names of exported policies."""


def foreign_target(source: Path, device: str) -> EvaluationTarget:
    """The target that a run or an exported policy stands for where its own environment judges it.

    Raises:
        UsageError: There is no run, or no such device.
        VandError: It is damaged or foreign.
    """
    if source.suffix == EXPORTED:
        policy = ExportedPolicy(source)
        digest = sha256(read_regular(source)).hexdigest()
        return EvaluationTarget(
            partial(_load_unchanged, source, digest),
            digest,
            {},
            policy.spec.control_dt_s,
            _exported_facts(source, policy),
        )
    return load_target(source, device=device, judged=False)


def exported_target(path: Path, references: Path | None = None) -> EvaluationTarget:
    """The target that an exported policy stands for.

    Args:
        path: The file.
        references: A data set or a run whose demonstrations judge it; by default those that it was
            trained on, which its file holds.

    Raises:
        UsageError: There is no such file, or nothing to judge by.
        VandError: It is damaged or foreign.
    """
    policy = ExportedPolicy(path)
    known = read_references(path if references is None else references)
    digest = sha256(read_regular(path)).hexdigest()
    facts = _exported_facts(path, policy)
    make = partial(_load_unchanged, path, digest)
    return EvaluationTarget(make, digest, known, policy.spec.control_dt_s, facts)


def others_target(
    *, server: str = "", policy: str = "", mapping: Path | None, references: Path | None
) -> EvaluationTarget:
    """The target that a policy of another project stands for.

    Args:
        server: `ws://HOST:PORT` of a server that speaks openpi's protocol; or
        policy: `module:factory`.
        mapping: File that says how it sees and acts; see `vand_robot.policies.mapping`.
        references: A data set or a run whose demonstrations judge it.

    Raises:
        UsageError: Nothing to judge by, no such module, or an unknown key in the mapping.
        VandError: Nobody answers at the address, or a file is damaged.
    """
    if references is None:
        raise UsageError(
            "--references: needed to judge a policy that brings no demonstrations along: a data"
            " set, for example demos/data/workshop.hdf5, or a run"
        )
    known = read_references(references)
    read = read_mapping(mapping)
    from_server = partial(connect, server, None if mapping is None else read)
    make = from_server if server else partial(from_factory, policy, read)
    spec = make().spec
    tasks = {task: known[task] for task in spec.instructions if task in known}
    if not tasks:
        raise VandError(f"{references}: it shows none of the tasks {', '.join(spec.instructions)}")
    name = clean_text(server or policy)
    facts = [name, validation.to_dict(read), validation.to_dict(spec)]
    digest = sha256(json.dumps(facts).encode()).hexdigest()
    about = PolicyFacts(run=name, path=name, versions=software_versions())
    return EvaluationTarget(make, digest, tasks, spec.control_dt_s, about)


def read_references(source: Path) -> dict[str, TaskReference]:
    """The references of a data set, of a run, or of an exported policy.

    Raises:
        UsageError: There is no such file or folder.
        VandError: It is damaged, or holds nothing to judge by.
    """
    if not source.exists():
        raise UsageError(f"no data set and no run {source}")
    if source.is_dir():
        where = str(find_checkpoint(source) / POLICY_JSON)
        known = from_extras(load_checkpoint(source).extras, where)
    elif source.suffix == EXPORTED:
        text = ExportedPolicy(source).network.references_json or "{}"
        extras = JsonRecord.of(str(source), parse_json(text, str(source)))
        known = from_extras(extras.values, str(source))
    else:
        known = references_from_datasets([source])
    if not known:
        raise VandError(f"{source}: it holds no references to judge by; --references FILE does")
    return known


def _exported_facts(path: Path, policy: ExportedPolicy) -> PolicyFacts:
    interface = policy.network.interface
    exporter = interface.versions.get("vand-robot", "unknown")
    return PolicyFacts(
        run=clean_text(interface.name or path.stem),
        path=clean_text(str(path)),
        versions={**software_versions(), "exported by": exporter},
    )


def _load_unchanged(path: Path, digest: str) -> ExportedPolicy:
    """The policy of a file, as long as it is the same.

    Raises:
        VandError: It is another by now.
    """
    policy = ExportedPolicy(path)
    if sha256(read_regular(path)).hexdigest() != digest:
        raise VandError(f"{path}: the policy changed while it was evaluated")
    return policy
