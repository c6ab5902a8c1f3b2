"""Export of a run's policy to an ONNX file, and its check against the policy itself."""

import contextlib
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vand_demos.system.files import write_bytes
from vand_envs.errors import UsageError, VandError
from vand_robot.export.network import ExportedNetwork, example_observations, interface_of
from vand_robot.layout import named, run_folder
from vand_robot.policies.checkpoint import Checkpoint, load_checkpoint
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import METADATA_KEY, REFERENCES_KEY, Interface
from vand_robot.runtime.network import Network

CHECK_STEPS = 300
"""Recurrent steps over which an export is compared with its policy."""
TOLERANCE = 1e-4
"""Largest difference of an action that an export may have."""
WARMUP_STEPS = 20
"""Steps of the check that are left out of the latencies: the first ones allocate."""
FORMATS = ("onnx", "torch")
"""Formats of an export."""


@dataclass(frozen=True)
class Export:
    """An exported policy, and how well it agrees with the one that it was made of."""

    path: Path
    """The file."""
    interface: Interface
    """What stands in its metadata."""
    largest_difference: float
    """Largest difference of an action over `CHECK_STEPS` recurrent steps."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        interface = json.loads(self.interface.to_json())
        difference = {"largest_difference": self.largest_difference, "steps": CHECK_STEPS}
        return {"path": str(self.path), **difference, "interface": interface}


def export_policy(
    source: Path, out: Path, *, file_format: str = "onnx", force: bool = False
) -> Export:
    """Export the policy of a run, and check what was written before it appears.

    Args:
        source: Folder of the run, or of a checkpoint.
        out: The file to write.
        file_format: `"onnx"`, or `"torch"` for `torch.export`.
        force: Whether to replace a file that is there.

    Raises:
        UsageError: No such run, an unknown format, or a file that is there.
        VandError: A damaged checkpoint, a cell that cannot be exported, or an export that differs
            from its policy.
    """
    if file_format not in FORMATS:
        raise UsageError(f"--format: expected {' or '.join(FORMATS)}, got {file_format!r}")
    if out.exists() and not force:
        raise UsageError(f"{out} exists; --force replaces it")
    if not out.parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.parent}")
    checkpoint = load_checkpoint(source)
    network = ExportedNetwork(checkpoint.policy).eval()
    interface = interface_of(network, run_folder(named(source)).name)
    make = to_onnx if file_format == "onnx" else to_torch
    content, interface, difference = make(checkpoint, network, interface, str(out))
    if not difference <= TOLERANCE:
        raise VandError(
            f"{source}: the export differs from its policy by {difference:.2g} over {CHECK_STEPS}"
            f" steps, expected at most {TOLERANCE:g}; nothing was written"
        )
    write_bytes(out, content)
    return Export(out, interface, difference)


def to_onnx(
    checkpoint: Checkpoint, network: ExportedNetwork, interface: Interface, source: str
) -> tuple[bytes, Interface, float]:
    """The bytes of an ONNX model, its interface with latencies, and its largest difference."""
    try:
        import onnx  # noqa: PLC0415  (an extra)
        import onnxscript  # type: ignore[import-untyped,unused-ignore]  # noqa: F401, PLC0415
    except ImportError:
        raise VandError(
            "export needs onnx and onnxscript: pip install vand-robot[export]"
        ) from None
    inputs, outputs = network.names()
    count = torch.export.Dim("n", min=1, max=4096)
    axes: list[Any] = [{0: count}] * (len(inputs) - len(interface.state))
    axes += [{1: count}] * len(interface.state)
    with _quiet():
        try:
            program = torch.onnx.export(
                network,
                network.example(2),
                input_names=inputs,
                output_names=outputs,
                dynamic_shapes=(axes[0], tuple(axes[1:])),
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # whatever a cell that cannot be traced makes of it
            raise VandError(f"this policy cannot be exported: {_first_line(error)}") from error
    if program is None:
        raise VandError("this policy cannot be exported: the exporter gave nothing")
    model = program.model_proto
    texts = {METADATA_KEY: interface.to_json()}
    if checkpoint.extras:
        texts[REFERENCES_KEY] = json.dumps(checkpoint.extras, allow_nan=False)
    onnx.helper.set_model_props(model, texts)
    try:
        written = Network(model.SerializeToString(), source)
    except PolicyError as error:
        raise VandError(str(error)) from None
    difference, times_ms = compare(checkpoint, network, written)
    timed = with_latency(interface, times_ms)
    onnx.helper.set_model_props(model, {**texts, METADATA_KEY: timed.to_json()})
    return model.SerializeToString(), timed, difference


def to_torch(
    checkpoint: Checkpoint, network: ExportedNetwork, interface: Interface, source: str
) -> tuple[bytes, Interface, float]:
    """The bytes of a `torch.export` archive of one episode, its interface, and its difference.

    The interface stands in it as the extra file `vand_robot.json`.
    """
    with _quiet(), torch.no_grad():
        try:
            program = torch.export.export(network, network.example(1))
        except Exception as error:
            raise VandError(f"{source}: cannot be exported: {_first_line(error)}") from error
    module = program.module()

    def step(obs: Any, images: Any, state: Any) -> Any:
        tensors = [torch.from_numpy(a) for a in (obs, *images.values(), *state)]
        actions, *after = module(*tensors)
        return actions.detach().numpy(), tuple(part.detach().numpy() for part in after)

    difference, times_ms = compare(checkpoint, network, step)
    timed = with_latency(interface, times_ms)
    packed = io.BytesIO()
    torch.export.save(program, packed, extra_files={f"{METADATA_KEY}.json": timed.to_json()})
    return packed.getvalue(), timed, difference


def with_latency(interface: Interface, times_ms: np.ndarray) -> Interface:
    """The interface with the latencies of actions [ms]."""
    worst, median = float(times_ms.max()), float(np.median(times_ms))
    return replace(interface, worst_latency_ms=worst, median_latency_ms=median)


def compare(
    checkpoint: Checkpoint, network: ExportedNetwork, written: Any
) -> tuple[float, np.ndarray]:
    """Largest difference of the actions over `CHECK_STEPS`, and the time of each action [ms].

    Args:
        checkpoint: The policy, on the CPU.
        network: The same as a function of tensors.
        written: What was exported: a `Network`, or a function like its `step`.
    """
    policy = checkpoint.policy
    take = written.step if isinstance(written, Network) else written
    observations, images = example_observations(checkpoint, CHECK_STEPS)
    keys = list(policy.spec.observations)
    cuts = np.cumsum(list(policy.spec.observations.values()))[:-1]
    half = network.half_range.numpy()
    zeros = tuple(part.numpy() for part in network.initial(1))
    theirs, ours, largest, times_ms = zeros, None, 0.0, []
    for step, (x, seen) in enumerate(zip(observations, images, strict=True)):
        parts = dict(zip(keys, np.split(x[None], cuts, 1), strict=True))
        expected, ours = policy.act({**parts, **seen}, ours)
        if policy.config.reset_every is not None and step % policy.config.reset_every == 0:
            theirs = zeros
        began = time.perf_counter()
        actions, theirs = take(x[None], seen, theirs)
        times_ms.append(1e3 * (time.perf_counter() - began))
        difference = np.abs(actions - expected)  # native ones in their units: as of [-1, 1]
        largest = max(largest, float((difference if network.unit else difference / half).max()))
    return largest, np.array(times_ms[WARMUP_STEPS:])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what the exporters tell their developers off the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
