"""The oldest and the newest versions of what is depended on, tried: `python -m tests.versions`.

For each Python and each end of the bounds in `pyproject.toml`, uv resolves the versions, makes an
environment, and installs the source distribution into it; there its tests are collected, and a few
of each package are run. The outcome is a table.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
ENDS = {"oldest": "lowest-direct", "newest": "highest"}
"""End of the bounds -> how uv resolves."""

EXTRAS = ("lerobot", "minari", "dev")
TESTS = (
    "tests/config",
    "tests/metrics",
    "tests/demos/storage/test_dataset.py",
    "tests/nn/test_layers.py",
    "tests/export",
    "tests/runtime/test_policy.py",
)
"""Tests that are run: a few of each package, in about a minute."""

SHOWN = ("torch", "numpy", "scipy", "mujoco", "h5py", "gymnasium", "typer", "matplotlib")


def main() -> None:
    """Try every Python and end; exit code 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", nargs="*", default=PYTHONS)
    parser.add_argument("--end", nargs="*", default=list(ENDS), choices=list(ENDS))
    parser.add_argument("--torch", default="", help="version of torch instead, as 2.13.0+cpu")
    parser.add_argument("--resolve", action="store_true", help="resolve only, install nothing")
    options = parser.parse_args()
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("error: uv is missing: pip install uv")
    failed = False
    print("| Python | versions | outcome | " + " | ".join(SHOWN) + " |")
    print("|" + "---|" * (3 + len(SHOWN)))
    for python in options.python:
        for end in options.end:
            with tempfile.TemporaryDirectory() as folder:
                versions, outcome = _attempt(uv, python, end, Path(folder), options)
            cells = (python, end, outcome, *(versions.get(name, "") for name in SHOWN))
            print(f"| {' | '.join(cells)} |", flush=True)
            failed |= outcome not in ("passed", "resolved")
    sys.exit(failed)


def _attempt(
    uv: str, python: str, end: str, folder: Path, options: argparse.Namespace
) -> tuple[dict[str, str], str]:
    """Versions, and what came of them: `passed`, `resolved`, or which step failed and why."""
    wanted = folder / "wanted.txt"
    override = folder / "override.txt"
    override.write_text(f"torch=={options.torch}\n" if options.torch else "")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    resolve = ("pip", "compile", "-q", "--python-version", python, "--resolution", ENDS[end])
    pinned = ("--override", str(override), "--no-annotate", "--no-header", "-o", str(wanted))
    why = _call((uv, *resolve, *extras, *pinned, str(ROOT / "pyproject.toml")), ROOT)
    if why:
        return {}, f"not resolved: {why}"
    lines = [line.partition("==") for line in wanted.read_text().splitlines()]
    versions = {name: version.split(" ")[0] for name, _, version in lines}
    if options.resolve:
        return versions, "resolved"
    environment = folder / "environment"
    interpreter = str(environment / "bin" / "python")
    install = (uv, "pip", "install", "-q", "--python", interpreter)
    steps: list[tuple[str, Sequence[str]]] = [
        ("no interpreter", (uv, "venv", "-q", "--python", python, str(environment))),
        ("no source distribution", (uv, "build", "-q", "--sdist", "-o", str(folder))),
        ("not installed", (*install, "-r", str(wanted))),
    ]
    for name, words in steps:
        if why := _call(words, ROOT):
            return versions, f"{name}: {why}"
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    source = folder / archive.name.removesuffix(".tar.gz")
    if why := _call((*install, "--no-deps", str(archive)), ROOT):
        return versions, f"source distribution not installed: {why}"
    pytest = (interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    if why := _call((*pytest, "--collect-only"), source):
        return versions, f"tests not collected: {why}"
    why = _call((*pytest, *TESTS), source)
    return versions, f"tests failed: {why}" if why else "passed"


def _call(words: Sequence[str], folder: Path) -> str:
    """The last line that a command says where it fails; empty where it does not."""
    names = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if not done.returncode:
        return ""
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["no word"])[-1][:200]


if __name__ == "__main__":
    main()
