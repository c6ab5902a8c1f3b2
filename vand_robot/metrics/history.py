"""The metrics of a run's updates, read back from `metrics.jsonl`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vand_demos.system.files import read_regular
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError
from vand_robot.metrics.training_metrics import UPDATE

MOST_UPDATES = 2**53
"""Bound of the number of an update, up to which floats are exact."""


@dataclass(frozen=True)
class UpdateRecord:
    """A line of `metrics.jsonl`."""

    update: int
    """Number of the update."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value; it need not be finite."""
    line: str = ""
    """The line as it was written."""


def read_history(path: Path) -> list[UpdateRecord]:
    """The lines of a `metrics.jsonl`; a last one that a crash left half written is passed over.

    Raises:
        VandError: The file cannot be read, or a line does not fit; the message says which.
    """
    content = read_regular(path).decode(errors="replace")
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    return list(_records(path, lines, ends_whole=content.endswith("\n")))


def _records(
    path: Path, lines: list[tuple[int, str]], *, ends_whole: bool
) -> Iterator[UpdateRecord]:
    for number, line in lines:
        try:
            yield _record(f"{path}, line {number}", line)
        except VandError:
            if (number, line) == lines[-1] and not ends_whole:
                return
            raise


def _record(where: str, line: str) -> UpdateRecord:
    record = JsonRecord.of(where, parse_json(line, where))
    update = record.integer(UPDATE, 0, MOST_UPDATES)
    metrics: dict[str, float] = {}
    for name, value in record.values.items():
        unbounded = isinstance(value, float) and not math.isfinite(value)
        if name != UPDATE:
            metrics[name] = float(str(value)) if unbounded else record.number(name)
    return UpdateRecord(update, metrics, line)
