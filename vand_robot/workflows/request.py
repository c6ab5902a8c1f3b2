"""All that an evaluation was asked for, as plain values: the same in every process and machine."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from vand_envs.errors import UsageError
from vand_envs.seeds import TEST_SEED
from vand_robot.config.validation import Count
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.doors import EXPORTED, exported_target, foreign_target, others_target
from vand_robot.evaluation.jobs import JobResult, RolloutJob
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.runner import Work
from vand_robot.evaluation.suites import find_suite
from vand_robot.evaluation.target import EvaluationTarget
from vand_robot.foreign.evaluation import ForeignTask
from vand_robot.policies.device import CPU
from vand_robot.workflows.evaluate import TaskEvaluation, target_of, training_curve
from vand_robot.workflows.foreign import ForeignEvaluation


class Evaluation(Protocol):
    """An evaluation before it is run: on our tasks, or in an environment of others."""

    @property
    def target(self) -> EvaluationTarget:
        """The policy."""
        ...

    @property
    def jobs(self) -> Sequence[RolloutJob]:
        """Its jobs."""
        ...

    @property
    def work(self) -> Work[RolloutJob, JobResult]:
        """How they are run."""
        ...

    def cache(self, out: Path) -> JobFolder:
        """Where their results are kept until all are there."""
        ...

    def write(self, results: Sequence[JobResult], out: Path) -> EvaluationResult:
        """Write what follows from the results of all jobs."""
        ...


@dataclass(frozen=True)
class EvaluationRequest:
    """What `vand-robot evaluate` was asked for, but for where and how it runs.

    `config.validation.build` makes it of plain values, and `to_dict` turns it into them.
    """

    source: str = ""
    """Folder of a run or checkpoint, a `policy.onnx`, for the experts also a data set; or"""
    server: str = ""
    """`ws://HOST:PORT` of a policy server; or"""
    policy: str = ""
    """`module:factory` of a policy."""
    mapping: str = ""
    """File that says how a policy of others sees and acts."""
    references: str = ""
    """Data set or run whose demonstrations judge it."""
    expert: bool = False
    """Whether the scripted experts act."""
    device: str = CPU
    """Where the policy acts."""
    suite: str = "nominal"
    """Name of the suite."""
    perturbations: tuple[str, ...] = ()
    """In place of the suite's."""
    tasks: tuple[str, ...] = ()
    """Task ids; in an environment of others the one instruction to give."""
    episodes: Count | None = None
    """Of each task and perturbation, in place of the suite's."""
    first_seed: int = TEST_SEED
    """Seed of the first episode."""
    replays: int = 0
    """Pages to write of so many of the worst episodes."""
    env: str = ""
    """`gymnasium:[MODULE:]ID` of an environment of others."""
    env_args: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of that environment."""
    python: str = ""
    """Interpreter that plays it."""
    success: str = ""
    """`module:function` that tells whether an episode in it succeeded."""

    def absolute(self) -> "EvaluationRequest":
        """The same with absolute paths, for processes that begin in other folders."""
        python = self.python
        if os.sep in python:  # else it is looked for on the PATH
            python = str(Path(python).expanduser().absolute())
        return dataclasses.replace(
            self,
            source=_absolute(self.source),
            mapping=_absolute(self.mapping),
            references=_absolute(self.references),
            python=python,
        )

    def plan(self) -> Evaluation:
        """The evaluation that is asked for.

        Raises:
            UsageError: A mistake in what is asked for.
            VandError: A policy or data set that is damaged or foreign.
        """
        if self.env:
            return self._plan_foreign()
        if self.replays < 0:
            raise UsageError(f"replays: expected 0 or more, got {self.replays}")
        return TaskEvaluation.plan(
            self._target(),
            find_suite(self.suite, self.perturbations, self.episodes),
            self.tasks,
            first_seed=self.first_seed,
            curve=training_curve(Path(self.source), expert=self.expert) if self.source else None,
            replays=self.replays,
        )

    def _target(self) -> EvaluationTarget:
        source, references = Path(self.source), Path(self.references) if self.references else None
        if not self.source:
            mapping = Path(self.mapping) if self.mapping else None
            return others_target(
                server=self.server, policy=self.policy, mapping=mapping, references=references
            )
        if source.suffix == EXPORTED and not self.expert:
            return exported_target(source, references)
        return target_of(source, expert=self.expert, device=self.device)

    def _plan_foreign(self) -> ForeignEvaluation:
        if not self.source:
            raise UsageError("--env: a run or a policy.onnx is needed; a server drives its own")
        told = self.tasks[0] if self.tasks else ""
        task = ForeignTask(self.env, self.env_args, self.python, self.success, told)
        target = foreign_target(Path(self.source), self.device)
        return ForeignEvaluation.plan(target, task, self.episodes or 50)


def _absolute(path: str) -> str:
    """The same path, absolute; empty where it is."""
    return str(Path(path).absolute()) if path else ""
