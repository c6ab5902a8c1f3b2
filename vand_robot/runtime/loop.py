"""The real-time loop: a policy and a robot at the policy's own rate, with absolute deadlines."""

import contextlib
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal

import numpy as np

from vand_robot.runtime.driver import STAMP, Driver
from vand_robot.runtime.errors import FOREIGN_ERRORS, PolicyError, PolicyUsageError, gist, in_words
from vand_robot.runtime.limits import Limits
from vand_robot.runtime.policy import Actor, Observation
from vand_robot.runtime.recording import Recording

OnLate = Literal["stop", "hold"]
"""Answer to ticks that come late: stop the robot, or let it hold its last action meanwhile."""

LATE_TICKS = 3
"""Late ticks in a row after which `stop` stops."""
STALE_PERIODS = 3.0
"""An observation that is older than so many periods is stale."""
SPIN_S = 0.0003
"""The last moment before a deadline is not slept but waited for: a sleep ends late [s]."""
RATE_TOLERANCE = 1e-3
"""Relative difference of rates that are taken for equal."""


@dataclass
class LoopReport:
    """Report of a run of the loop."""

    period_s: float
    """Time between two actions [s]."""
    reason: str = "finished"
    """Why it ended."""
    failed: bool = False
    """Whether it ended because something went wrong."""
    late: int = 0
    """Ticks whose action came after the next deadline."""
    missed: int = 0
    """Deadlines that passed without an action."""
    limited: int = 0
    """Actions that range or slew changed."""
    jitter_s: list[float] = field(default_factory=list)
    """By how much each tick began after its deadline [s]."""
    latency_s: list[float] = field(default_factory=list)
    """Time from an observation to its action [s]."""

    @property
    def steps(self) -> int:
        """Actions sent."""
        return len(self.latency_s)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, times in milliseconds."""
        return {
            "reason": self.reason,
            "failed": self.failed,
            "steps": self.steps,
            "period_ms": 1e3 * self.period_s,
            "late_ticks": self.late,
            "missed_deadlines": self.missed,
            "limited_actions": self.limited,
            "jitter_ms": _spread_ms(self.jitter_s),
            "latency_ms": _spread_ms(self.latency_s),
        }

    def line(self) -> str:
        """The report in one line."""
        jitter, latency = _spread_ms(self.jitter_s), _spread_ms(self.latency_s)
        return (
            f"{self.reason}: {self.steps} actions at {1 / self.period_s:g} Hz; tick jitter p50"
            f" {jitter['p50']:.3f} ms, p99 {jitter['p99']:.3f} ms; observation to action p50"
            f" {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms; late ticks {self.late},"
            f" missed deadlines {self.missed}, limited actions {self.limited}"
        )


def run_loop(
    policy: Actor,
    driver: Driver,
    *,
    instruction: str | None = None,
    rate_hz: float | None = None,
    steps: int | None = None,
    on_late: OnLate = "stop",
    limits: Limits | None = None,
    recording: Recording | None = None,
    watch_keys: bool = True,
    on_begin: Callable[[], object] | None = None,
) -> LoopReport:
    """Let a policy drive a robot until the episode is over, or something stops it.

    It stops on an exception of driver or policy, a stale observation, late ticks (see `on_late`),
    SIGTERM, Ctrl-C and, at a terminal, on any key. `driver.stop` is called whatever happens.

    Args:
        policy: The policy; it is reset.
        driver: The robot.
        instruction: Name of the instruction; None leaves it to the driver's observations.
        rate_hz: The rate that is asked for; it must be the policy's own, which is the default.
        steps: Actions after which it ends; None for no bound.
        on_late: `"stop"`: after `LATE_TICKS` late ticks in a row. `"hold"`: never; the robot holds
            its last action over the deadlines that are missed.
        limits: Bounds of what is sent; the policy's own by default.
        recording: Where observations and actions are kept.
        watch_keys: Whether a key stops it, where standard input is a terminal.
        on_begin: Called when the robot is connected and about to move.

    Returns:
        The report, also where something went wrong: `failed` and `reason` say so.

    Raises:
        PolicyUsageError: Another rate than the policy's, or an unknown instruction; nothing has
            moved then.
    """
    interface = policy.interface
    period = interface.control_dt_s
    _require_asked_rate(rate_hz, period)
    if on_late not in ("stop", "hold"):
        raise PolicyUsageError(f"on-late: expected stop or hold, got {on_late!r}")
    policy.reset(instruction)
    report, bounds = LoopReport(period), limits or Limits.of(interface)
    with _stop_requests(watch_keys=watch_keys) as requested:
        try:
            driver.connect(interface, instruction)
            _require_rate(getattr(driver, "control_dt_s", None) or period, period, "the driver's")
            loop = _Loop(policy, driver, report, bounds, on_late, recording)
            loop.run(requested, steps, on_begin)
        except KeyboardInterrupt:
            report.reason, report.failed = "interrupted", True
        except PolicyUsageError:
            raise
        except FOREIGN_ERRORS as error:  # whatever it is: the robot must be stopped
            report.reason, report.failed = f"stopped: {_told(error)}", True
        finally:
            _stop(driver, report)
    return report


def _told(error: BaseException) -> str:
    return gist(error) if isinstance(error, PolicyError) else in_words(error)


class _Loop:
    """One run of the loop."""

    def __init__(
        self,
        policy: Actor,
        driver: Driver,
        report: LoopReport,
        limits: Limits,
        on_late: OnLate,
        recording: Recording | None,
    ) -> None:
        self._policy, self._driver, self._report = policy, driver, report
        self._limits, self._on_late, self._recording = limits, on_late, recording
        self._last: np.ndarray[Any, Any] | None = None

    def run(
        self,
        requested: Callable[[], str | None],
        steps: int | None,
        on_begin: Callable[[], object] | None,
    ) -> None:
        """Tick until something ends it."""
        if on_begin is not None:
            on_begin()
        report, period = self._report, self._report.period_s
        deadline = time.perf_counter()
        late_in_a_row = 0
        while steps is None or report.steps < steps:
            if (reason := requested()) is not None:
                report.reason = reason
                return
            _wait_until(deadline)
            began = time.perf_counter()
            if not self._tick(began):
                return
            report.jitter_s.append(began - deadline)
            deadline += period
            now = time.perf_counter()
            if now <= deadline:
                late_in_a_row = 0
                continue
            late_in_a_row += 1
            report.late += 1
            if self._on_late == "stop" and late_in_a_row >= LATE_TICKS:
                over = 1e3 * (now - deadline)
                raise PolicyError(f"{LATE_TICKS} late ticks in a row, the last by {over:.1f} ms")
            passed = int((now - deadline) / period)
            report.missed += passed  # their actions never come: the robot holds the last one
            deadline += passed * period

    def _tick(self, began: float) -> bool:
        """Observe, decide, act; False where the episode is over."""
        observation = self._driver.observe()
        if observation is None:
            return False
        self._require_fresh(observation)
        action = self._policy.act(observation)
        sent = self._limits.apply(action, self._last)
        if not np.array_equal(sent, action):
            self._report.limited += 1
        self._driver.act(sent)
        self._report.latency_s.append(time.perf_counter() - began)
        self._last = sent
        if self._recording is not None:
            self._recording.add(observation, sent)
        return True

    def _require_fresh(self, observation: Observation) -> None:
        stamp = observation.get(STAMP)
        if stamp is None:
            return
        age = time.monotonic() - float(stamp)
        if not age <= STALE_PERIODS * self._report.period_s:
            bound = STALE_PERIODS * self._report.period_s
            raise PolicyError(
                f"stale observation: it is {1e3 * age:.0f} ms old, at most {1e3 * bound:.0f} ms"
                " are allowed"
            )


def _require_asked_rate(rate_hz: float | None, period_s: float) -> None:
    if rate_hz is None:
        return
    if not rate_hz > 0:
        raise PolicyUsageError(f"rate: expected more than 0 Hz, got {rate_hz:g}")
    _require_rate(1 / rate_hz, period_s, "asked for")


def _require_rate(came_s: float, period_s: float, whose: str) -> None:
    if not abs(came_s - period_s) <= RATE_TOLERANCE * period_s:
        raise PolicyUsageError(
            f"rate: the policy acts at {1 / period_s:g} Hz, the only rate that its memory knows;"
            f" {whose} is {1 / came_s:g} Hz"
        )


def _wait_until(deadline: float) -> None:
    """Sleep, and wait out the last moment: a sleep alone ends late."""
    ahead = deadline - time.perf_counter() - SPIN_S
    if ahead > 0:
        time.sleep(ahead)
    while time.perf_counter() < deadline:
        pass


def _stop(driver: Driver, report: LoopReport) -> None:
    try:
        driver.stop()
    except FOREIGN_ERRORS as error:  # it is the last thing that is said
        report.failed = True
        report.reason = f"{report.reason}; stop failed: {in_words(error)}"


@contextlib.contextmanager
def _stop_requests(*, watch_keys: bool) -> Iterator[Callable[[], str | None]]:
    """A function that tells why to stop, or None; a second Ctrl-C or SIGTERM interrupts at once."""
    asked: list[str] = []

    def handle(number: int, _: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(f"stopped by {signal.Signals(number).name}")

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.signal(number, handle))
        pressed = stack.enter_context(_keys()) if watch_keys else None

        def requested() -> str | None:
            if pressed is not None and pressed():
                return "stopped by a key"
            return asked[0] if asked else None

        yield requested


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], bool] | None]:
    """A function that tells whether a key was pressed; None where there is no terminal."""
    try:
        import termios  # noqa: PLC0415  (not on Windows)
        import tty  # noqa: PLC0415

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, AttributeError):
        yield None
        return
    except termios.error:
        yield None
        return
    tty.setcbreak(descriptor)
    try:
        yield lambda: bool(select.select([descriptor], [], [], 0)[0])
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _spread_ms(times_s: list[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of times [ms]."""
    if not times_s:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99, most = np.percentile(times_s, [50, 99, 100]) * 1e3
    return {"p50": float(p50), "p99": float(p99), "max": float(most)}
