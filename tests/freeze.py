"""Digests of what the present code computes, to show that moving it changes nothing.

`python tests/freeze.py FILE [PART ...]` adds them to a file, or compares with those that are there.
Parts are episodes, training, evaluation (with training) and check.
They hold on one machine. This script goes away once the move is done.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from vand_demos import DemoDataset
from vand_demos.recording import record
from vand_envs import TaskBatch, task_ids
from vand_robot.cli.main import main
from vand_robot.config.library import find_config
from vand_robot.workflows.evaluate import run_evaluation
from vand_robot.workflows.train import run_training

SHIPPED = Path("demos/data/workshop.hdf5").resolve()
TINY = ["updates=4", "batch_size=4", "policy.hidden_size=16", "policy.encoder.sizes=[16]"]
TINY += ["validation_interval=2", "rollouts.interval=0", "rollouts.episodes=2", "threads=1"]
RUNS = {
    "vand": ["policy.regularizer.name=vand"],
    "lstm": ["policy.regularizer.name=vand", "policy.cell=lstm"],
    "elman": ["policy.regularizer.name=gaussian_noise", "policy.cell=elman"],
    "dropout": ["policy.regularizer.name=dropout"],
    "noisin": ["policy.regularizer.name=noisin"],
    "budget": [
        "policy.regularizer.name=vand",
        "policy.regularizer.options.budget=20",
        "truncate_steps=40",
    ],
}


def digest(*parts):
    total = hashlib.sha256()
    for part in parts:
        total.update(part if isinstance(part, bytes) else str(part).encode())
    return total.hexdigest()[:16]


def leaves(value):
    """The numbers, texts and flags of a JSON value in order, whatever their keys are called."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def episodes(folder):
    """States, observations, actions and rewards of every expert, and of random joint actions."""
    found = {}
    for task in task_ids():
        path = folder / f"{task}.hdf5"
        record(task, path, episodes=2, session=5, num_threads=1)
        with DemoDataset.open(path) as dataset:
            parts = []
            for name in dataset.names:
                e = dataset.episode(name)
                parts += [e.states.tobytes(), e.actions.tobytes(), e.rewards.tobytes()]
                parts += [e.observations[key].tobytes() for key in sorted(e.observations)]
        found[f"expert {task}"] = digest(*parts)
        for mode in ("ee_twist", "joint"):
            batch = TaskBatch(task, 3, action_mode=mode, num_threads=1)
            batch.reset([1, 2, 3])
            rng = np.random.default_rng(0)
            parts = []
            for _ in range(40):
                seen = batch.step(rng.uniform(-1, 1, (3, batch.action_size)).astype(np.float32))
                parts += [seen[key].tobytes() for key in sorted(seen)] + [batch.qpos.tobytes()]
            batch.close()
            found[f"random {task} {mode}"] = digest(*parts)
    return found


def weights(run):
    found = []
    for path in sorted(run.glob("*/policy.safetensors")):
        tensors = load_file(path)
        found += sorted(digest(tensors[key].numpy().tobytes()) for key in tensors)
    return digest(*found)


def metrics(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    keep = [[v for k, v in row.items() if "time" not in k and not k.endswith("_s")] for row in rows]
    return digest(json.dumps(keep))


def training(folder):
    found = {}
    for name, extra in RUNS.items():
        out = folder / name
        run_training(find_config("quickstart"), [f"data=[{SHIPPED}]", *TINY, *extra], out)
        found[f"weights {name}"], found[f"metrics {name}"] = weights(out), metrics(out)
    out = folder / "nine"
    run_training(find_config("instructed"), [f"data=[{SHIPPED}]", *TINY], out)
    found["weights nine"], found["metrics nine"] = weights(out), metrics(out)
    out = folder / "resumed"
    base = [f"data=[{SHIPPED}]", *TINY, *RUNS["budget"]]
    run_training(find_config("quickstart"), base, out)
    run_training(find_config("quickstart"), [*base, "updates=6"], out, resume=True)
    found["weights resumed"] = weights(out)
    return found


def evaluation(folder):
    found = {}
    for name, suite in (("vand", "robustness"), ("nine", "nominal")):
        out = folder / f"evaluation-{name}"
        run_evaluation(folder / name, out, suite=suite, episodes=3)
        results = json.loads((out / "results.json").read_text())
        parts = {key: results[key] for key in ("tasks", "confusion")}
        found[f"results {name}"] = digest(*leaves(parts))
        rows = (out / "episodes.csv").read_text().splitlines()[1:]
        found[f"episodes {name}"] = digest(*rows)
    return found


def commands():
    try:
        main(["demos", "check", str(SHIPPED)])
    except SystemExit as error:
        return {"demos check": error.code}


def compute(parts):
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        if "episodes" in parts:
            found |= episodes(folder)
        if "training" in parts or "evaluation" in parts:
            found |= training(folder)
        if "evaluation" in parts:
            found |= evaluation(folder)
        if "check" in parts:
            found |= commands()
        return found


if __name__ == "__main__":
    file = Path(sys.argv[1])
    now = compute(sys.argv[2:] or ["episodes", "training", "evaluation", "check"])
    before = json.loads(file.read_text()) if file.exists() else {}
    changed = [key for key in before if key in now and before[key] != now[key]]
    print("\n".join(f"differs: {key}" for key in changed) or f"all {len(now)} the same")
    if not changed:
        file.write_text(json.dumps({**now, **before}, indent=1))
    sys.exit(bool(changed))
