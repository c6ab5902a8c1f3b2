"""Teach robots with small recurrent policies: record, train, evaluate, replay.

The names in `__all__` are the public interface; they are imported on first use, so that
`import vand_robot` stays cheap. For example, to evaluate a run on held-out episodes:

    import vand_robot as vr

    result = vr.evaluate("runs/wipe-0", tasks=["wipe"], episodes=20)
    print(result.tasks["wipe"].success_rate)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from vand_demos import DemoDataset
    from vand_demos.experts.demonstrate import demonstrate
    from vand_demos.recording import record
    from vand_envs import TaskBatch, UsageError, VandError
    from vand_robot import metrics, nn
    from vand_robot.config.loading import load_config
    from vand_robot.config.schema import TrainConfig
    from vand_robot.evaluation.evaluate import evaluate
    from vand_robot.evaluation.perturbations import PERTURBATIONS
    from vand_robot.evaluation.reference import TaskReference, references_from_datasets
    from vand_robot.evaluation.results import EvaluationResult
    from vand_robot.evaluation.rollout import Rollout, rollout
    from vand_robot.evaluation.suites import SUITES
    from vand_robot.interface import Policy, PolicySpec
    from vand_robot.policies.checkpoint import load_policy, save_checkpoint
    from vand_robot.policies.expert import ExpertPolicy
    from vand_robot.policies.recurrent import RecurrentPolicy
    from vand_robot.training.trainer import TrainResult, train

_HOMES = {
    "vand_demos": ("DemoDataset",),
    "vand_demos.experts.demonstrate": ("demonstrate",),
    "vand_demos.recording": ("record",),
    "vand_envs": ("TaskBatch", "UsageError", "VandError"),
    "vand_robot.config.loading": ("load_config",),
    "vand_robot.config.schema": ("TrainConfig",),
    "vand_robot.evaluation.evaluate": ("evaluate",),
    "vand_robot.evaluation.perturbations": ("PERTURBATIONS",),
    "vand_robot.evaluation.reference": ("TaskReference", "references_from_datasets"),
    "vand_robot.evaluation.results": ("EvaluationResult",),
    "vand_robot.evaluation.rollout": ("Rollout", "rollout"),
    "vand_robot.evaluation.suites": ("SUITES",),
    "vand_robot.interface": ("Policy", "PolicySpec"),
    "vand_robot.policies.checkpoint": ("load_policy", "save_checkpoint"),
    "vand_robot.policies.expert": ("ExpertPolicy",),
    "vand_robot.policies.recurrent": ("RecurrentPolicy",),
    "vand_robot.training.trainer": ("TrainResult", "train"),
}
"""Module -> the public names that it defines."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_PACKAGES = ("metrics", "nn")

__all__ = [
    "PERTURBATIONS",
    "SUITES",
    "DemoDataset",
    "EvaluationResult",
    "ExpertPolicy",
    "Policy",
    "PolicySpec",
    "RecurrentPolicy",
    "Rollout",
    "TaskBatch",
    "TaskReference",
    "TrainConfig",
    "TrainResult",
    "UsageError",
    "VandError",
    "__version__",
    "demonstrate",
    "evaluate",
    "load_config",
    "load_policy",
    "metrics",
    "nn",
    "record",
    "references_from_datasets",
    "rollout",
    "save_checkpoint",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    elif name in _PACKAGES:
        value = import_module(f"{__name__}.{name}")
    elif name == "__version__":
        value = import_module("vand_demos.system.version").software_version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
