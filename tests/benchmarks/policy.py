"""How long a policy takes to act: `python -m tests.benchmarks.policy`.

Medians on one core, and their ratio to a bare `torch.nn` cell with a linear readout, timed in turn
in the same process, which depends far less on the machine than the times themselves.
"""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from vand_robot.config.schema import PolicyConfig, TrainConfig
from vand_robot.config.validation import build
from vand_robot.export.network import ExportedNetwork, interface_of
from vand_robot.export.onnx import to_onnx
from vand_robot.interface import PolicySpec
from vand_robot.policies.checkpoint import Checkpoint
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.runtime import Network, Policy

OBSERVATIONS = {
    **{f"key_{i}": 3 for i in range(10)},
    **{f"thing_{i}_rel": 3 for i in range(12)},
    "instruction": 9,
}
"""As many keys and numbers as the workshop has, and as many things to look at."""

ACTION_SIZE = 10
SIMULATIONS = (1, 25, 50)
REPEATS = 1000
WARMUP = 200


def main() -> None:
    """Prints one line for each number of simulations side by side."""
    torch.set_num_threads(1)
    spec = PolicySpec("bench", "ee_twist", ACTION_SIZE, 0.1, tuple("abcdefghi"), OBSERVATIONS)
    for cell in ("gru", "lstm"):
        policy = RecurrentPolicy(PolicyConfig(cell=cell), spec).eval()
        for n in SIMULATIONS:
            ours, bare = medians(acting(policy, n), bare_step(policy.config, spec, n))
            print(
                f"{cell}-{policy.config.hidden_size}, n = {n:2d}: act {ours * 1e6:6.1f} us, "
                f"bare cell and readout {bare * 1e6:6.1f} us, ratio {ours / bare:.2f}"
            )
        exported, bare = medians(acting_exported(policy), bare_step(policy.config, spec, 1))
        print(
            f"{cell}-{policy.config.hidden_size}, exported: act {exported * 1e6:6.1f} us, "
            f"bare cell and readout {bare * 1e6:6.1f} us, ratio {exported / bare:.2f}"
        )


def acting(policy: RecurrentPolicy, n: int) -> Callable[[], None]:
    """One step of a rollout of n episodes."""
    rng = np.random.default_rng(0)
    sizes = policy.spec.observations.items()
    observation = {key: rng.normal(size=(n, size)).astype(np.float32) for key, size in sizes}
    state = policy.initial_state(n)

    def step() -> None:
        nonlocal state
        _, state = policy.act(observation, state)

    return step


def acting_exported(policy: RecurrentPolicy) -> Callable[[], None]:
    """One action of the same policy in `vand_robot.runtime`, its instruction told by name."""
    train = dataclasses.replace(build(TrainConfig, {"data": ["demos.hdf5"]}), policy=policy.config)
    network = ExportedNetwork(policy)
    saved = Checkpoint(policy, train, 0, {}, {})
    content, _, _ = to_onnx(saved, network, interface_of(network), "benchmark")
    acting = Policy(Network(content, "benchmark"))
    acting.reset(policy.spec.instructions[0])
    rng = np.random.default_rng(0)
    sizes = policy.spec.observations.items()
    observation = {key: rng.normal(size=size).astype(np.float32) for key, size in sizes}

    def step() -> None:
        acting.act(observation)

    return step


def bare_step(config: PolicyConfig, spec: PolicySpec, n: int) -> Callable[[], None]:
    """A `torch.nn` cell and a linear readout on the same observation, as fast as they go."""
    cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[config.cell](
        spec.observation_size, config.hidden_size
    )
    readout = nn.Linear(config.hidden_size, spec.action_size)
    x = torch.randn(n, spec.observation_size)
    h = torch.zeros(n, config.hidden_size)
    state = (h, h.clone())

    @torch.inference_mode()
    def step() -> None:
        nonlocal h, state
        if isinstance(cell, nn.LSTMCell):
            state = cell(x, state)
            h = state[0]
        else:
            h = cell(x, h)
        readout(h)

    return step


def medians(*steps: Callable[[], None]) -> list[float]:
    """Median time of each [s], called in turn."""
    times: list[list[float]] = [[] for _ in steps]
    for repeat in range(WARMUP + REPEATS):
        for step, taken in zip(steps, times, strict=True):
            began = time.perf_counter()
            step()
            if repeat >= WARMUP:
                taken.append(time.perf_counter() - began)
    return [float(np.median(taken)) for taken in times]


if __name__ == "__main__":
    main()
