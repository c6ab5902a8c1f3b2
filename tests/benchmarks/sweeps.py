"""What Ray costs beside processes of this machine: `python -m tests.benchmarks.sweeps`.

The same sweep of a few trials, one at a time, by `--on local` and `--on ray` in turn. Wall time is
what a user waits; where others use the machine it says nothing, so the processor time of everything
that the command began is measured too, Ray's own processes among it.

    python -m tests.benchmarks.sweeps --trials 3 --updates 800 --data wipe.hdf5
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

SWEEP = """
base: single-task
overrides: {{data: {data}, updates: {updates}, rollouts: {{interval: 0}}}}
methods:
  vand: {{policy.regularizer: {{name: vand}}}}
seeds: {seeds}
evaluation: {{episodes: 5}}
"""
MARK = "VAND_BENCHMARK"
"""Environment variable by which all processes of a command are known."""


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_s: float
    """Until it ended [s]."""
    cpu_s: float
    """Processor time of all its processes, user and system [s]."""


def measured(command: list[str]) -> Cost:
    """Run a command, and add up what its processes take, also those that leave its session."""
    mark = uuid.uuid4().hex
    began = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, MARK: mark}, stdout=subprocess.DEVNULL)
    spent: dict[str, float] = {}
    while process.poll() is None:
        spent |= processor_times(mark)
        time.sleep(0.1)
    wall = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return Cost(wall, sum(spent.values()))


def processor_times(mark: str) -> dict[str, float]:
    """Process and its start -> processor time so far [s], of all processes with a mark."""
    spent, tick = {}, os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() not in (folder / "environ").read_bytes():
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended, or is another user's
            continue
        # utime, stime and starttime of proc(5), counted from the state on
        spent[f"{folder.name} {fields[19]}"] = (int(fields[11]) + int(fields[12])) / tick
    return spent


def main() -> None:
    """Measure, and print a line for each run and the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--updates", type=int, default=800)
    parser.add_argument("--data", default="demos/data/workshop.hdf5")
    given = parser.parse_args()
    costs: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.yaml"
        seeds = list(range(given.trials))
        file.write_text(
            SWEEP.format(data=Path(given.data).absolute(), updates=given.updates, seeds=seeds)
        )
        for place in ("local", "ray"):
            command = [sys.executable, "-m", "vand_robot", "sweep", str(file)]
            command += ["--on", place, "--out", str(Path(folder) / place), "--json"]
            cost = costs[place] = measured(command)
            print(
                f"{place:6} {given.trials} trials: {cost.wall_s:7.1f} s,"
                f" {cost.cpu_s:7.1f} s of processor time"
            )
    local, ray = costs["local"], costs["ray"]
    print(
        f"ray over local: {ray.wall_s / local.wall_s:.3f} of the time,"
        f" {ray.cpu_s / local.cpu_s:.3f} of the processor time"
    )


if __name__ == "__main__":
    main()
