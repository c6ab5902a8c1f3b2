"""The real-time loop: it stops for every reason it should, and always stops the robot."""

import dataclasses
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.exports import SEEN
from vand_demos import DemoDataset
from vand_robot.runtime import Limits, Policy, PolicyError, PolicyUsageError, run_loop
from vand_robot.runtime.driver import make_driver
from vand_robot.runtime.drivers.tcp_robot import Driver as SocketDriver
from vand_robot.runtime.loop import LATE_TICKS


class Robot:
    """A robot that counts what happens to it."""

    control_dt_s = None

    def __init__(self, steps: int = 5, age_s: float = 0.0, late_s: float = 0.0, **faults) -> None:
        self.left, self.age_s, self.late_s, self.faults = steps, age_s, late_s, faults
        self.calls, self.actions = [], []

    def _fail(self, where: str) -> None:
        self.calls.append(where)
        if where in self.faults and len(self.actions) >= self.faults[where]:
            raise OSError(f"{where} is broken")

    def connect(self, interface, instruction):
        self._fail("connect")

    def observe(self):
        self._fail("observe")
        self.left -= 1
        sizes = {key: size for key, size in SEEN.items() if key != "instruction"}
        observation = {key: np.full(size, 0.1 * self.left) for key, size in sizes.items()}
        stamp = {"stamp_s": time.monotonic() - self.age_s} if self.age_s else {}
        return None if self.left < 0 else {**observation, **stamp}

    def act(self, action):
        self._fail("act")
        time.sleep(self.late_s)
        self.actions.append(action)

    def stop(self):
        self._fail("stop")


@pytest.fixture
def policy(exported):
    """The exported policy at 200 Hz, so that the tests do not take long."""
    policy = Policy.load(exported[2])
    policy.interface = dataclasses.replace(policy.interface, control_dt_s=0.005)
    return policy


def drive(policy, robot, on_late="hold", **options):
    return run_loop(policy, robot, instruction="wipe", on_late=on_late, **options)


def test_an_episode_ends_with_a_stop_and_a_report(policy):
    robot = Robot(steps=6)
    report = drive(policy, robot)
    assert not report.failed
    assert (report.steps, len(robot.actions)) == (6, 6)
    assert robot.calls[0] == "connect"
    assert robot.calls[-1] == "stop"
    assert robot.calls.count("stop") == 1
    assert json.loads(json.dumps(report.to_json()))["steps"] == 6
    assert "6 actions at 200 Hz" in report.line()


def test_deadlines_are_absolute(policy):
    robot = Robot(steps=40, late_s=0.002)
    began = time.perf_counter()
    report = drive(policy, robot)
    spent = time.perf_counter() - began
    # however long each tick took, the k-th begins no earlier than k periods after the first
    assert spent >= 0.005 * (39 + report.missed)


@pytest.mark.parametrize(
    ("robot", "reason", "steps"),
    [
        (Robot(connect=0), "OSError: connect is broken", 0),
        (Robot(observe=2), "OSError: observe is broken", 2),
        (Robot(act=1), "OSError: act is broken", 1),
        (Robot(steps=3, stop=0), "stop failed: OSError: stop is broken", 3),
        (Robot(age_s=1.0), "stale observation: it is 1.* ms old", 0),
    ],
)
def test_whatever_goes_wrong_the_robot_is_stopped(policy, robot, reason: str, steps: int):
    report = drive(policy, robot)
    assert report.failed
    assert robot.calls[-1] == "stop"
    assert len(robot.actions) == steps
    assert re.search(reason, report.reason), report.reason


def test_an_observation_that_lacks_something_stops_the_robot(policy):
    robot = Robot()
    robot.observe = lambda: {"ee_pos": np.zeros(3)}
    report = drive(policy, robot)
    assert "'cube_rel' is missing" in report.reason
    assert robot.calls[-1] == "stop"


def test_late_ticks_stop_the_robot_or_are_held_and_counted(policy):
    report = drive(policy, Robot(steps=9, late_s=0.012), on_late="stop")
    assert report.failed
    assert f"{LATE_TICKS} late ticks in a row" in report.reason
    assert report.steps == LATE_TICKS
    held = drive(policy, Robot(steps=9, late_s=0.012))
    assert not held.failed
    assert (held.steps, held.late) == (9, 9)
    assert held.missed >= 9


