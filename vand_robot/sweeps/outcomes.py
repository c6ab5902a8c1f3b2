"""The outcomes of a sweep: one file that grows line by line, and survives a kill."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from vand_demos.system.files import disk_errors, read_regular
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_robot.sweeps.trial import Trial, TrialResult

OUTCOMES_FILE = "outcomes.jsonl"
"""A line of JSON for each finished or failed trial."""


@dataclass(frozen=True)
class Outcome:
    """The end of one trial."""

    key: str
    """Its `Trial.key`."""
    name: str
    """Name of its folder."""
    attempts: int
    """How often the command that ended it had started it."""
    seconds: float
    """From its last start to its end [s]."""
    result: TrialResult
    """What came out."""

    def to_json(self, trial: Trial) -> dict[str, Any]:
        """Plain values for JSON, with what the trial was."""
        return {
            "key": self.key,
            "name": self.name,
            "method": trial.method,
            "setting": dict(trial.setting),
            "demonstrations": trial.demonstrations,
            "seed": trial.seed,
            **({} if trial.regime is None else {"regime": trial.regime}),
            "attempts": self.attempts,
            "seconds": round(self.seconds, 3),
            "result": self.result.to_json(),
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The outcome that `to_json` wrote."""
        return cls(
            key=record.text("key"),
            name=record.text("name"),
            attempts=record.integer("attempts", 0),
            seconds=record.number("seconds", 0),
            result=TrialResult.from_json(record.record("result")),
        )


class OutcomeFile:
    """The file of outcomes in a sweep's folder.

    Args:
        folder: The sweep's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / OUTCOMES_FILE

    def read(self) -> dict[str, Outcome]:
        """Key -> the last outcome of a trial. A last line that a kill cut off does not count.

        Raises:
            VandError: Another line is damaged.
        """
        if not self.path.exists():
            return {}
        lines = read_regular(self.path).split(b"\n")
        found = {}
        for number, line in enumerate(lines[:-1], 1):  # what follows the last line's end is cut off
            source = f"{self.path}, line {number}"
            outcome = Outcome.from_json(JsonRecord.of(source, parse_json(line, source)))
            found[outcome.key] = outcome
        return found

    def append(self, outcome: Outcome, trial: Trial) -> None:
        """Add an outcome; it is on the disk on return.

        Raises:
            VandError: The disk is full or fails.
        """
        line = json.dumps(outcome.to_json(trial), allow_nan=False) + "\n"
        with disk_errors("write", self.path), self.path.open("ab+") as file:
            _cut_unfinished_line(file)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _cut_unfinished_line(file: Any) -> None:
    """Remove what a kill left of a line at the end of a file."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
