"""Ctrl-C as a request, so that work in progress can be put away first.

Python raises KeyboardInterrupt between any two instructions, within a library's constructor or
destructor too, whose complaint then lands on the terminal. A loop that looks for a request between
its rounds has none of that.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupt:
    """Turns the first Ctrl-C inside its block into a request; the second one interrupts at once.

    In a thread other than the main one, where signals do not arrive, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def obey(self) -> None:
        """Raise what Ctrl-C raises, if it was pressed.

        Raises:
            KeyboardInterrupt: It was.
        """
        if self.requested:
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (given by signal)
        self.requested = True
        signal.signal(signal.SIGINT, self._previous)
