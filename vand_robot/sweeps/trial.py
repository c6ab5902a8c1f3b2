"""One trial of a sweep: the ordinary training and evaluation, in a folder of its own.

What it does follows from the folder alone, so that every back end gives the same numbers.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from vand_demos.system.files import disk_errors, write_bytes
from vand_demos.system.interrupt import EXIT_CODE
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED, VALIDATION_SEED
from vand_robot.config.loading import to_yaml
from vand_robot.config.schema import TrainConfig
from vand_robot.config.validation import build
from vand_robot.layout import METRICS_FILE, EvaluationFolder, RunFolder
from vand_robot.metrics.training_metrics import UPDATE, VALID_NLL
from vand_robot.sweeps.schema import TrialEvaluation

TRIAL_FILE = "trial.json"
"""What a trial is, beside the configuration that it trains with."""
CONFIG_FILE = "config.yaml"
"""The training configuration of a trial."""
DONE_FILE = "done.json"
"""Written last: what came out, or why nothing did."""
EVALUATION_FOLDER = "evaluation"


@dataclass(frozen=True)
class Trial:
    """One trial: a method with a setting, a data size and a training seed."""

    method: str
    """Name of the method."""
    setting: Mapping[str, Any]
    """Key -> value of the search; empty where there is none."""
    demonstrations: int | None
    """Training demonstrations of each task; None: all."""
    seed: int
    """Training seed."""
    config: TrainConfig
    """The configuration that it trains with."""
    evaluation: TrialEvaluation
    """The evaluation of its policy."""
    regime: str | None = None
    """Name of the regime; None where the sweep has none."""

    @property
    def key(self) -> str:
        """A name for what it computes: the same for two trials only if they are equal."""
        facts = [self.method, to_yaml(self.config), asdict(self.evaluation)]
        facts += [] if self.regime is None else [self.regime]
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> str:
        """Method, setting and data size in words, the same for every seed and regime."""
        parts = [f"{key}={value}" for key, value in self.setting.items()]
        if self.demonstrations is not None:
            parts.append(f"{self.demonstrations} demonstrations")
        return ", ".join([self.method, *parts])

    @property
    def run_name(self) -> str:
        """Name of the run's folder, by which `vand-robot compare` tells methods and seeds."""
        text = self.label.replace(", ", "-").replace("=", "-")
        text = text if self.regime is None else f"{self.regime}-{text}"
        return (
            f"{''.join(c if c.isalnum() or c in '-.+' else '_' for c in text)[:80]}-seed{self.seed}"
        )

    @property
    def name(self) -> str:
        """Name of its folder: readable, and no other trial's."""
        return f"{self.run_name}-{self.key[:6]}"

    def write(self, folder: Path) -> None:
        """Write the folder from which the trial can be run.

        Raises:
            VandError: The disk is full or fails.
        """
        with disk_errors("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / CONFIG_FILE, to_yaml(self.config).encode())
        facts = {
            "run": self.run_name,
            "method": self.method,
            "setting": dict(self.setting),
            "demonstrations": self.demonstrations,
            "seed": self.seed,
            "evaluation": asdict(self.evaluation),
            **({} if self.regime is None else {"regime": self.regime}),
        }
        write_bytes(folder / TRIAL_FILE, (json.dumps(facts, indent=2) + "\n").encode())


@dataclass(frozen=True)
class TrialResult:
    """What came out of a trial."""

    error: str = ""
    """Why nothing did, in a line; empty where all went well."""
    update: int = 0
    """The update of the checkpoint that was evaluated."""
    valid_nll: float | None = None
    """Its validation loss [nats per step]; None where nothing is held back."""
    success: float | None = None
    """Mean success rate over perturbations and tasks."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The result that `to_json` wrote."""
        return cls(
            error=record.text("error"),
            update=record.integer("update", 0),
            valid_nll=record.optional_number("valid_nll"),
            success=record.optional_number("success"),
        )


def run_trial(folder: Path) -> TrialResult:
    """Train and evaluate what a trial's folder says, or go on where an earlier call stopped.

    A mistake or unusable data is part of the result: it would be the same the next time.

    Raises:
        KeyboardInterrupt: Ctrl-C; the next call goes on.
    """
    try:
        result = _run(folder)
    except VandError as error:
        if error.exit_code == EXIT_CODE:
            raise KeyboardInterrupt from error
        result = TrialResult(error=" ".join(str(error).split()))
    write_bytes(folder / DONE_FILE, (json.dumps(result.to_json(), indent=2) + "\n").encode())
    return result


def read_result(folder: Path) -> TrialResult | None:
    """The result of a trial; None if it is not finished.

    Raises:
        VandError: The file is damaged.
    """
    file = folder / DONE_FILE
    return TrialResult.from_json(JsonRecord.read(file)) if file.exists() else None


def read_update(run: Path) -> int:
    """The last update that a run has reported; 0 before the first."""
    try:
        with (run / METRICS_FILE).open("rb") as file:
            file.seek(-min(_TAIL_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
            lines = file.read().decode(errors="replace").splitlines()
        last = JsonRecord.of(METRICS_FILE, parse_json(lines[-1], METRICS_FILE))
        return last.integer(UPDATE, 0)
    except (OSError, VandError, IndexError):
        return 0  # none yet, or the last line is being written


_TAIL_BYTES = 8192


def _run(folder: Path) -> TrialResult:
    from vand_robot.workflows.evaluate import run_evaluation  # noqa: PLC0415  (loads torch)
    from vand_robot.workflows.train import run_training  # noqa: PLC0415

    run_name, plan = _read(folder / TRIAL_FILE)
    run = RunFolder(folder / run_name)
    begun = run.last.exists()
    trained = run_training(
        folder / CONFIG_FILE, (), run.path, resume=begun, force=run.path.exists() and not begun
    )
    evaluated = EvaluationFolder(folder / EVALUATION_FOLDER)
    result = run_evaluation(
        run.path,
        evaluated.path,
        suite=plan.suite,
        perturbations=plan.perturbations,
        tasks=plan.tasks,
        episodes=plan.episodes,
        first_seed=TEST_SEED if plan.seeds == "test" else VALIDATION_SEED,
        resume=evaluated.jobs.exists(),
        force=evaluated.results.exists() and not evaluated.jobs.exists(),
    )
    rates = [rate.rate for tasks in result.success_rates().values() for rate in tasks.values()]
    loss = trained.best.get(VALID_NLL)
    return TrialResult(
        update=int(trained.best.get(UPDATE, 0)),
        valid_nll=loss if loss is not None and math.isfinite(loss) else None,
        success=sum(rates) / len(rates),
    )


def _read(file: Path) -> tuple[str, TrialEvaluation]:
    """The name of a trial's run, and its evaluation."""
    if not file.exists():
        raise UsageError(f"{file.parent}: not a trial's folder, no {file.name}")
    record = JsonRecord.read(file)
    name = record.text("run")
    if not name or Path(name).name != name:
        raise record.mistake("run", "the name of a folder")
    return name, build(TrialEvaluation, record.record("evaluation").values)
