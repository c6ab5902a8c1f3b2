"""What progress bars show: the time left, and a training run at 80 columns."""

import io
import re

import pytest
from rich.console import Console

from vand_robot.metrics.training_metrics import DROP, MEMORY, SCORE, SIGMA, TRAIN_NLL, VALID_NLL
from vand_robot.progress import TimeLeft
from vand_robot.training.logging import ProgressDisplay


class Clock:
    """A clock that is set by hand [s]."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_nothing_is_promised_before_something_is_done(clock):
    left = TimeLeft(clock)
    left.update(0, 60)
    clock.now += 5
    left.update(0, 60)
    assert left.seconds is None


def test_work_that_is_finished_in_bursts_has_the_mean_rate(clock):
    left = TimeLeft(clock)
    left.update(0, 60)
    clock.now += 8
    for done in range(1, 17):  # sixteen at once after 8 s
        clock.now += 0.01
        left.update(done, 60)
    assert left.seconds == pytest.approx(22, abs=1)
    clock.now += 7
    assert left.seconds == pytest.approx(15, abs=1)  # it counts down in between
    clock.now += 60
    assert left.seconds == 0


def test_what_was_done_before_took_no_time(clock):
    left = TimeLeft(clock)
    left.update(900, 1000)
    clock.now += 10
    left.update(950, 1000)
    assert left.seconds == pytest.approx(10)


FIGURES = {TRAIN_NLL: -10.123, VALID_NLL: -9.5, MEMORY: 1234.5, SIGMA: 0.1, DROP: 0.02, SCORE: 0.75}


@pytest.fixture
def terminal():
    """A terminal of 80 columns, and what was drawn on it, frame by frame."""
    return Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)


def _drawn(console):
    return re.sub(r"\x1b\[[0-9?;]*[a-zA-Z]", "\n", console.file.getvalue())


def test_the_bar_of_a_run_keeps_count_and_time_left_beside_all_figures(terminal):
    with ProgressDisplay(terminal, 0, 1500) as display:
        assert "0/1500" in _drawn(terminal)  # before the first update
        display.show(400, {TRAIN_NLL: -1.0})
        display.show(1000, FIGURES)
    *_, bar, figures = [line for line in _drawn(terminal).splitlines() if line.strip()]
    assert len(bar) <= 80
    assert re.search(r"training .{8,} 1000/1500 .*\d:\d\d:\d\d left", bar)
    for text in ("loss -10.123", "valid -9.500", "memory 1234.5 nats", "score 0.75"):
        assert text in figures


def test_the_bar_says_while_validation_rollouts_run(terminal):
    with ProgressDisplay(terminal, 0, 100) as display:
        display.show(50, FIGURES)
        with display.rolling_out(50):
            display._bar.refresh()
        display._bar.refresh()
    bars = [line for line in _drawn(terminal).splitlines() if "50/100" in line]
    assert any(re.search("validation rollouts .{8,} 50/100", bar) for bar in bars)
    assert "training" in bars[-1]


def test_without_a_terminal_a_run_speaks_at_once_and_before_rollouts():
    console = Console(file=io.StringIO(), width=80)
    with ProgressDisplay(console, 0, 100) as display:
        assert console.file.getvalue() == "training: update 0/100\n"
        display.show(10, {TRAIN_NLL: 1.0})
        display.show(20, {TRAIN_NLL: 0.9})  # too soon for another line
        with display.rolling_out(20):
            pass
        display.show(100, {})
    lines = console.file.getvalue().splitlines()[1:]
    assert re.fullmatch(r"update 10/100  loss 1.000  \d+ s left", lines[0])
    assert lines[1] == "update 20/100: validation rollouts"
    assert lines[2].startswith("update 100/100  loss 0.900")
