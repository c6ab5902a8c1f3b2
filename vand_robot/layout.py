"""The folders of runs and evaluations: names of their files, and rules for writing there."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vand_demos.system.files import TEMPORARY_SUFFIX, disk_errors, folder_aside, leftovers
from vand_envs.errors import UsageError

CONFIG_FILE = "config.yaml"
CONFIG_HEADER = "# A vand-robot training run"
"""First line of a run's configuration, by which a run's folder is told from any other."""
METRICS_FILE = "metrics.jsonl"
PROVENANCE_FILE = "provenance.json"
"""The machine, software and data that produced a run."""
TENSORBOARD_FOLDER = "tensorboard"
TRACKING_FILE = "tracking.json"
"""The identifier by which trackers know a run."""
NON_FINITE = "non-finite.safetensors"
"""The batch of an update whose loss or gradient was not finite."""
BEST, LAST = "best", "last"
"""Folders of a run's checkpoints."""
LOCK = "lock"
"""Made by `vand_demos.system.files.exclusive`; a process that was killed leaves it behind."""

POLICY_TENSORS, POLICY_JSON = "policy.safetensors", "policy.json"
TRAINER_TENSORS, TRAINER_JSON = "optimizer.safetensors", "trainer.json"

RESULTS_FILE = "results.json"
EPISODES_FILE = "episodes.csv"
REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.json"
COMPARISON_REPORT_FILE = "comparison.html"
JOBS_FOLDER = "jobs"
"""Finished jobs of an evaluation, until all are finished."""


