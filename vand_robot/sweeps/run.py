"""A sweep as a folder on disk."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_envs.errors import UsageError
from vand_robot.config.loading import to_yaml
from vand_robot.layout import claim_folder, remove_entries
from vand_robot.metrics.comparison import Comparison
from vand_robot.sweeps.backends import open_backend
from vand_robot.sweeps.board import Board
from vand_robot.sweeps.outcomes import OUTCOMES_FILE, OutcomeFile
from vand_robot.sweeps.plan import SweepPlan
from vand_robot.sweeps.regimes import RegretTable
from vand_robot.sweeps.report import write_sweep_report
from vand_robot.sweeps.scheduler import Ended, Scheduler
from vand_robot.sweeps.schema import SweepConfig
from vand_robot.sweeps.source import STUDY_FILE, open_source

SWEEP_FILE = "sweep.yaml"
"""The sweep that a folder holds."""
TRIALS_FOLDER = "trials"


@dataclass(frozen=True)
class SweepOptions:
    """How a sweep is run; the numbers do not depend on it."""

    place: str = "local"
    """local, ray or slurm."""
    slots: int = 1
    """Trials side by side."""
    address: str | None = None
    """Address of a Ray cluster; None: this machine."""
    resume: bool = False
    """Go on with a sweep that is there; trials that failed are run again."""
    force: bool = False
    """Replace the sweep that is there."""


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave."""

    ended: Ended
    """Each trial and its outcome."""
    comparison: Comparison | RegretTable | None
    """The methods compared; of a sweep over regimes the regrets; None where no trial finished."""

    @property
    def failed(self) -> int:
        """Number of trials that failed."""
        return sum(bool(outcome.result.error) for _, outcome in self.ended)


def run_sweep(
    sweep: SweepConfig,
    file: Path,
    out: Path,
    options: SweepOptions = SweepOptions(),
    console: Console | None = None,
) -> SweepResult:
    """Run the trials of a sweep, and write their outcomes and a report.

    Args:
        sweep: The sweep.
        file: Its file, beside which its base configuration may lie.
        out: Folder for `outcomes.jsonl`, `trials/`, `comparison.json` (or `regret.json`),
            `report.html` and figures.
        options: How it is run.
        console: Where to show how it stands; None: nowhere.

    Raises:
        UsageError: A mistake in the sweep, or a folder that is taken.
        VandError: The back end cannot be used, or the disk is full. Trials that fail do not raise.
        SweepInterruptedError: Ctrl-C; what was finished is safe.
    """
    if options.slots < 1:
        raise UsageError(f"--jobs: expected 1 or more, got {options.slots}")
    plan = SweepPlan.of(sweep, file)
    claim_folder(
        out,
        "sweep",
        SWEEP_FILE,
        known=(out / SWEEP_FILE).is_file(),
        resume=options.resume,
        force=options.force,
    )
    # before anything is removed or written: it may not be there
    backend = open_backend(
        options.place, options.slots, address=options.address, folder=out, slurm=sweep.slurm
    )
    with closing(backend):
        with disk_errors("write", out):
            out.mkdir(parents=True, exist_ok=True)
        with exclusive(out / TRIALS_FOLDER, out):
            if options.force:
                _clear(out)
            write_bytes(out / SWEEP_FILE, to_yaml(sweep).encode())
            source = open_source(plan, out, options.slots)
            with Board(console) as board:
                ended = Scheduler(
                    source,
                    backend,
                    out / TRIALS_FOLDER,
                    OutcomeFile(out),
                    retries=sweep.retries,
                    board=board,
                ).run()
            return SweepResult(ended, write_sweep_report(ended, out / TRIALS_FOLDER, out, sweep))


def _clear(out: Path) -> None:
    """Remove the trials and outcomes of a sweep.

    Raises:
        VandError: They cannot be removed.
    """
    trials = out / TRIALS_FOLDER
    entries = [entry for entry in trials.iterdir() if entry.is_dir()] if trials.exists() else []
    remove_entries(trials, tuple(entries))
    remove_entries(out, (out / OUTCOMES_FILE, out / STUDY_FILE))
