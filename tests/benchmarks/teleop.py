"""How well the web device keeps time: `python -m tests.benchmarks.teleop`, on an idle machine.

A stand-in for the page talks to a real session on loopback, so that no browser takes the processors
from what is measured. Commands come as a page sends them: twenty times a second, and at once when
a key goes down or up, here at random moments.
"""

import json
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from websockets.sync.client import connect

from vand_demos import Recorder
from vand_demos.teleop import Command, DeviceOptions, Status, TeleopSession, run
from vand_demos.teleop.web import WebDevice
from vand_envs import TaskBatch, task_ids

SECONDS = 25.0
"""Length of each measurement [s]."""
STEPS = 200
"""Steps whose cost is measured."""


class Stopwatch:
    """A device that notes when the simulation takes a command up, and quits in the end."""

    def __init__(self, device: WebDevice, seconds: float) -> None:
        self.device, self._end = device, time.perf_counter() + seconds
        self.began: list[float] = []  # control steps [s]
        self.taken: list[tuple[float, bool]] = []  # when, and whether a key was held

    def read(self) -> Command:
        """The page's command."""
        now = time.perf_counter()
        self.began.append(now)
        command = self.device.read()
        self.taken.append((now, command.moves))
        if now > self._end:
            return Command(events=("discard", "quit"))
        return command

    def show(self, status: Status, pose: object) -> None:
        """The page's picture."""
        self.device.show(status, pose)

    def close(self) -> None:
        """End it."""
        self.device.close()


def main() -> None:
    """Prints one line for each rate, and one for the recorder."""
    for rate_hz in (10, 20):
        jitter, waits, ages = measure(rate_hz)
        print(
            f"{rate_hz} Hz: control steps begin {np.percentile(jitter, 50):.2f} ms (median),"
            f" {np.percentile(jitter, 99):.2f} ms (99 %) off their time; a command that is taken up"
            f" is {np.median(ages):.1f} ms old (median), a key press waits"
            f" {np.median(waits):.1f} ms (median of {len(waits)}) for its step"
        )
    bare, recorded = recorder_cost()
    print(
        f"recording: {1e3 * (recorded - bare):.3f} ms a step more than the"
        f" {1e3 * bare:.3f} ms of the step (medians of {STEPS})"
    )


def measure(
    rate_hz: float, seconds: float = SECONDS
) -> tuple[list[float], list[float], list[float]]:
    """Drive for a while by a page that presses a key at random.

    Returns:
        By how much each control step began off its time [ms]; how long each press waited for the
        step that carries it out [ms]; how old the page's last message was at each step [ms].
    """
    batch = TaskBatch(task_ids()[0], 1, control_dt_s=1 / rate_hz)
    sent: list[float] = []
    presses: list[float] = []
    with _recorder(batch) as recorder:
        device = WebDevice(DeviceOptions(batch.world, announce=lambda _: None))
        watch = Stopwatch(device, seconds)
        drive = TeleopSession(batch, recorder, device="web", seed=0, wanted=1)
        page = threading.Thread(
            target=_page, args=(device.address, seconds, sent, presses), daemon=True
        )
        page.start()
        run(drive, watch)
        watch.close()
        page.join()
    began = np.array(watch.began[5:])
    deadlines = began[0] + np.arange(len(began)) / rate_hz
    off = 1e3 * np.abs(began - deadlines - np.median(began - deadlines))
    steps = np.array([when for when, _ in watch.taken])
    waits = []
    for press in presses:
        carried = [when for when, moves in watch.taken if when > press and moves]
        if carried:
            waits.append(1e3 * (carried[0] - press))
    last = np.searchsorted(sent, steps) - 1
    ages = [1e3 * (when - sent[i]) for when, i in zip(steps, last, strict=True) if i >= 0]
    return off.tolist(), waits, ages


@contextmanager
def _recorder(batch: TaskBatch) -> Iterator[Recorder]:
    """A recorder into a file that is thrown away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(Path(folder) / "bench.hdf5", batch.env_args) as recorder,
    ):
        yield recorder


def _page(page: str, seconds: float, sent: list[float], presses: list[float]) -> None:
    """Does what the page does: says what is held twenty times a second, and when that changes."""
    rng = random.Random(0)
    origin, _, token = page.removesuffix("/").rpartition("/")
    line_address = f"{origin.replace('http', 'ws')}/{token}/{'0' * 16}/pilot"
    said = {"held": [], "event": "start", "speed": 1.0, "slow": False, "visible": True}
    with connect(line_address, origin=origin) as line:  # type: ignore[arg-type]
        drain = threading.Thread(target=lambda: list(line), daemon=True)
        drain.start()
        end = time.perf_counter() + seconds - 1.0
        change = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            if time.perf_counter() >= change:
                said["held"] = (
                    [] if said["held"] else ["hand_up" if len(presses) % 2 else "hand_down"]
                )
                change = time.perf_counter() + rng.uniform(0.25, 0.45)
                if said["held"]:
                    presses.append(time.perf_counter())
            sent.append(time.perf_counter())
            line.send(json.dumps({**said, "sent_ms": 0.0}))
            said["event"] = None
            time.sleep(max(0.0, min(0.05, change - time.perf_counter())))


def recorder_cost() -> tuple[float, float]:
    """Median time of a bare step, and of one that is recorded [s]; measured in turn."""
    batch = TaskBatch(task_ids()[0], 1)
    forward = Command(base_twist=(0.5, 0.0, 0.1), ee_linear=(0.0, 0.1, 0.0))
    action = forward.action()[None]
    bare, recorded = [], []
    with _recorder(batch) as recorder:
        drive = TeleopSession(batch, recorder, device="web", seed=0, wanted=1)
        drive.follow(Command(events=("start",)))
        for _ in range(STEPS):
            start = time.perf_counter()
            drive.follow(forward)
            recorded.append(time.perf_counter() - start)
            start = time.perf_counter()
            batch.step(action)
            bare.append(time.perf_counter() - start)
    return float(np.median(bare)), float(np.median(recorded))


if __name__ == "__main__":
    main()