def claim_folder(
    out: Path, what: str, mark: str, *, known: bool, resume: bool, force: bool
) -> None:
    """Check that something may be written to a folder, so that nothing is overwritten unasked.

    Args:
        out: The folder.
        what: What is written, for the messages: `"run"`.
        mark: By what such a folder is known, for the messages: `"config.yaml"`.
        known: Whether the folder is one of this kind.
        resume: Go on with what is there.
        force: Replace what is there.

    Raises:
        UsageError: There is nothing to resume, or something that is not to be replaced.
    """
    if resume and force:
        raise UsageError(f"resume a {what} or replace it by force, not both")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder")
    if resume:
        if not out.exists():
            raise UsageError(f"nothing to resume: {out} does not exist")
        if not known:
            raise UsageError(f"nothing to resume: no {mark} in {out}")
    elif out.exists() and any(entry.name != LOCK for entry in out.iterdir()):
        if not known:
            raise UsageError(
                f"{out} exists and is not a {what}'s folder (no {mark}): not replaced; choose"
                " another with --out"
            )
        if not force:
            raise UsageError(f"{out} exists: go on with --resume, replace it with --force")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a training run."""

    path: Path
    """The folder."""

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.path / CONFIG_FILE

    @property
    def metrics(self) -> Path:
        """Metrics of the updates, a line of JSON each."""
        return self.path / METRICS_FILE

    @property
    def provenance(self) -> Path:
        """The machine, software and data that produced the run."""
        return self.path / PROVENANCE_FILE

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self.path / TENSORBOARD_FOLDER

    @property
    def tracking(self) -> Path:
        """The identifier by which trackers know the run."""
        return self.path / TRACKING_FILE

    @property
    def best(self) -> Path:
        """Folder of the best checkpoint."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """Folder of the last checkpoint, from which training goes on."""
        return self.path / LAST

    @property
    def non_finite(self) -> Path:
        """The batch of an update whose loss or gradient was not finite."""
        return self.path / NON_FINITE

    @property
    def is_run(self) -> bool:
        """Whether a run was trained here."""
        with suppress(OSError):
            head = CONFIG_HEADER.encode()
            if self.config.is_file():
                with self.config.open("rb") as file:
                    return file.read(len(head)) == head
        return False

    def claim(self, *, resume: bool, force: bool) -> None:
        """Check that a run may be trained here, so that nothing is overwritten unasked.

        Args:
            resume: It goes on with the run that is here.
            force: It replaces the run that is here.

        Raises:
            UsageError: There is nothing to resume, or something that is not to be replaced.
        """
        out = self.path
        if out.is_file() and RunFolder(out.parent).is_run:
            raise UsageError(f"{out} is not a folder; its run's folder is {out.parent}")
        # what is resumed is told by its checkpoint
        known = resume or self.is_run
        claim_folder(out, "run", f"{CONFIG_FILE} of a run", known=known, resume=resume, force=force)
        if resume:
            find_checkpoint(self.last)

    def clear(self, *, keep_config: bool = False) -> None:
        """Remove the files of a run, and nothing else.

        Args:
            keep_config: Leave the configuration, by which the folder stays one that `force` may
                replace.

        Raises:
            VandError: It cannot be removed.
        """
        checkpoints = (self.best, self.last)
        halves = [half for folder in checkpoints for half in leftovers(folder)]
        files = (self.metrics, self.provenance, self.tensorboard, self.tracking, self.non_finite)
        config = () if keep_config else (self.config,)
        remove_entries(self.path, (*config, *files, *checkpoints, *halves))


@dataclass(frozen=True)
class EvaluationFolder:
    """The folder of an evaluation."""

    path: Path
    """The folder."""

    @property
    def results(self) -> Path:
        """The results, written last of all numbers."""
        return self.path / RESULTS_FILE

    @property
    def episodes(self) -> Path:
        """Metrics of every episode."""
        return self.path / EPISODES_FILE

    @property
    def report(self) -> Path:
        """The report, a page."""
        return self.path / REPORT_FILE

    @property
    def jobs(self) -> Path:
        """Folder of finished jobs, until all are finished."""
        return self.path / JOBS_FOLDER

    def claim(self, *, resume: bool, force: bool) -> None:
        """Make sure that an evaluation may be written here, and nothing is overwritten unasked.

        Args:
            resume: It goes on with one that was interrupted.
            force: It replaces the one that is here, which is removed: the results of an evaluation
                that is not finished would be another's.

        Raises:
            UsageError: There is an evaluation that is neither to be resumed nor replaced.
            VandError: The old one cannot be removed.
        """
        if resume and force:
            raise UsageError("resume an evaluation or replace it by force, not both")
        if force:
            self.clear()
        elif self.results.exists() and not (resume and self.jobs.exists()):
            raise UsageError(f"{self.path}: there is an evaluation already; --force replaces it")
        elif self.jobs.exists() and not resume:
            raise UsageError(
                f"{self.path}: an evaluation was interrupted; --resume goes on, --force begins anew"
            )
        self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        """Remove the unfinished files of an evaluation that was killed."""
        own = [path.name for path in (self.results, self.episodes, self.report)]
        names = (*own, "*.png", "replay-*.html")
        halves = (half for name in names for half in self.path.glob(f"{name}{TEMPORARY_SUFFIX}"))
        remove_entries(self.path, tuple(halves))

    def clear(self) -> None:
        """Remove the numbers and the report of an evaluation; pictures are written anew anyway.

        Raises:
            VandError: They cannot be removed.
        """
        remove_entries(self.path, (self.jobs, self.results, self.episodes, self.report))


def named(folder: Path) -> Path:
    """A path to the same folder that ends in its name: `.` and `..` have none."""
    return folder.resolve() if folder.name in ("", "..") else folder


def run_folder(source: Path) -> Path:
    """The folder of the run that a run's folder, or that of one of its checkpoints, belongs to."""
    source = named(source)
    if source.name in (BEST, LAST) and (source / POLICY_JSON).is_file():
        run = named(source.parent)
        if (run / CONFIG_FILE).is_file():
            return run
    return source


def find_checkpoint(path: Path) -> Path:
    """The checkpoint's folder that a path stands for.

    Args:
        path: A run's folder (its best checkpoint is taken, or else its last), or a checkpoint's.

    Raises:
        UsageError: There is no such folder, or no checkpoint in it.
    """
    # an old one is left where a crash fell between the two renames that replace a checkpoint
    for folder in (path, path / BEST, path / LAST):
        for candidate in (folder, folder_aside(folder)):
            if (candidate / POLICY_JSON).is_file():
                return candidate
    if not path.exists():
        raise UsageError(f"no checkpoint: {path} does not exist")
    expected = f"{POLICY_JSON} in it, in {BEST}/ or in {LAST}/"
    raise UsageError(f"no checkpoint: expected {path} to hold {expected}")


def remove_entries(folder: Path, entries: tuple[Path, ...]) -> None:
    """Remove files and folders in a folder; those that are not there are passed over.

    Raises:
        VandError: One cannot be removed.
    """
    with disk_errors("remove", folder):
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
