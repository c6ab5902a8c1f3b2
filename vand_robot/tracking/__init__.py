"""Trackers: where a training run reports to, beside its own `metrics.jsonl`."""

from vand_robot.tracking.base import TrackedRun, Tracker
from vand_robot.tracking.registry import (
    TRACKERS,
    Trackers,
    open_trackers,
    register_tracker,
    require_trackers,
)

__all__ = [
    "TRACKERS",
    "TrackedRun",
    "Tracker",
    "Trackers",
    "open_trackers",
    "register_tracker",
    "require_trackers",
]
