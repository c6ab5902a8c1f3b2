"""The player: which episode is open, and the time in it. Everything of a viewer but its window."""

import math
from collections.abc import Callable

from vand_demos.system.interrupt import obey_interrupt
from vand_envs.errors import UsageError, VandError
from vand_envs.typing import FloatArray
from vand_robot.viewer.episodes import EpisodeSource, Frame
from vand_robot.viewer.live_episodes import LiveEpisodes

SPEEDS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Speeds to choose from [of real time]."""

_SAME = 1e-6  # A time so close to a frame is that frame [control step].


class Player:
    """Plays episodes.

    Args:
        source: The episodes.
        beside: Episodes that are played beside them at the same time, each from its beginning to
            its end.

    Raises:
        UsageError: The two have different control steps.
    """

    def __init__(self, source: EpisodeSource, beside: EpisodeSource | None = None) -> None:
        if beside is not None and beside.control_dt_s != source.control_dt_s:
            raise UsageError(
                f"side by side: expected one control step, got {source.control_dt_s:g}"
                f" and {beside.control_dt_s:g} s"
            )
        self.source = source
        self.beside = beside
        self.paused = True
        self.speed = 1.0
        self.message = ""
        """Error message of the last command, or empty."""
        self._at = 0.0  # [control step]

    @property
    def live(self) -> LiveEpisodes | None:
        """The source if it is a live rollout, with which one can interfere; None: a recording."""
        return self.source if isinstance(self.source, LiveEpisodes) else None

    @property
    def step(self) -> int:
        """Index of the frame that is shown, or was last."""
        return int(self._at)

    @property
    def time_s(self) -> float:
        """Time in the episode [s]."""
        return self._at * self.source.control_dt_s

    @property
    def length_s(self) -> float:
        """Length of the episode [s]."""
        return (self.source.length - 1) * self.source.control_dt_s

    @property
    def frame(self) -> Frame:
        """The frame that is shown, or was last."""
        return self.source.frames[self.step]

    def around(self, source: EpisodeSource) -> tuple[Frame, Frame, float]:
        """The frames before and after the present time, and the part of the way, in [0, 1)."""
        frames = source.frames
        step = min(self.step, len(frames) - 1)
        later = min(step + 1, len(frames) - 1)
        return frames[step], frames[later], self._at - step if later > step else 0.0

    def tick(self, elapsed_s: float) -> None:
        """Let time go by.

        Args:
            elapsed_s: Since the last call [s].
        """
        if self.paused:
            return
        self._move_to(self._at + elapsed_s * self.speed / self.source.control_dt_s)
        if self._at >= self.source.length - 1:
            self.paused = True

    def play(self) -> None:
        """Go on; from the beginning where the end was reached."""
        if self._at >= self.source.length - 1:
            self._at = 0.0
        self.paused = False

    def pause(self) -> None:
        """Stop at the next frame."""
        self.paused = True
        self._at = float(math.ceil(self._at))

    def toggle(self) -> None:
        """Play or pause."""
        if self.paused:
            self.play()
        else:
            self.pause()

    def step_by(self, steps: int) -> None:
        """Pause so many control steps on, or back."""
        self.paused = True
        start = self.step if steps > 0 else math.ceil(self._at)
        self._move_to(float(start + steps))

    def seek(self, time_s: float) -> None:
        """Go to a time of the episode, and go on as before.

        Raises:
            UsageError: It is no finite number.
        """
        if not math.isfinite(time_s):
            raise UsageError(f"time: expected seconds, got {time_s}")
        self._move_to(time_s / self.source.control_dt_s)

    def set_speed(self, speed: float) -> None:
        """Set the speed.

        Raises:
            UsageError: It is none of `SPEEDS`.
        """
        if speed not in SPEEDS:
            known = ", ".join(f"{known:g}" for known in SPEEDS)
            raise UsageError(f"speed: expected one of {known}, got {speed:g}")
        self.speed = speed

    def faster(self, by: int = 1) -> None:
        """Take the next speed of `SPEEDS`, or the one before."""
        index = SPEEDS.index(self.speed) + by
        self.speed = SPEEDS[min(max(index, 0), len(SPEEDS) - 1)]

    def open(self, task: str, number: int) -> None:
        """Open another episode at its beginning, and beside it one of the same task.

        Raises:
            UsageError: No such task or episode.
            VandError: It cannot be read.
        """
        self.source.open(task, number)
        if self.beside is not None and self.beside.task != task:
            self.beside.open(task, 0)
        elif isinstance(self.beside, LiveEpisodes):
            self.beside.open(task, number)
        self._at = 0.0

    def next(self, by: int = 1) -> None:
        """Open the next episode, or the one before; after the last comes the first.

        Raises:
            VandError: It cannot be read.
        """
        number, count = self.source.number + by, self.source.count
        self.open(self.source.task, max(number, 0) if count is None else number % count)

    def instruct(self, task: str) -> None:
        """Change the instruction at the frame that is shown, while the episode runs.

        Raises:
            UsageError: It is a recording, or the policy does not know the task.
        """
        live, step = self._interfere()
        if task != live.frames[step].task:
            live.instruct(step, task)

    def push(self, part: str, direction: str) -> None:
        """Push the robot at the frame that is shown, see `LiveEpisodes.push`.

        Raises:
            UsageError: It is a recording, or there is no such part or direction.
        """
        live, step = self._interfere()
        live.push(step, part, direction)

    def pull(self, wrenches: FloatArray) -> None:
        """Let forces act for one control step from the frame that is shown.

        Args:
            wrenches: Force and torque on each body, (nbody, 6) in the world [N, N m].

        Raises:
            UsageError: It is a recording.
        """
        live, step = self._interfere()
        live.pull(step, wrenches)

    def attempt(self, command: Callable[[], object]) -> None:
        """Do what a person asked for; an error becomes the message."""
        try:
            command()
            self.message = ""
        except VandError as error:
            self.message = str(error)

    def _interfere(self) -> tuple[LiveEpisodes, int]:
        """The live rollout and the first frame that may still change; raises for a recording."""
        live = self.live
        if live is None:
            raise UsageError("a recording cannot be interfered with; replay a run")
        return live, math.ceil(self._at)

    def _move_to(self, at: float) -> None:
        nearest = round(at)
        if abs(at - nearest) < _SAME:
            at = nearest
        self._at = min(max(float(at), 0.0), float(self.source.length - 1))
        for source in (self.source, self.beside):
            if source is None:
                continue
            # No further than the frame to move towards: one can interfere there without rolling the
            # episode out anew.
            wanted = min(math.ceil(self._at) + 1, source.length)
            while len(source.frames) < wanted:
                obey_interrupt()
                source.extend()
