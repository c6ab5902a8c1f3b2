"""How fast policies are rolled out: `python -m vand_robot.bench.rollout`.

Control steps per second of 32 simulations with policy, controller, observation and judging, over
those of bare `Batch.step` on the same model and from the same states. The two are timed in turn,
in stretches of a rollout, so that both see the same contacts and the same load on the machine.
"""

import time

import numpy as np

from vand_envs import TaskBatch, task_ids
from vand_robot.config import PolicyConfig
from vand_robot.policy import RecurrentPolicy
from vand_robot.spec import PolicySpec

SIMULATIONS = 32
STRETCH = 10
"""Control steps in one stretch."""
STRETCHES = 30


def main() -> None:
    """Prints one line for each task."""
    for task_id in task_ids():
        ours, bare, share = throughput(task_id)
        print(
            f"{task_id:10}: {SIMULATIONS} simulations, {ours:6.0f} control steps/s in all,"
            f" bare Batch.step {bare:6.0f}, share {share:.2f}"
        )


def throughput(task_id: str) -> tuple[float, float, float]:
    """Control steps per second of a rollout and of bare stepping, and the median of their ratios.

    The policy is untrained: the robot moves, and nothing about the speed depends on what it learnt.
    """
    batch = TaskBatch(task_id, SIMULATIONS)
    policy = RecurrentPolicy(PolicyConfig(), _spec(batch)).eval()
    observation = batch.reset(range(SIMULATIONS))
    state = policy.initial_state(SIMULATIONS)
    ours, bare = [], []
    for _ in range(STRETCHES):
        start = time.perf_counter()
        for _ in range(STRETCH):
            actions, state = policy.act(observation, state)
            observation = batch.step(actions)
            _ = batch.progress
        ours.append(time.perf_counter() - start)
        saved = batch.state.copy()
        start = time.perf_counter()
        for _ in range(STRETCH):
            batch.simulation.batch.step(nstep=batch.simulation.substeps)
        bare.append(time.perf_counter() - start)
        batch.simulation.restore(saved)
    steps = STRETCH * SIMULATIONS
    share = float(np.median(np.array(bare) / np.array(ours)))
    return steps / float(np.median(ours)), steps / float(np.median(bare)), share


def _spec(batch: TaskBatch) -> PolicySpec:
    kwargs = batch.env_args["env_kwargs"]
    return PolicySpec(
        robot=kwargs["robot"],
        action_mode=kwargs["action_mode"],
        action_size=batch.action_size,
        control_dt_s=batch.control_dt_s,
        instructions=tuple(kwargs["instructions"]),
        observations=batch.observation_sizes,
    )


if __name__ == "__main__":
    main()
