"""The time left that a progress bar shows."""

import pytest

from vand_robot.cli.console import TimeLeft


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
