"""How fast policies are rolled out: `python -m tests.benchmarks.rollout`.

Control steps per second of 32 simulations with policy, controller, observation and judging, by the
task's own criteria and by those of all tasks (as evaluations judge), over those of bare
`Batch.step` on the same model and from the same states. The three are timed in turn, in stretches
of a rollout, so that all see the same contacts and the same load on the machine.

On one thread, as each job of an evaluation runs, and on all processors: there only the physics is
shared out, and what is left on one thread weighs more.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from vand_envs import TaskBatch, get_task, task_ids
from vand_envs.judging import TaskTracker
from vand_robot.config.schema import PolicyConfig
from vand_robot.interface import PolicySpec
from vand_robot.policies.recurrent import RecurrentPolicy

SIMULATIONS = 32
STRETCH = 10
"""Control steps in one stretch."""
STRETCHES = 8


def main() -> None:
    """Prints one line for each number of threads and task."""
    torch.set_num_threads(1)  # as evaluations do; several would wait for processors in use
    for num_threads, name in ((1, "one thread"), (0, "all processors")):
        print(f"{SIMULATIONS} simulations on {name}")
        for task_id in task_ids():
            speed = throughput(task_id, num_threads)
            print(
                f"  {task_id:11}: {speed.own:6.0f} control steps/s in all,"
                f" bare Batch.step {speed.bare:6.0f}, share {speed.own_share:.2f},"
                f" with all {len(task_ids())} judges {speed.all_share:.2f}"
            )


@dataclass(frozen=True)
class Speed:
    """Control steps per second, and the medians of their ratios to bare stepping."""

    own: float
    """Of a rollout that is judged by its own task."""
    bare: float
    """Of bare stepping."""
    own_share: float
    """Of a rollout, over bare stepping."""
    all_share: float
    """Of a rollout that is judged by every task, over bare stepping."""


def throughput(task_id: str, num_threads: int = 0) -> Speed:
    """Measures rollouts of one task, the physics on a number of threads; 0: one per processor.

    The policy is untrained: the robot moves, and nothing about the speed depends on what it learnt.
    """
    batch = TaskBatch(task_id, SIMULATIONS, num_threads=num_threads)
    policy = RecurrentPolicy(
        PolicyConfig(), PolicySpec.of(batch.env_args, batch.observation_sizes, batch.action_size)
    ).eval()
    others = [other for other in task_ids() if other != task_id]
    judges = [TaskTracker(get_task(other), batch.simulation) for other in others]
    observation = batch.reset(range(SIMULATIONS))
    for judge in judges:
        judge.reset(np.arange(SIMULATIONS), observation)
    state = policy.initial_state(SIMULATIONS)
    times = np.empty((STRETCHES, 3))  # own, all, bare [s]
    for i in range(STRETCHES):
        for column, beside in enumerate(([], judges)):
            start = time.perf_counter()
            for _ in range(STRETCH):
                actions, state = policy.act(observation, state)
                observation = batch.step(actions)
                _ = batch.progress
                for judge in beside:
                    judge.judge(observation)
            times[i, column] = time.perf_counter() - start
        saved = batch.state.copy()
        start = time.perf_counter()
        for _ in range(STRETCH):
            batch.simulation.batch.step(nstep=batch.simulation.substeps)
        times[i, 2] = time.perf_counter() - start
        batch.simulation.restore(saved)
    own, _, bare = STRETCH * SIMULATIONS / np.median(times, 0)
    own_share, all_share = np.median(times[:, 2:] / times[:, :2], 0)
    return Speed(float(own), float(bare), float(own_share), float(all_share))


if __name__ == "__main__":
    main()
