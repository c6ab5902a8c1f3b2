"""Ctrl-C, SIGTERM and SIGHUP as one request to stop, so that work in progress is put away first.

Python raises KeyboardInterrupt between any two instructions, within a library's constructor or
destructor too, whose complaint then lands on the terminal. A loop that looks for a request between
its rounds has none of that. And some libraries swallow it while they are imported, so that the
command itself waits until they are, and ends in any case when the time is up.
"""

import contextlib
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

EXIT_CODE = 130
"""Exit code of a command that was asked to stop, as shells have it for Ctrl-C."""

SIGNALS: tuple[signal.Signals, ...] = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
"""Requests to stop: from the keyboard, another program, a terminal that was closed, Slurm."""

LIMIT_S = 1.6
"""A command that was asked to stop ends after this time, whatever it still does [s]."""

_RETRY_S = 0.02
"""Time between looks at whether an import is over [s]."""

Note = Callable[[], str | None]
"""Says what is kept where, and how to get at it; None where there is nothing to say."""

_notes: list[Note] = []
_innermost: "Interrupt | None" = None


class Interrupt:
    """Turns the first signal inside its block into a request; the second one interrupts at once.

    In a thread other than the main one, where signals do not arrive, it does nothing. A signal that
    is ignored (`nohup`, a job in the background of a script) stays ignored.

    Args:
        limited: Whether the command ends after `LIMIT_S` even where its work is not put away; for
            work that loses nothing then.
    """

    def __init__(self, *, limited: bool = False) -> None:
        self.requested = False
        self.limited = limited
        self._previous: dict[signal.Signals, Any] = {}
        self._outer: Interrupt | None = None

    def __enter__(self) -> Self:
        global _innermost  # signals belong to the process
        if threading.current_thread() is threading.main_thread():
            self._previous = _install(self.request)
            self._outer, _innermost = _innermost, self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _innermost  # noqa: PLW0603
        if _innermost is self:
            _innermost = self._outer
        _restore(self._previous)

    def obey(self) -> None:
        """Raise what Ctrl-C raises, if there was a signal.

        Raises:
            KeyboardInterrupt: There was.
        """
        if self.requested:
            raise KeyboardInterrupt

    def request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (given by signal)
        """Take a signal for a request, and let the next one interrupt."""
        self.requested = True
        _restore(self._previous)
        _leave_terminal(number)


def obey_interrupt() -> None:
    """Raise what Ctrl-C raises, if the loop around asked to be told: for work that takes long.

    Raises:
        KeyboardInterrupt: There was a signal in the innermost `Interrupt` of the main thread.
    """
    if _innermost is not None and threading.current_thread() is threading.main_thread():
        _innermost.obey()


@contextlib.contextmanager
def saying(note: Note) -> Iterator[None]:
    """Have a command that ends before its block does say something.

    Args:
        note: Called then, from another thread.
    """
    _notes.append(note)
    try:
        yield
    finally:
        _notes.remove(note)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Have every signal inside the block raise KeyboardInterrupt, but in the middle of an import.

    Where work goes on inside an `Interrupt`, that one is told.
    """
    previous = _install(_stop)
    try:
        yield
    finally:
        _restore(previous)


def end_in_time() -> None:
    """End this process at most `LIMIT_S` after a signal, whatever it does then.

    For a command, whose process has nothing else to do; an `Interrupt` that is not limited is
    waited for.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # told also while C code runs
    threading.Thread(target=_watch, args=(read,), daemon=True).start()


def _watch(signals: int) -> None:
    """Wait for a signal that limits the time, and then for the end of that time."""
    while True:
        number = os.read(signals, 1)[0]
        if number in SIGNALS and (_innermost is None or _innermost.limited):
            break
    time.sleep(LIMIT_S)
    _give_up()


def _stop(number: int, frame: FrameType | None) -> None:
    """Interrupt the command; while something is imported, a little later."""
    if _innermost is not None and not _innermost.requested:
        _innermost.request(number, frame)
        return
    _leave_terminal(number)
    if _is_importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, _RETRY_S)
        return
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _give_up() -> None:
    """End the process, and say what is kept where."""
    for note in [*_notes]:
        with contextlib.suppress(Exception):  # nothing may keep the process from its end
            if text := note():
                sys.stderr.write(f"{text}\n")
    with contextlib.suppress(Exception):
        sys.stderr.write("error: interrupted\n")
        sys.stderr.flush()
    os._exit(EXIT_CODE)


def _leave_terminal(number: int) -> None:
    """After a terminal was closed, write to nowhere: to write to it is an error."""
    if number != getattr(signal, "SIGHUP", None):
        return
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            is_device = stat.S_ISCHR(os.fstat(descriptor).st_mode)
            if is_device and not os.isatty(descriptor):  # it is none any more
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Have signals that are not ignored call a handler: what they called before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, handler)
        for number in SIGNALS
        if signal.getsignal(number) not in (signal.SIG_IGN, None)  # None: not one of Python
    }


def _restore(previous: dict[signal.Signals, Any]) -> None:
    for number, handler in previous.items():
        signal.signal(number, handler)
