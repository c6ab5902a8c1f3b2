"""Damaged files of sweeps and of language models, and what a Hub may answer."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.damage import damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.runs import damage_tensors
from tests.faults.server import call, command
from tests.faults.sound import SHORT, Damaged, Sound
from tests.helpers.hub import stand_in
from vand_robot.config.validation import build
from vand_robot.experiments.language.config import LanguageConfig
from vand_robot.experiments.language.study import run_language
from vand_robot.sweeps import SweepOptions, load_sweep, run_sweep

_one_at_a_time = threading.Lock()


def _pick(rng: np.random.Generator, choices: Any) -> Any:
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# ------------------------------------------------------------------ sweeps


def _sweep_values(sound: Sound) -> dict[str, Any]:
    overrides: dict[str, Any] = dict(word.split("=") for word in SHORT)
    overrides = {key: json.loads(value) if value[0] in "[0123456789" else value
                 for key, value in overrides.items()}  # fmt: skip
    return {
        "base": "quickstart",
        "overrides": {**overrides, "updates": 1, "data": [str(sound.data)], "tasks": ["wipe"]},
        "methods": {"vand": {"policy.regularizer": {"name": "vand"}}},
        "search": {"sampler": "grid", "space": {"optimizer.learning_rate": [0.001]}},
        "seeds": [0],
        "evaluation": {"episodes": 1},
    }


def _sweep(sound: Sound) -> Path:
    """A finished sweep; made once."""
    folder = sound.run.parent.parent / "sweep"
    with _one_at_a_time:
        if not folder.exists():
            file = folder.with_suffix(".yaml")
            file.write_text(json.dumps(_sweep_values(sound)))
            run_sweep(load_sweep(file), file, folder, SweepOptions())
    return folder


_SWEEPS = (
    "base: {0}",
    "base: ../../../../etc/passwd",
    "base: /dev/zero",
    "base: ''",
    "base: quickstart\nseeds: [0, 0]",
    "base: quickstart\nseeds: []",
    "base: quickstart\nseeds: [99999999999999999999]",
    "base: quickstart\nseeds: 0",
    "base: quickstart\nmethods: {'$^$': {x: 1}}",
    "base: quickstart\nmethods: {'a/../../b': {}}",
    "base: quickstart\nmethods: {'': {}}",
    "base: quickstart\nmethods: [a]",
    "base: quickstart\nsearch: {sampler: grid, space: {seed: [[1]]}}",
    "base: quickstart\nsearch: {sampler: grid, space: {a: [1], b: [1]}}",
    "base: quickstart\nsearch: {sampler: random, space: {updates: {low: 1, high: 1}}}",
    "base: quickstart\nsearch: {sampler: random, space: {updates: {low: .nan, high: 1}}}",
    "base: quickstart\nsearch: {sampler: tpe, space: {updates: {low: -1, high: 3, log: true}}}",
    "base: quickstart\nsearch: {sampler: random, trials: 99999999999, space: {seed: [1]}}",
    "base: quickstart\nsearch: {sampler: random, trials: 0, space: {seed: [1]}}",
    "base: quickstart\nretries: 1000",
    "base: quickstart\ndemonstrations: [0]",
    "base: quickstart\nevaluation: {tasks: nothing}",
    "base: quickstart\nevaluation: {suite: nothing}",
    "base: quickstart\nslurm: {x: 1}",
    "base: quickstart\noverrides: {'policy..cell': 1}",
    "base: quickstart\noverrides: {'': 1}",
    "base: quickstart\noverrides: {3: 1}",
    "base: quickstart\nmore: 1",
)


def sweeps(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A sweep's file, or the folder of one that goes on."""
    file = folder / "sweep.yaml"
    values = _sweep_values(sound)
    out = folder / "sweep"
    which = int(rng.integers(10))
    words: tuple[str, ...] = ()
    if which < 3:
        inner = folder / "sweep.json"
        inner.write_text(json.dumps(values))
        what = damage_json(rng, inner)
        file.write_text(inner.read_text())
    elif which < 6:
        line = _pick(rng, _SWEEPS)
        small = str(sound.run / "config.yaml")  # what is taken shall take a moment
        file.write_text(line.replace("{0}", str(file)).replace("quickstart", small) + "\n")
        what = repr(line[:60])
    elif which < 7:
        file.write_text(json.dumps(values))
        what = [damage_bytes, replace_file, foreign_text][int(rng.integers(3))](rng, file)
    else:
        file.write_text(json.dumps(values))
        shutil.copytree(_sweep(sound), out)
        parts = sorted(path for path in out.rglob("*.json*") if path.is_file())
        part = _pick(rng, [out / "outcomes.jsonl", *parts])
        damage = damage_json if part.suffix in (".json", ".jsonl") else damage_bytes
        ways: list[Any] = [damage, damage, damage_bytes, replace_file, foreign_text]
        what = ways[int(rng.integers(len(ways)))](rng, part)
        words = ("--resume",)
    return Damaged(what, ("sweep", str(file), "--out", str(out), *words))


