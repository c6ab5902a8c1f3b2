"""Names of the files in the folders of runs and evaluations."""

from pathlib import Path

CONFIG_FILE = "config.yaml"
CONFIG_HEADER = "# A vand-robot training run"
NON_FINITE = "non-finite.safetensors"


POLICY_TENSORS, POLICY_JSON = "policy.safetensors", "policy.json"
TRAINER_TENSORS, TRAINER_JSON = "optimizer.safetensors", "trainer.json"
BEST, LAST = "best", "last"


METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


RUN_ENTRIES = (CONFIG_FILE, METRICS_FILE, TENSORBOARD_FOLDER, BEST, LAST, NON_FINITE)
"""What a run's folder is recognized by, and what `force` removes."""


RESULTS_FILE = "results.json"
EPISODES_FILE = "episodes.csv"
REPORT_FILE = "report.html"
COMPARISON_FILE = "comparison.json"
COMPARISON_REPORT_FILE = "comparison.html"
JOBS_FOLDER = "jobs"
"""Folder of what an evaluation has finished, until it is all."""


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