def test_another_rate_is_refused_before_anything_moves(policy):
    robot = Robot()
    with pytest.raises(PolicyUsageError, match=r"acts at 200 Hz.*asked for is 100 Hz"):
        drive(policy, robot, rate_hz=100)
    for rate_hz in (0, -200, float("nan")):
        with pytest.raises(PolicyUsageError, match="expected more than 0 Hz"):
            drive(policy, robot, rate_hz=rate_hz)
    assert robot.calls == []
    robot.control_dt_s = 0.02
    with pytest.raises(PolicyUsageError, match="the driver's is 50 Hz"):
        drive(policy, robot)
    assert robot.calls == ["connect", "stop"]
    with pytest.raises(PolicyUsageError, match="did you mean 'wipe'"):
        run_loop(policy, Robot(), instruction="wip")


def test_range_and_slew_are_limited(policy):
    free, slow = Robot(steps=8), Robot(steps=8)
    drive(policy, free)
    limits = Limits.of(policy.interface, scale=0.5, slew_per_s=4.0)
    report = drive(policy, slow, limits=limits)
    sent = np.array(slow.actions)
    assert np.abs(free.actions).max() > 0.5
    assert np.abs(sent).max() <= 0.5
    assert np.abs(np.diff(sent, axis=0)).max() <= 4.0 * 2 * 0.005 + 1e-6
    assert report.limited > 0
    for mistake in ({"scale": 0.0}, {"scale": 2.0}, {"slew_per_s": -1.0}):
        with pytest.raises(PolicyUsageError, match="expected"):
            Limits.of(policy.interface, **mistake)


