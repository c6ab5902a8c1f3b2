"""Compile the scan in C: for the build backend, and for `python -m vand_robot.nn.kernel.native`.

One shared object, without torch or Python in it: it takes pointers to float32. On x86-64 it holds
its code twice, for AVX-512 and for AVX2 with FMA, and `library` chooses by the processor.

This module needs the standard library alone, for `hatch_hook.py` loads it by its path.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAME = "scan.so"
"""The shared object, whatever the system calls its own."""

FLAGS = (
    *("-std=c11", "-O3", "-fPIC", "-D_GNU_SOURCE"),
    *("-fno-math-errno", "-fno-trapping-math"),
    "-ffp-contract=fast",  # a product and a sum in one: ISO C alone would not
)
"""None of them changes what a NaN or an infinity does, as -ffast-math would."""

X86_64 = {
    "v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "v3": ("-march=x86-64-v3",),
}
"""Suffix of a variant's functions, and its flags."""


class CompilerError(RuntimeError):
    """The C compiler is not there, or failed; the message is its own."""


def compiler() -> str | None:
    """Find the C compiler: $CC, cc, gcc or clang; None without one."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def sources_hash() -> str:
    """Hash the C files and flags, so that a shared object made of others is known."""
    digest = hashlib.sha256(repr((FLAGS, X86_64)).encode())
    for path in sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build(folder: Path = FOLDER) -> Path:
    """Compile the shared object into a folder.

    Args:
        folder: where to; by default beside this file, where `library` looks for it.

    Returns:
        Its path. It is put there in one piece, so that processes may use it meanwhile.

    Raises:
        CompilerError: if there is no compiler, or it failed.
    """
    command = compiler()
    if command is None:
        raise CompilerError("no C compiler was found: install gcc or clang, or set $CC")
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        objects = [f"{scratch}/dispatch.o"]
        version = f'-DVAND_SOURCES="{sources_hash()}"'
        _run(command, *FLAGS, version, "-c", str(FOLDER / "dispatch.c"), "-o", objects[0])
        for suffix, flags in X86_64.items() if x86 else [("any", ())]:
            for name in ("scan", "draws", "network"):
                objects.append(f"{scratch}/{name}_{suffix}.o")
                export = f"-DEXPORT(name)=vand_##name##_{suffix}"
                source = str(FOLDER / f"{name}.c")
                _run(command, *FLAGS, *flags, export, "-c", source, "-o", objects[-1])
        linked = f"{scratch}/{NAME}"
        _run(command, "-shared", "-pthread", *objects, "-lm", "-o", linked)
        return Path(linked).replace(folder / NAME)


def _run(*command: str) -> None:
    """Run the compiler; raises CompilerError with the end of what it says."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (the compiler, on our own files)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CompilerError(f"{command[0]} failed with exit code {done.returncode}: {said[0]}")
