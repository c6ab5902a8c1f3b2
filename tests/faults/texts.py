"""Damaged results and configurations."""

import shutil
import sys
from pathlib import Path

import numpy as np

from tests.faults.damage import damage_bytes, damage_json, foreign_text, replace_file
from tests.faults.server import call
from tests.faults.sound import SHORT, Damaged, Sound
from vand_demos.teleop.gamepad import AXES, BUTTONS, MAPPING
from vand_demos.teleop.mapping import load_mapping
from vand_envs.errors import VandError


def results(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    for source in sound.results:
        shutil.copytree(source, folder / source.name)
    here = folder / sound.results[0].name
    which = int(rng.integers(10))
    if which < 6:
        what = damage_json(rng, here / "results.json")
    elif which < 7:
        lines = (here / "episodes.csv").read_text().splitlines()
        at = int(rng.integers(len(lines)))
        values = ("x" * 200_000, "a," * 1000, '"', "\x00", "wipe,nominal,9" + "9" * 5000, "\ud800")
        value = values[int(rng.integers(len(values)))]
        lines[at] = value
        (here / "episodes.csv").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        what = f"episodes.csv: line {at}: {value[:20]!r}"
    else:
        file = here / ("results.json", "episodes.csv")[int(rng.integers(2))]
        ways = [damage_bytes, replace_file]
        ways += [foreign_text] if file.suffix == ".json" else []
        what = ways[int(rng.integers(len(ways)))](rng, file)
    return Damaged(what, ("compare", str(folder), "--out", str(folder / "comparison")))


_YAML: tuple[str, ...] = (
    "[" * 100_000,
    "{" * 100_000,
    "- " * 100_000,
    "? " * 10_000,
    "!!timestamp x",
    "!!int hello",
    "!!int",
    "!!python/object/apply:os.system [x]",
    "!x y",
    "&a [*a]",
    "*a",
    "0x_",
    "0b_",
    "0o_",
    "9" * 5000,
    "1e999",
    ".nan",
    '"\\ud800"',
    "${" * 1000,
    "${seed}",
    "${updates}",
    "${oc.env:HOME}",
    "${oc.decode:x}",
    "???",
    "null",
    "[]",
    "{}",
    "x",
    "$^$",
    "-1",
    "1.5",
    "true",
    "[wipe, 3]",
    "'\x01'",
    "|\n  x\n y",
    "\t",
    "8192",
    "<<: {a: 1}",
)
_KEYS = (
    *("seed", "updates", "data", "tasks", "policy", "policy.hidden_size", "policy.cell"),
    *("policy.regularizer", "policy.regularizer.name", "policy.encoder.sizes", "threads"),
    *("policy.images", "optimizer.learning_rate", "rollouts", "valid_fraction", "batch_size"),
    *("policy.future_actions.horizons_s", "policy.near_field_scales_m", "truncate_steps", "x"),
)


def yaml(rng: np.random.Generator, sound: Sound, folder: Path) -> Damaged:
    file = folder / "config.yaml"
    key = _KEYS[int(rng.integers(len(_KEYS)))]
    value = _YAML[int(rng.integers(len(_YAML)))]
    which = int(rng.integers(10))
    given: tuple[str, ...] = ()
    file.write_text("seed: 1\nupdates: 2\n")
    if which < 5:
        *outer, last = key.split(".")
        text = f"{last}: {value}\n"
        for name in reversed(outer):
            text = f"{name}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
        file.write_text(text)
        what = f"{key}: {value[:20]!r}"
    elif which < 8:
        given = (f"{key}={value[:4000]}",)
        what = f"override {key}={value[:20]!r}"
    else:
        shutil.copyfile(sound.run / "config.yaml", file)
        what = [damage_bytes, replace_file, foreign_text][int(rng.integers(3))](rng, file)
    given = tuple(word for word in given if "\x00" not in word)
    rest = (f"data=[{sound.data}]", *SHORT) if which != 4 else SHORT
    last_ones = ("updates=1", "policy.num_layers=1", *given, "--out", str(folder / "run"))
    words = [word for word in rest if word.split("=")[0] != key]
    own = [word for word in last_ones if which >= 5 or word.split("=")[0] != key]
    return Damaged(what, ("train", str(file), *words, *own))


_MAPPING_KEYS = ("motions", "motions.base_ahead", "actions", "actions.save", "dead_zone", "x")


def devices(rng: np.random.Generator, _: Sound, folder: Path) -> Damaged:
    """A mapping of a device's inputs to motions."""
    file = folder / "mapping.yaml"
    key = _MAPPING_KEYS[int(rng.integers(len(_MAPPING_KEYS)))]
    value = _YAML[int(rng.integers(len(_YAML)))]
    outer, _, inner = key.partition(".")
    which = int(rng.integers(8))
    if which < 5:
        file.write_text(f"{outer}:\n  {inner}: {value}\n" if inner else f"{key}: {value}\n")
        what = f"{key}: {value[:20]!r}"
    elif which < 6:
        file.write_text(value)
        what = repr(value[:20])
    else:
        file.write_text("dead_zone: 0.2\nmotions: {base_ahead: left_y}\n")
        what = [damage_bytes, replace_file, foreign_text][int(rng.integers(3))](rng, file)
    return Damaged(what, call("tests.faults.texts:drive", str(file)))


def drive(file: str) -> int:
    """Reads a mapping as the gamepad does, and drives by it."""
    try:
        mapping = load_mapping(Path(file), MAPPING, (*AXES, *BUTTONS))
    except VandError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    mapping.twist(dict.fromkeys(AXES, 1.0))
    return 0