# ------------------------------------------------------------------ language models


LANGUAGE: Mapping[str, Any] = {
    "model": {"hidden_size": 6, "num_layers": 1, "regularizer": {"name": "vand"}},
    "optimizer": {"name": "adam", "learning_rate": 0.01},
    "epochs": 1,
    "bptt": 7,
    "batch_size": 4,
    "eval_batch_size": 2,
}
TEXT = "\n".join(f"{who} {does} today" for who in ("cats", "dogs") for does in ("sit", "run")) * 40


def _language(sound: Sound) -> Path:
    """The folder of a language model's text and of its run; made once."""
    folder = sound.run.parent.parent / "language"
    with _one_at_a_time:
        if not folder.exists():
            folder.mkdir()
            (folder / "text.txt").write_text(TEXT)
            config = build(LanguageConfig, {**LANGUAGE, "text": str(folder / "text.txt")})
            run_language(config, folder / "run", cache=folder)
    return folder


_TEXTS: Mapping[str, bytes] = {
    "nothing": b"",
    "a word": b"word",
    "UTF-16": TEXT.encode("utf-16"),
    "Latin-1": "\u00e9t\u00e9\n".encode("latin-1") * 100,
    "zeros": bytes(5000),
    "one long line": b"word " * 5000,
    "a long word": b"x" * 2_000_000,
    "many words": " ".join(map(str, range(100_000))).encode(),
    "ends of lines alone": b"\n" * 5000,
    "strange ends of lines": "a\x0bb\x0cc\x1cd\u2028e\u2029f\x85g\r".encode() * 200,
    "surrogates": b"\xed\xa0\x80" * 100,
    "a mark of order": b"\xef\xbb\xbf" + TEXT.encode(),
    "our own symbols": b"<unk> <eos>\n" * 500,
    "marks and turned text": "\u202ea\u0301 \U0001f600\n".encode() * 300,
}


