"""What produced a run: machine, software and data, kept beside it in `provenance.json`."""

import functools
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch

from vand_demos.episode import utc_now
from vand_demos.system.files import disk_errors, require_regular, write_bytes
from vand_demos.system.json_record import JsonRecord, clean_text
from vand_demos.system.machine import machine_facts
from vand_demos.system.version import software_version
from vand_robot.layout import RunFolder
from vand_robot.nn import backend

PACKAGES = ("vand-robot", "torch", "numpy", "scipy", "mujoco", "h5py", "gymnasium")
"""Packages whose versions numbers depend on."""

SCAN = "scan"
"""Fact of a machine: what recurrent layers scan by on a CPU."""

_GIT_S = 10.0
"""How long git may take to name a commit [s]."""


@dataclass(frozen=True)
class DataFile:
    """A file of demonstrations as it was when a run began."""

    path: str
    """Where it was."""
    sha256: str
    """Hash of its bytes."""

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """The file as it is now, read piece by piece.

        Raises:
            VandError: It is no regular file, or cannot be read.
        """
        require_regular(Path(path))
        with disk_errors("read", Path(path)), Path(path).open("rb") as file:
            return cls(clean_text(str(path)), file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class TrainingSession:
    """One start of a training run: the first one, or a resumption."""

    began_at: str
    """ISO 8601, UTC."""
    from_update: int
    """Updates that were done before."""
    machine: Mapping[str, str]
    """Fact -> value, see `machine`."""
    software: Mapping[str, str]
    """Fact -> value, see `software`."""
    data: tuple[DataFile, ...]
    """The demonstrations."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "began_at": self.began_at,
            "from_update": self.from_update,
            "machine": dict(self.machine),
            "software": dict(self.software),
            "data": [vars(file) for file in self.data],
        }

    @classmethod
    def from_json(cls, record: JsonRecord) -> Self:
        """The session that `to_json` wrote.

        Raises:
            VandError: Something is missing or of another type; the line names file and key.
        """
        return cls(
            began_at=record.text("began_at"),
            from_update=record.integer("from_update", 0),
            machine=record.texts("machine"),
            software=record.texts("software"),
            data=tuple(
                DataFile(file.text("path"), file.text("sha256"))
                for file in record.record_list("data")
            ),
        )

    @property
    def facts(self) -> dict[str, str]:
        """What bits depend on: software and machine."""
        return {**self.software, **self.machine}


def machine(device: torch.device | None = None) -> dict[str, str]:
    """What the bits of a policy's numbers depend on here, besides the software.

    Those of `machine_facts`; `torch_kernels`, the instructions that torch's own kernels use; `mkl`,
    its library of linear algebra; `threads`, of torch at this moment; `scan`, what recurrent layers
    scan by on a CPU, see `vand_robot.nn.backend`; and the name of a GPU.
    """
    mkl = re.search(r"Math Kernel Library Version ([\w.]+)", torch.__config__.show())
    gpu = device is not None and device.type == "cuda"
    return {
        **machine_facts(),
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "mkl": mkl[1] if mkl else "none",
        "threads": str(torch.get_num_threads()),
        SCAN: backend(),
        **({"gpu": torch.cuda.get_device_name(device)} if gpu else {}),
    }


@functools.cache
def software() -> Mapping[str, str]:
    """Versions of what numbers depend on; the commit of a source tree, and a hash of our code."""
    root = Path(__file__).resolve().parents[2]
    facts = {name: software_version(name) for name in PACKAGES}
    facts["python"] = platform.python_version()
    facts["code"] = _code_hash()
    commit = _commit(root)
    return {**facts, "commit": commit} if commit else facts


def _code_hash() -> str:
    """Hash of the lines of the three packages, whatever tree or wheel they are in."""
    digest = sha256()
    for name in ("vand_envs", "vand_demos", "vand_robot"):
        for folder in import_module(name).__path__:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _commit(root: Path) -> str:
    """The commit of the source tree that runs; empty where there is none, or no git."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    try:
        call = functools.partial(
            subprocess.run, capture_output=True, text=True, check=True, timeout=_GIT_S
        )
        commit = call([git, "-C", str(root), "rev-parse", "HEAD"]).stdout.strip()
        changed = call([git, "-C", str(root), "status", "--porcelain", "-uno"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}, and changes" if changed else commit


def note_start(
    folder: RunFolder, data: Sequence[str], device: torch.device, *, from_update: int
) -> None:
    """Adds the present process to what produced a run.

    Args:
        folder: The run.
        data: Its demonstrations.
        device: Where it is trained.
        from_update: Updates that are done; 0 for a new run.

    Raises:
        VandError: A file of demonstrations or `provenance.json` cannot be read, or the disk is
            full.
    """
    session = TrainingSession(
        began_at=utc_now(),
        from_update=from_update,
        machine=machine(device),
        software=software(),
        data=tuple(DataFile.of(os.fspath(path)) for path in data),
    )
    earlier = read_provenance(folder) if from_update else ()
    sessions = [one.to_json() for one in (*earlier, session)]
    content = json.dumps({"sessions": sessions}, indent=1)
    write_bytes(folder.provenance, f"{content}\n".encode())


def read_provenance(folder: RunFolder) -> tuple[TrainingSession, ...]:
    """What produced a run, a session after the other; none where it is not known.

    Raises:
        VandError: The file cannot be read, or something in it is of another type.
    """
    if not folder.provenance.exists():  # of a run of an earlier version
        return ()
    record = JsonRecord.read(folder.provenance)
    return tuple(TrainingSession.from_json(one) for one in record.record_list("sessions"))
