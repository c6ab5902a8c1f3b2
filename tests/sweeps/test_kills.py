"""A sweep on Ray whose workers are killed at random moments: `pytest -m slow -k killed`."""

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.sweeps.test_run import ONE_METHOD
from vand_robot.sweeps import SweepOptions, load_sweep, run_sweep
from vand_robot.sweeps.outcomes import OutcomeFile

TRIALS, KILLS = 20, 2
SECONDS = float(os.environ.get("VAND_TRIAL_SECONDS", "4"))
"""About how long a trial takes; 30 is what a cluster's scheduler would call short."""
UPDATES_IN_A_SECOND = 12
"""Of the small policy below, on one core, evaluation aside."""


def workers():
    """Processes of this user's own Ray that run a trial at this moment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:  # it has just ended
            continue
        if name.startswith(b"ray::_run_in_worker") and ours(int(folder.name)):
            found.append(int(folder.name))
    return found


def ours(pid):
    """Whether this process began another one, perhaps by way of others."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        pid = int(text.rpartition(")")[2].split()[1])
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_every_trial_ends_where_workers_are_killed_at_random_moments(tmp_path):
    file, out = tmp_path / "small.yaml", tmp_path / "sweep"
    file.write_text(ONE_METHOD)
    updates = max(4, int(SECONDS * UPDATES_IN_A_SECOND))
    overrides = [f"seeds={list(range(TRIALS))}", f"overrides.updates={updates}"]
    rng, killed, over = random.Random(0), [], threading.Event()

    def kill():
        for _ in range(KILLS):
            over.wait(rng.uniform(1, TRIALS / 2 * SECONDS / KILLS))
            while not over.is_set() and not (there := workers()):
                time.sleep(0.05)
            if not over.is_set():
                killed.append(rng.choice(there))
                os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        result = run_sweep(
            load_sweep(file, overrides), file, out, SweepOptions(place="ray", slots=2)
        )
    finally:
        over.set()
        killer.join()
    assert len(killed) == KILLS
    assert (len(result.ended), result.failed) == (TRIALS, 0)
    outcomes = OutcomeFile(out).read().values()
    assert len(outcomes) == TRIALS
    assert sum(outcome.attempts for outcome in outcomes) == TRIALS + KILLS
    for trial, _ in result.ended:
        folder = out / "trials" / trial.name
        assert (folder / "evaluation/results.json").exists()
        assert len((folder / trial.run_name / "metrics.jsonl").read_text().splitlines()) > 0
