"""An evaluation that is made again: whether its episodes are those of the first time."""

from collections.abc import Callable
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

    def compare(
        self, result: EvaluationResult, rows: EpisodeRows, note: Callable[[str], object]
    ) -> None:
        """Say where the same policy has other episodes now, and the likely reason.

        Args:
            result: The new result. Nothing is said where it is of another policy or suite.
            rows: Its episodes.
            note: Called with the line.
        """
        before, now = self.result.policy, result.policy
        if not now.digest or before.digest != now.digest:
            return
        if self.result.suite_version != result.suite_version:
            return
        shared = [key for key in rows if key in self.rows]
        other = [key for key in shared if self.rows[key] != rows[key]]
        if other:
            facts = [{**policy.versions, **policy.machine} for policy in (before, now)]
            note(
                f"note: {len(other)} of {len(shared)} episodes differ from those of the evaluation"
                f" that was here, of the same policy; {likely_reason(*facts)}"
            )
