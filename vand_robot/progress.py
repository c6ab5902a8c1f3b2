"""Progress: the time left that bars show, and the count of many files."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

MANY = 50
"""Files from which on reading them is shown."""

PLAIN_INTERVAL_S = 10.0
"""Time between two lines where there is no terminal to draw a bar on [s]."""


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


@contextmanager
def counting(
    console: Console | None, what: str, total: int
) -> Iterator[Callable[[int, int], None]]:
    """Show how work on many files gets on: a bar on a terminal, a line now and then elsewhere.

    Args:
        console: Where; None shows nothing.
        what: The work, in a word or two.
        total: Number of files; fewer than `MANY` are not shown.

    Yields:
        A function of the number of files done and that of all.
    """
    if console is None or total < MANY:
        yield lambda _done, _total: None
        return
    if not console.is_terminal:
        yield _plain_counter(console, what)
        return
    left = TimeLeft()
    left.begin(0)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn())
    with Progress(*columns, left, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)

        def update(done: int, total: int) -> None:
            left.update(done, total)
            bar.update(task, completed=done, total=total)

        yield update


def _plain_counter(console: Console, what: str) -> Callable[[int, int], None]:
    """A function that prints a line at first and then every few seconds."""
    spoke = -math.inf

    def update(done: int, total: int) -> None:
        nonlocal spoke
        if (now := time.monotonic()) - spoke >= PLAIN_INTERVAL_S:
            spoke = now
            console.print(f"{what}: {done} of {total}", highlight=False, soft_wrap=True)

    return update
