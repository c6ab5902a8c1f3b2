"""Sound inputs, of which damaged ones are made, and the commands that read them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vand_demos.interop import FOLDERS, export_dataset
from vand_demos.recording import record
from vand_robot.config.library import find_config
from vand_robot.workflows.evaluate import run_evaluation
from vand_robot.workflows.train import run_training

SHORT = (
    "policy.hidden_size=8",
    "policy.encoder.sizes=[6]",
    "policy.regularizer.name=vand",
    "batch_size=3",
    "validation_interval=2",
    "rollouts.interval=0",
    "rollouts.episodes=1",
    "optimizer.warmup_updates=2",
    "threads=1",
)
"""Overrides of a run that takes a moment."""


@dataclass(frozen=True)
class Sound:
    """Sound inputs, of which damaged ones are made."""

    run: Path
    """A run's folder."""
    results: tuple[Path, Path]
    """Folders of two evaluations."""
    data: Path
    """A data set."""
    exports: Mapping[str, Path]
    """Format -> the data set's export."""


@dataclass(frozen=True)
class Damaged:
    """A damaged input."""

    what: str
    """What was done."""
    arguments: tuple[str, ...]
    """Of the command that reads it."""


def make_data(path: Path) -> Path:
    """Records the demonstrations that `make_sound` takes, at a low rate so that all is quick."""
    for task in ("stow-cube", "wipe"):
        record(task, path, episodes=2, session=3, disturbance=None, control_dt_s=0.2, resume=True)
    return path


def make_sound(folder: Path, data: Path) -> Sound:
    """Makes the sound inputs from a data set that has demonstrations of wiping."""
    folder.mkdir()
    run = folder / "method-0"
    run_training(find_config("quickstart"), [f"data=[{data}]", *SHORT, "updates=2"], run)
    results = (folder / "evaluation-a", folder / "evaluation-b")
    run_evaluation(run, results[0], tasks=["wipe"], episodes=1)
    shutil.copytree(*results)
    content = json.loads((results[1] / "results.json").read_text())
    content["policy"]["run"] = "other-0"
    (results[1] / "results.json").write_text(json.dumps(content))
    exports = {form: folder / f"{form}-v0" for form in FOLDERS}
    for form, out in exports.items():
        export_dataset(data, out, form)
    return Sound(run, results, data, exports)


def sound_commands(sound: Sound, folder: Path) -> list[tuple[str, ...]]:
    """The command of every kind on sound inputs, whose results appear in a new folder."""
    folder.mkdir()
    run = shutil.copytree(sound.run, folder / "run")
    comparison = (str(sound.results[0]), "--out", str(folder / "comparison"))
    commands = [evaluate(run, folder / "evaluation"), ("compare", *comparison)]
    commands += [resume(sound, run), train("quickstart", sound, folder / "new-run")]
    commands += [import_export(form, sound.exports[form], folder) for form in FOLDERS]
    return commands


def evaluate(run: Path, out: Path) -> tuple[str, ...]:
    return ("evaluate", str(run), "--out", str(out), "--episodes", "1", "--task", "wipe")


def resume(sound: Sound, run: Path) -> tuple[str, ...]:
    return (*train("quickstart", sound, run), "updates=3", "--resume")


def train(config: str, sound: Sound, out: Path) -> tuple[str, ...]:
    return ("train", config, f"data=[{sound.data}]", *SHORT, "updates=1", "--out", str(out))


def import_export(form: str, folder: Path, out: Path) -> tuple[str, ...]:
    file = str(out / f"{form}.hdf5")
    return ("demos", "import", str(folder), "--format", form, "--out", file)
