"""Names of the files in the folders of runs and evaluations."""

from pathlib import Path

CONFIG = "config.yaml"
CONFIG_HEADER = "# A vand-robot training run"
NON_FINITE = "non-finite.safetensors"


POLICY_TENSORS, POLICY_JSON = "policy.safetensors", "policy.json"
TRAINER_TENSORS, TRAINER_JSON = "optimizer.safetensors", "trainer.json"
BEST, LAST = "best", "last"


METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


RUN_ENTRIES = (CONFIG, METRICS, TENSORBOARD, BEST, LAST, NON_FINITE)
"""What a run's folder is recognised by, and what `force` removes."""


RESULTS = "results.json"
EPISODES = "episodes.csv"
REPORT = "report.html"
UNITS = "units"
"""Folder of what an evaluation has finished, until it is all."""


def named(folder: Path) -> Path:
    """A path to the same folder that ends in its name: `.` and `..` have none."""
    return folder.resolve() if folder.name in ("", "..") else folder


def run_folder(source: Path) -> Path:
    """The folder of the run that a run's folder, or that of one of its checkpoints, belongs to."""
    source = named(source)
    if source.name in (BEST, LAST) and (source / POLICY_JSON).is_file():
        run = named(source.parent)
        if (run / CONFIG).is_file():
            return run
    return source
