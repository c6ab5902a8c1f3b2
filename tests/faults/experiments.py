"""Damaged folders of what is done in parts: shards of an evaluation, trials, models of a table."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.damage import damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.sound import Damaged, Sound
from tests.faults.studies import LANGUAGE, TEXT
from vand_robot.experiments.comparison.plan import chosen_plan
from vand_robot.experiments.language.table_study import run_table
from vand_robot.experiments.language.tables import load_table
from vand_robot.experiments.sequences.plan import QUICK
from vand_robot.experiments.sequences.study import run_study
from vand_robot.experiments.series import plan as series_plan
from vand_robot.experiments.series import study as series_study
from vand_robot.experiments.series.recordings import Recording, write_recordings
from vand_robot.workflows.request import EvaluationRequest
from vand_robot.workflows.shards import Shard, run_shard

_one_at_a_time = threading.Lock()

Make = Callable[[Path], object]
"""Makes something sound in a new folder."""


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


def _once(sound: Sound, name: str, make: Make) -> Path:
    """A sound folder of a name; made by whoever asks first."""
    folder = sound.run.parent.parent / name
    with _one_at_a_time:
        if not folder.exists():
            folder.mkdir()
            make(folder)
    return folder


def _damage(rng: np.random.Generator, files: Sequence[Path]) -> str:
    file = _pick(rng, files)
    ways: list[Any] = [damage_bytes, replace_file]
    ways += [damage_json] * 4 + [foreign_text] if file.suffix == ".json" else []
    return str(_pick(rng, ways)(rng, file))


# ------------------------------------------------------------------ shards of an evaluation


def _shards(sound: Sound) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        request = EvaluationRequest(str(sound.run), episodes=1, tasks=("wipe",))
        for number in (1, 2):
            run_shard(request.plan(), folder / "evaluation", Shard(number, 2))

    return make


_NAMES = (b"\xff\xfe", b"0-of-0", b"3-of-2", b"1-of-999999999", b"\x1b[31m", b"x\ny")


def _named(rng: np.random.Generator, shard: Path) -> str:
    name = _pick(rng, _NAMES)
    shard.rename(shard.parent / os.fsdecode(name))
    return f"the folder of a shard is called {name!r}"


def _folder(rng: np.random.Generator, shard: Path) -> str:
    """Something else than the folder of a shard, or than that of all shards."""
    place = _pick(rng, [shard, shard.parent])
    shutil.rmtree(place)
    replacements: Mapping[str, Callable[[], object]] = {
        "a file": lambda: place.write_text("x"),
        "a link to itself": lambda: place.symlink_to(place.name),
        "a link to what it is in": lambda: place.symlink_to(".."),
        "a pipe": lambda: os.mkfifo(place),
    }
    name = _pick(rng, replacements)
    replacements[name]()
    return f"{place.name}: {name}"


def shards(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """Shards of an evaluation that is collected or goes on."""
    out = folder / "evaluation"
    shutil.copytree(_once(sound, "shards", _shards(sound)) / "evaluation", out)
    records = sorted(out.rglob("shard.json"))
    which = int(rng.integers(10))
    if which < 5:
        what = _damage(rng, records)
    elif which < 7:
        what = _damage(rng, [path for path in out.rglob("*") if path.is_file()])
    else:
        what = _pick(rng, [_named, _folder])(rng, _pick(rng, records).parent)
    rest = _pick(rng, [("--collect",), ("--collect",), ("--shard", "1/2"), ("--shard", "2/2")])
    words = ("evaluate", str(sound.run), "--episodes", "1", "--task", "wipe", "--jobs", "1")
    return Damaged(f"{what}: {rest[0]}", (*words, "--out", str(out), *rest))


# ------------------------------------------------------------------ trials


def _words(name: str, folder: Path) -> tuple[str, ...]:
    words = ("experiments", name, "--quick", "--cells", "elman", "--methods", "none")
    words += ("--seeds", "0", "--out", str(folder / "out"))
    if name == "series":
        words += ("--signals", "abduction", "--recordings", str(folder))
    return words


def _sequences(folder: Path) -> None:
    plan = chosen_plan(QUICK, "elman", None, "none", "0", own_rates=False)
    run_study(folder / "out", plan, jobs=1, progress=lambda *_: None)


def _recordings(file: Path) -> None:
    """Ten people who each turn an arm at a tempo of their own."""
    rng = np.random.default_rng(0)
    turn = [2 * np.pi * np.arange(320) / (12 + person) for person in range(10)]
    motions = [np.stack([np.sin(x), 0.5 * np.cos(x), np.sin(2 * x)], axis=1) for x in turn]
    write_recordings(
        file,
        [
            Recording(signal, person, 0.06, motion + 0.05 * rng.normal(size=motion.shape))
            for signal in ("abduction", "upright-row")
            for person, motion in enumerate(motions, start=1)
        ],
    )


def _series(folder: Path) -> None:
    _recordings(folder / "recordings.npz")
    plan = chosen_plan(series_plan.QUICK, "elman", "abduction", "none", "0", own_rates=False)
    series_study.run_study(folder / "out", plan, folder, jobs=1, progress=lambda *_: None)


def trials(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A finished trial, or the recordings, of an experiment that goes on."""
    name = _pick(rng, ["sequences", "series"])
    source = _once(sound, name, _sequences if name == "sequences" else _series)
    copy = shutil.copytree(source, folder / name)
    what = _damage(rng, sorted((copy / "out" / "trials").glob("*.json")))
    return Damaged(f"{name}: {what}", _words(name, copy))