def language(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """A language model's configuration, its text, or the state that it goes on from."""
    source = _language(sound)
    text, config, run = folder / "text.txt", folder / "config.yaml", folder / "run"
    shutil.copyfile(source / "text.txt", text)
    config.write_text(json.dumps({**LANGUAGE, "text": str(text)}))
    which = int(rng.integers(10))
    words: tuple[str, ...] = ()
    if which < 2:
        what = damage_json(rng, config)
    elif which < 4:
        what = _pick(rng, _TEXTS)
        text.write_bytes(_TEXTS[what])
        level = _pick(rng, ["word", "character"])
        words = (f"symbols.level={level}",)
    elif which < 5:
        text.unlink()
        text.mkdir()
        for name in ("train", "valid", "test"):
            (text / f"{name}.txt").write_text(TEXT)
        file = text / _pick(rng, ["train.txt", "valid.txt", "test.txt"])
        what = [damage_bytes, replace_file][int(rng.integers(2))](rng, file)
    elif which < 6:
        file = _pick(rng, [text, config])
        what = [damage_bytes, replace_file, foreign_text][int(rng.integers(3))](rng, file)
    else:
        shutil.copytree(source / "run", run)
        state = run / "state" / _pick(rng, ["state.json", "state.safetensors"])
        own = damage_json if state.suffix == ".json" else damage_tensors
        ways: list[Any] = [own, own, own, damage_bytes, replace_file]
        what = ways[int(rng.integers(len(ways)))](rng, state)
        words = ("epochs=2", "--resume")
    return Damaged(what, ("experiments", "language", str(config), *words, "--out", str(run)))


# ------------------------------------------------------------------ the Hub


_REPLIES: Mapping[str, Callable[[], tuple[int, bytes]]] = {
    "text": lambda: (200, b"hello"),
    "nothing": lambda: (200, b""),
    "a list": lambda: (200, b"[]"),
    "null": lambda: (200, b"null"),
    "nested": lambda: (200, b"[" * 100_000),
    "an error": lambda: (500, b"\xff\xfe<html>\n\n" * 100),
    "no right": lambda: (403, b"{}"),
    "moved": lambda: (301, b""),
    "no names": lambda: (200, b'{"id": "me/x", "sha": "a", "siblings": [{}], "tags": []}'),
    "no files": lambda: (200, b'{"id": "me/x", "sha": "a", "tags": []}'),
    "files that are none": lambda: (200, b'{"id": "me/x", "sha": "a", "siblings": 3}'),
    "no version": lambda: (200, _info(sha=None)),
    "a version that is a path": lambda: (200, _info(sha="../../x")),
    "a negative size": lambda: (200, _info(size=-1)),
    "a size in words": lambda: (200, _info(size="large")),
    "a great size": lambda: (200, _info(size=10**15)),
    "no size": lambda: (200, _info(size=None)),
    "a date": lambda: (200, _info(lastModified="yesterday")),
    "paths out of it": lambda: (200, _info(name="../best/policy.json")),
    "a path of the system": lambda: (200, _info(name="/etc/best/policy.json")),
    "a name of 10,000 letters": lambda: (200, _info(name="x" * 10_000 + ".hdf5")),
    "the same name twice": lambda: (200, _info(times=2)),
}


def _info(name: str = "", size: Any = 5, times: int = 1, **more: Any) -> bytes:
    names = [name] if name else ["best/policy.json", "best/policy.safetensors", "demos.hdf5"]
    files = [{"rfilename": name, "size": size} for name in names] * times
    return json.dumps(
        {"id": "me/x", "sha": "a" * 40, "siblings": files, "tags": [], **more}
    ).encode()


def pulled(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    """What a Hub holds or answers, pulled."""
    held = folder / "held"
    data = bool(rng.integers(2))
    if data:
        held.mkdir()
        shutil.copyfile(sound.data, held / "demos.hdf5")
    else:
        shutil.copytree(sound.run, held)
    which = int(rng.integers(10))
    reply = ""
    if which < 6:
        reply = what = _pick(rng, _REPLIES)
    else:
        files = sorted(held.glob("*.hdf5")) or sorted((held / "best").iterdir())
        file = _pick(rng, files)
        what = damage_json(rng, file) if file.suffix == ".json" and which < 8 else ""
        what = what or damage_bytes(rng, file)
    place = _pick(rng, ["/api/", "/resolve/"]) if reply in ("text", "nothing", "an error") else ""
    arguments = (str(held), reply, place or "/api/", str(folder / "out"), str(int(data)))
    return Damaged(f"{what} {place}", call("tests.faults.studies:pull", *arguments))


def pull(held: str, reply: str, place: str, out: str, data: str) -> int:
    """Pulls from a stand-in of the Hub on loopback, which answers otherwise in one place."""
    with stand_in() as (hub, address):
        hub.repositories["dataset" if int(data) else "model", "me/x"] = {
            path.relative_to(held).as_posix(): path.read_bytes()
            for path in Path(held).rglob("*")
            if path.is_file()
        }
        if reply:
            hub.replies[place] = _REPLIES[reply]()
        os.environ |= {"HF_ENDPOINT": address, "HF_TOKEN": "hf_test", "HF_HOME": f"{out}-home"}
        words = ["--data"] if int(data) else []
        return command(["pull", "me/x", "--out", out, *words])