def test_bounds_without_zero_shrink_towards_their_middle(policy):
    bounds = {"action_low": (1.0,) * 10, "action_high": (3.0,) * 10}
    limits = Limits.of(dataclasses.replace(policy.interface, **bounds), scale=0.5)
    np.testing.assert_allclose(limits.low, 1.5)
    np.testing.assert_allclose(limits.high, 2.5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_robot(policy, number: signal.Signals):
    robot = Robot(steps=100_000)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.start()
    report = drive(policy, robot)
    timer.join()
    assert report.reason == f"stopped by {number.name}"
    assert robot.calls[-1] == "stop"


DRIVER_FILE = """
import numpy as np
from pathlib import Path
class Driver:
    def __init__(self, log, pace=1): self.log = Path(log)
    def connect(self, interface, instruction): print("connected", flush=True)
    def observe(self): return {key: np.zeros(3) for key in ("ee_pos", "cube_rel", "bin_rel")}
    def act(self, action): self.log.write_text("moving")
    def stop(self): self.log.write_text("stopped")
"""


def test_a_key_stops_a_driver_of_ones_own(exported, tmp_path: Path):
    (tmp_path / "mine.py").write_text(DRIVER_FILE)
    log = tmp_path / "log"
    master, slave = pty.openpty()
    program = [sys.executable, "-m", "vand_robot.runtime", str(exported[2])]
    program += ["--driver", str(tmp_path / "mine.py"), "--driver-arg", f"log={log}"]
    program += ["--instruction", "wipe"]
    process = subprocess.Popen(program, stdin=slave, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "connected\n"
        os.write(master, b" ")
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        os.close(master)
        os.close(slave)
    assert out.startswith("stopped by a key")
    assert log.read_text() == "stopped"


def test_drivers_that_do_not_exist_or_cannot_be_made_are_one_line(tmp_path: Path):
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name")
    empty = tmp_path / "empty.py"
    empty.write_text("class Driver:\n    def connect(self): pass")
    ending = tmp_path / "ending.py"
    ending.write_text("raise SystemExit(0)")
    failing = tmp_path / "failing.py"
    failing.write_text("class Driver:\n    def __init__(self): raise OSError('no\\nmotor')")
    for name, arguments, error, line in (
        ("simulatio", [], PolicyUsageError, "did you mean 'simulation'"),
        (str(tmp_path / "absent.py"), [], PolicyUsageError, "does not exist"),
        (str(broken), [], PolicyError, "cannot be imported: ModuleNotFoundError"),
        (str(empty), [], PolicyUsageError, "it has no method 'observe'"),
        (str(ending), [], PolicyError, "cannot be imported: SystemExit: 0"),
        (str(failing), [], PolicyError, "failing.py: OSError: no motor"),
        ("socket:x:1", ["timeout_s=soon"], PolicyError, "ValueError: could not convert"),
        ("json:Nothing", [], PolicyUsageError, "json has no class 'Nothing'"),
        ("simulation", ["seed"], PolicyUsageError, "expected KEY=VALUE"),
        ("simulation", ["sed=3"], PolicyUsageError, "unexpected keyword argument 'sed'"),
    ):
        with pytest.raises(error, match=line):
            make_driver(name, arguments)


def test_the_template_for_sockets_drives_a_robot_on_this_machine(policy, monkeypatch):
    monkeypatch.setattr("vand_robot.runtime.loop.STALE_PERIODS", 1000.0)  # whoever else is busy
    received = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def robot() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as lines:
                for step in range(10_000):
                    measured = {key: [0.01 * step] * 3 for key in ("ee_pos", "cube_rel", "bin_rel")}
                    lines.write(json.dumps(measured).encode() + b"\n")
                    lines.flush()
                    message = json.loads(lines.readline())
                    received.append(message)
                    if "stop" in message:
                        return

        thread = threading.Thread(target=robot)
        thread.start()
        report = drive(policy, SocketDriver(f"127.0.0.1:{port}"), steps=5)
        thread.join(10)
    assert not report.failed, report.reason
    assert [sorted(message) for message in received] == [["action"]] * 5 + [["stop"]]
    assert len(received[0]["action"]) == 10
    with pytest.raises(PolicyError, match="no robot at"):
        SocketDriver("127.0.0.1:1").connect(policy.interface, None)


def test_a_deployment_in_the_simulation_is_recorded_and_trains(run, demos, tmp_path: Path, command):
    out = tmp_path / "deployed.hdf5"
    words = ["--driver", "simulation", "--driver-arg", "seed=7", "--instruction", "wipe"]
    code, text, err = command(
        "deploy", run, *words, "--steps", 12, "--on-late", "hold", "--record", out, "--json"
    )
    assert code == 0, err
    assert "driving at 10 Hz; a key, Ctrl-C or SIGTERM stops it" in err
    assert json.loads(text)["steps"] == 12
    with DemoDataset.open(out) as dataset:
        (episode,) = dataset
    assert (episode.task, episode.seed, len(episode)) == ("wipe", 7, 11)
    assert episode.device == "deploy/simulation"
    assert command("demos", "check", out)[0] == 0
    code, _, err = command("demos", "verify", out)
    assert code == 0, err  # the states lead to the same observations
    small = ["updates=1", "batch_size=1", "policy.hidden_size=4", "policy.encoder.sizes=[4]"]
    small += ["validation_interval=1", "rollouts.interval=0", "rollouts.episodes=1", "threads=1"]
    code, _, err = command(
        "train",
        "single-task",
        f"data=[{demos},{out}]",
        "tasks=[wipe]",
        "only_successful=false",
        *small,
        "--out",
        tmp_path / "again",
    )
    assert code == 0, err


def test_a_board_records_without_hdf5_and_demos_import_reads_it(exported, tmp_path: Path, command):
    (tmp_path / "mine.py").write_text(DRIVER_FILE)
    kept, out = tmp_path / "a.npz", tmp_path / "a.hdf5"
    program = [sys.executable, "-m", "vand_robot.runtime", str(exported[2])]
    program += ["--driver", str(tmp_path / "mine.py"), "--driver-arg", f"log={tmp_path / 'log'}"]
    program += ["--instruction", "wipe", "--steps", "4", "--record", str(kept), "--on-late", "hold"]
    subprocess.run(program, check=True, capture_output=True)
    code, text, err = command("demos", "import", kept, "--format", "deployment", "--out", out)
    assert code == 0, err
    assert "1 episodes, 3 steps" in text
    assert command("demos", "check", out)[0] == 0
    kept.write_bytes(kept.read_bytes()[:-100])
    code, _, err = command(
        "demos", "import", kept, "--format", "deployment", "--out", out, "--force"
    )
    assert code == 1
    assert f"cannot read {kept}" in err


@pytest.mark.parametrize(
    "line",
    [b"no JSON", b"[1]", b'{"ee_pos": {}}', b'{"ee_pos": "x"}', b'{"ee_pos": [1, [2]]}',
     b'{"ee_pos": 1' + b"0" * 400 + b"}", b"[" * 100_000, b"\xff"],
)  # fmt: skip
def test_a_line_of_a_robot_that_is_no_message_is_said(policy, line: bytes, capfd):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        driver = SocketDriver(f"127.0.0.1:{listener.getsockname()[1]}", timeout_s=5)
        thread = threading.Thread(target=lambda: listener.accept()[0].sendall(line + b"\n"))
        thread.start()
        driver.connect(policy.interface, None)
        with pytest.raises(PolicyError, match="not a message of the robot"):
            driver.observe()
        thread.join(5)
        driver.stop()
    assert "Traceback" not in capfd.readouterr().err