# ------------------------------------------------------------------ tables of language models


_TABLE: Mapping[str, Any] = {
    "seeds": [1, 2],
    "methods": [
        {"name": "none", "settings": ["", "bptt=6"], "compared": True},
        {"name": "other", "set": "model.hidden_size=5"},
    ],
}


def _table(folder: Path) -> None:
    (folder / "text.txt").write_text(TEXT)
    config = folder / "config.yaml"
    config.write_text(json.dumps({**LANGUAGE, "text": str(folder / "text.txt")}))
    file = folder / "table.yaml"
    file.write_text(json.dumps({**_TABLE, "config": str(config)}))
    out = folder / "out"
    run_table(load_table(str(file)), out, texts=folder, jobs=1, progress=lambda *_: None)


def tables(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A table of language models, or what is done of it already."""
    source = _once(sound, "table", _table)
    table, out = folder / "table.yaml", folder / "out"
    shutil.copyfile(source / "table.yaml", table)
    which = int(rng.integers(10))
    if which < 3:
        what = damage_json(rng, table)
    elif which < 4:
        what = _pick(rng, [damage_bytes, replace_file, foreign_text])(rng, table)
    else:
        shutil.copytree(source / "out", out)
        results = sorted((out / "runs").glob("*/results.json"))
        what = _damage(rng, results)
    words = ("experiments", "language-table", str(table), "--out", str(out))
    return Damaged(what, (*words, "--texts", str(source)))


# ------------------------------------------------------------------ results, collected


def collected(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """The results of an experiment, for the table of the ablation."""
    makes: Mapping[str, tuple[str, Make]] = {
        "sequences": ("sequences", _sequences),
        "series": ("series", _series),
        "language": ("table", _table),
    }
    kind = _pick(rng, makes)
    copy = folder / kind
    copy.mkdir()
    file = copy / "results.json"
    shutil.copyfile(_once(sound, *makes[kind]) / "out" / "results.json", file)
    part = "rows" if kind == "language" else "methods"
    what = damage_json(rng, file, part) if rng.integers(4) else _damage(rng, [file])
    words = ("experiments", "ablation", f"--{kind}", str(copy), "--out", str(folder / "a.md"))
    return Damaged(f"{kind}: {what}", words)
