"""The loop that all viewers share which a person operates."""

import threading
import time
from abc import ABC, abstractmethod

from vand_demos.system.interrupt import Interrupt
from vand_demos.ui.frames import FRAMES_PER_S, FrameClock
from vand_robot.viewer.player import Player
from vand_robot.viewer.scene import SceneView

REFRESH_S = 0.2
"""Texts, time bar and plot are drawn anew after this time: they cost more than a pose [s]."""
LONGEST_TICK_S = 0.25
"""Playing goes on by no more than this after a pause of the process [s]."""


class BaseViewer(ABC):
    """A viewer: shows a player's scene and passes on what a person asks for.

    A subclass says how: `open`, `is_open`, `obey`, `change_scene`, `sync`, `close`.

    Args:
        player: The player.
    """

    def __init__(self, player: Player) -> None:
        self.player = player
        self.scene = SceneView(player)
        self._refreshed_at = -float("inf")

    def run(self, stop: threading.Event | None = None) -> None:
        """Show the player until the viewer is closed.

        Args:
            stop: Ends it when set.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when the frame in progress is drawn.
        """
        with Interrupt(limited=True) as interrupt:
            try:
                self.open()
                self._loop(interrupt, stop or threading.Event())
            finally:
                self.close()

    def _loop(self, interrupt: Interrupt, stop: threading.Event) -> None:
        clock, last = FrameClock(1.0 / FRAMES_PER_S), time.perf_counter()
        while self.is_open and not stop.is_set():
            interrupt.obey()
            self.obey()
            now = time.perf_counter()
            self.player.tick(min(now - last, LONGEST_TICK_S))
            last = now
            self.update()
            clock.wait()

    def update(self) -> None:
        """Draw how the player stands."""
        if not self.scene.is_current:  # an episode in another world was opened
            self.scene = SceneView(self.player)
            self.change_scene()
        self.sync()

    def refresh_soon(self) -> None:
        """Let texts, time bar and plot be drawn anew at once."""
        self._refreshed_at = -float("inf")

    def refresh_is_due(self) -> bool:
        """Whether texts, time bar and plot are to be drawn anew now; asked once per frame."""
        now = time.perf_counter()
        if now - self._refreshed_at < REFRESH_S:
            return False
        self._refreshed_at = now
        return True

    @abstractmethod
    def open(self) -> None:
        """Open the window, or begin to serve the page, with `self.scene`."""

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether nobody has closed the viewer."""

    @abstractmethod
    def obey(self) -> None:
        """Do what a person asked for since the last call."""

    @abstractmethod
    def change_scene(self) -> None:
        """Show `self.scene` in place of the scene before it."""

    @abstractmethod
    def sync(self) -> None:
        """Draw how the player stands, in the present scene."""

    @abstractmethod
    def close(self) -> None:
        """Close the window, or the page; also after `open` failed."""
