"""Damaged checkpoints and folders of runs."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.faults.damage import damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.sound import Damaged, Sound, evaluate, resume


def renew_hashes(folder: Path) -> None:
    """Makes `policy.json` agree with the tensors that lie beside it."""
    file = folder / "policy.json"
    head = json.loads(file.read_text())
    for name in head["sha256"]:
        if (folder / name).is_file():
            head["sha256"][name] = sha256((folder / name).read_bytes()).hexdigest()
    file.write_text(json.dumps(head))


_CHANGES: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda t: t.double(),
    lambda t: t.half(),
    lambda t: t.to(torch.int64),
    lambda t: t.flatten()[:-1].clone(),
    lambda t: t[None].clone(),
    lambda t: torch.full_like(t, float("nan")),
    lambda t: torch.full_like(t, float("inf")),
    lambda t: torch.full_like(t, -1),
    lambda t: torch.full_like(t, 1e38),
    lambda t: torch.zeros(0),
)


def damage_tensors(rng: np.random.Generator, file: Path) -> str:
    """Changes a tensor's name, shape, type or values, with a hash that agrees."""
    tensors = load_file(file)
    name = sorted(tensors)[int(rng.integers(len(tensors)))]
    how = int(rng.integers(len(_CHANGES) + 2))
    if how == len(_CHANGES):
        del tensors[name]
    elif how > len(_CHANGES):
        tensors[f"{name}/more"] = tensors.pop(name)
    else:
        tensors[name] = _CHANGES[how](tensors[name].clone())
    save_file(tensors, file)
    if (file.parent / "policy.json").exists():
        renew_hashes(file.parent)
    return f"{file.name}: {name}: {how}"


_SIZES: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("config", "policy", "hidden_size"), 8192),
    (("config", "policy", "num_layers"), 64),
    (("config", "policy", "encoder", "sizes"), [8192] * 2000),
    (("spec", "action_size"), 10**9),
    (("spec", "observations", "ee_pos"), 10**18),
    (("spec", "observations", "ee_pos"), 10**9),
    (("spec", "control_dt_s"), 0),
    (("spec", "control_dt_s"), 1e-300),
    (("spec", "images"), {"head_rgb": [16384, 16384]}),
    (("spec", "instructions"), ["x"] * 100_000),
    (("extras",), None),
    (("extras", "references"), {"wipe": 3}),
    (("extras", "references", "wipe", "median_steps"), 2**62),
    (("extras", "references", "wipe", "times_s"), [float("nan")]),
    (("metrics",), None),
)


def damage_sizes(rng: np.random.Generator, file: Path) -> str:
    content = json.loads(file.read_text())
    done = []
    for _ in range(int(rng.integers(1, 3))):
        path, value = _SIZES[int(rng.integers(len(_SIZES)))]
        owner: Any = content
        for key in path[:-1]:
            owner = owner.setdefault(key, {}) if isinstance(owner, dict) else {}
        if isinstance(owner, dict):
            owner[path[-1]] = value
        done.append(f"{'.'.join(path)}={value!r:.30}")
    file.write_text(json.dumps(content))
    return f"{file.name}: {', '.join(done)}"


def checkpoint(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    run = shutil.copytree(sound.run, folder / "run")
    best = run / "best"
    shutil.rmtree(run / "last")
    which = int(rng.integers(12))
    if which < 5:
        what = damage_json(rng, best / "policy.json", ("", "extras", "spec")[which % 3])
    elif which < 7:
        what = damage_sizes(rng, best / "policy.json")
    elif which < 9:
        what = damage_tensors(rng, best / "policy.safetensors")
    else:
        name = ("policy.json", "policy.safetensors")[int(rng.integers(2))]
        ways = [damage_bytes, replace_file]
        ways += [foreign_text] if name == "policy.json" else []
        what = ways[int(rng.integers(len(ways)))](rng, best / name)
    return Damaged(what, evaluate(run, folder / "evaluation"))


def training_run(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    run = shutil.copytree(sound.run, folder / "run")
    which = int(rng.integers(12))
    if which < 4:
        what = damage_json(rng, run / "last" / "trainer.json")
    elif which < 7:
        what = damage_tensors(rng, run / "last" / "optimizer.safetensors")
    elif which < 8:
        what = damage_json(rng, run / "last" / "policy.json")
    else:
        files = ["last/trainer.json", "last/optimizer.safetensors", "metrics.jsonl", "config.yaml"]
        file = run / files[int(rng.integers(len(files)))]
        ways = [damage_bytes, replace_file]
        ways += [] if file.suffix == ".safetensors" else [foreign_text]
        what = ways[int(rng.integers(len(ways)))](rng, file)
    return Damaged(what, resume(sound, run))
