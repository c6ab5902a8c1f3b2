"""An evaluation that is made again: whether its episodes are those of the first time."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vand_demos.system.machine import likely_reason
from vand_envs.errors import VandError
from vand_robot.evaluation.episodes import EpisodeRows, read_rows
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.layout import EvaluationFolder


@dataclass(frozen=True)
class EarlierEvaluation:
    """The evaluation that another one takes the place of."""

    result: EvaluationResult
    """Its result."""
    rows: EpisodeRows
    """Its episodes."""

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The evaluation in a folder; None where there is none that is whole."""
        files = EvaluationFolder(folder)
        if not (files.results.is_file() and files.episodes.is_file()):
            return None
        with suppress(VandError):  # it is replaced because it is damaged, perhaps
            return cls(EvaluationResult.read(files.results), read_rows(folder))
        return None

    def difference(self, result: EvaluationResult, rows: EpisodeRows) -> str | None:
        """A line that says how the episodes of the same policy differ now, and the likely reason.

        None where they do not, or where another policy or suite was evaluated.
        """
        before, now = self.result.policy, result.policy
        if not now.digest or before.digest != now.digest:
            return None
        if self.result.suite_version != result.suite_version:
            return None
        shared = [key for key in rows if key in self.rows]
        other = [key for key in shared if self.rows[key] != rows[key]]
        if not other:
            return None
        reason = likely_reason(
            {**before.versions, **before.machine}, {**now.versions, **now.machine}
        )
        return (
            f"note: {len(other)} of {len(shared)} episodes differ from those of the evaluation that"
            f" was here, of the same policy; {reason}"
        )
