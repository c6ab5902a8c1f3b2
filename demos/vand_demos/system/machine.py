"""The machine that computes: what the last bits of a result depend on, besides the software."""

import functools
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from threadpoolctl import threadpool_info

_VARIABLES = ("OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY")
"""Environment variables that choose among the code paths of numerical libraries."""


@functools.cache
def machine_facts() -> Mapping[str, str]:
    """What the bits of numpy's and MuJoCo's results depend on here: fact -> value.

    `cpu`; `system`; `blas`, numpy's library of linear algebra with the kernels that it chose for
    this processor; and those of `OPENBLAS_CORETYPE` and its like that are set.
    """
    facts = {
        "cpu": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "blas": ", ".join(dict.fromkeys(_libraries())) or "unknown",
    }
    return {**facts, **{name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}}


def _processor() -> str:
    """The processor's model, as the system calls it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _libraries() -> Iterator[str]:
    import numpy as np  # noqa: F401, PLC0415  (it loads the library that is asked for)

    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in str(library["filepath"]):
            words = (library["internal_api"], library["version"], library.get("architecture"))
            yield " ".join(str(word) for word in words if word)


def differing_facts(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The facts that two machines or environments do not share, each in words.

    A fact that is known of one alone is left out: nothing can be said about it. An environment
    variable that is not there is known not to be set.
    """
    unset = dict.fromkeys(_VARIABLES, "not set")
    old, new = ({**unset, **facts} for facts in (before, now))
    return [
        f"{name} differs ({old[name]!r:.80}; {new[name]!r:.80})"
        for name in old
        if name in new and old[name] != new[name]
    ]


def likely_reason(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """A line that says why bits may differ from those of an earlier machine or environment."""
    differing = differing_facts(before, now)
    if differing:
        return f"likely reason: {'; '.join(differing)}"
    shared = [name for name in before if name in now]
    if not shared:
        return "reason unknown: nothing was stored about the machine that computed it"
    return f"no likely reason: the same {', '.join(shared)}"
