"""Ctrl-C comes between two rounds of a loop, never in the middle of one."""

import signal
import threading

import pytest

from tests.helpers.teleop import FORWARD, TASK, command
from vand_demos import DemoDataset
from vand_demos.recording import record
from vand_demos.storage.check import check_file
from vand_demos.system.interrupt import Interrupt
from vand_robot.viewer.open import open_player
from vand_robot.viewer.replay import ReplayRequest
from vand_robot.viewer.web import serve


@pytest.fixture(autouse=True)
def ctrl_c():
    """Python's own answer to Ctrl-C: in the background a shell makes what it runs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_ctrl_c_is_a_request_and_the_second_interrupts():
    with Interrupt() as interrupt:
        interrupt.obey()
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            interrupt.obey()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_after_its_block_ctrl_c_does_what_it_did_before():
    with Interrupt():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_other_than_the_first_leaves_ctrl_c_alone():
    seen = []

    def look():
        with Interrupt() as interrupt:
            seen.append((signal.getsignal(signal.SIGINT), interrupt.requested))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(signal.default_int_handler, False)]


def test_the_viewer_finishes_what_it_is_drawing(demos):
    player = open_player(ReplayRequest(demos, viewer="web"))
    drawn = []
    tick = player.tick

    def interrupted(elapsed_s):
        drawn.append(False)
        signal.raise_signal(signal.SIGINT)
        tick(elapsed_s)
        drawn[-1] = True

    player.tick = interrupted
    with pytest.raises(KeyboardInterrupt):
        serve(player, announce=lambda text: None)
    assert drawn == [True]


class Hasty:
    """A person who presses Ctrl-C just as the episode is saved."""

    def __init__(self):
        self._commands = iter(
            [command([0] * 10, "start"), *[FORWARD] * 3, command([0] * 10, "save")]
        )

    def read(self):
        now = next(self._commands)
        if "save" in now.events:
            signal.raise_signal(signal.SIGINT)
        return now

    def show(self, status, pose):
        pass

    def close(self):
        pass


def test_an_episode_that_is_being_saved_is_saved(tmp_path):
    out = tmp_path / "by-hand.hdf5"
    report = record(
        TASK, out, episodes=2, device="web", connect=lambda world: Hasty(), keep_failures=True
    )
    assert (report.recorded, report.interrupted) == (1, True)
    assert check_file(out) == []
    with DemoDataset.open(out) as dataset:
        assert len(dataset) == 1
