"""The time left that progress bars show."""

import math
import time
from collections.abc import Callable
from datetime import timedelta

from rich.progress import ProgressColumn, Task
from rich.text import Text


class TimeLeft(ProgressColumn):
    """Time left, from the mean rate since the work began.

    Not from the rate of the last seconds: demonstrations are recorded side by side, so that many
    are finished at once and then none for a while.
    """

    max_refresh = 0.5

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._first: tuple[float, float] | None = None  # time [s], work done
        self._end: float | None = None  # when all will be done [s]

    def begin(self, done: float) -> None:
        """Count from now on; what was done before took no time."""
        self._first, self._end = (self._clock(), done), None

    def update(self, done: float, total: float) -> None:
        """Estimate anew when all will be done."""
        if self._first is None:
            self.begin(done)
        elif done > self._first[1]:
            began, before = self._first
            now = self._clock()
            self._end = now + (now - began) * (total - done) / (done - before)

    @property
    def seconds(self) -> float | None:
        """Time left [s]; None while nothing is done."""
        return None if self._end is None else max(self._end - self._clock(), 0.0)

    def render(self, task: Task) -> Text:  # noqa: ARG002  (rich asks for it)
        """The time left as text."""
        left = self.seconds
        text = "-:--:--" if left is None else str(timedelta(seconds=math.ceil(left)))
        return Text(f"{text} left", no_wrap=True, style="progress.remaining")
