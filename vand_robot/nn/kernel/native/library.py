"""The shared object: whether there is one, whether it fits, and which of its variants is used.

`VAND_BACKEND` in the environment, read once, says what scans on a CPU run by: `auto` (by default C
where it is there, else torch), `torch`, `c`, or one variant of C: `avx512`, `avx2`, `any`.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_int, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from vand_robot.nn.kernel.native.build import FOLDER, NAME, sources_hash

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "VAND_BACKEND"

VARIANTS = {4: ("avx512", "avx2"), 3: ("avx2",), 1: ("any",), 0: ()}
"""What `vand_level` says of the processor -> variants that run on it, the fastest first."""

SUFFIXES = {"avx512": "v4", "avx2": "v3", "any": "any"}
"""Variant -> suffix of its functions."""

INTEGERS = (
    *("cell", "steps", "batch", "inputs", "hidden", "threads", "fresh"),
    *("stride_A", "stride_B", "stride_C", "stride_keep"),
)
POINTERS = (
    *("lengths", "counts", "offsets"),
    *("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "A", "B", "C", "keep"),
    *(
        "path",
        "output",
        "acts",
        "gates",
        "gap",
        "mu",
        "d_path",
        "d_output",
        "d_gap",
        "d_x",
        "d_A",
        "d_C",
        "d_keep",
    ),
    *("d_weight_ih", "d_weight_hh", "d_bias_ih", "d_bias_hh"),
)


class Arguments(ctypes.Structure):
    """Arguments of a scan; `Scan` in scan.h, which says what they are."""

    _fields_ = (
        *((name, c_int64) for name in INTEGERS),
        *((name, c_void_p) for name in POINTERS),
    )


class BackendError(RuntimeError):
    """What `VAND_BACKEND` asks for is unknown, or is not there; the message says why."""

    exit_code = 2
    """Of a command: a mistake in what was asked for."""


@dataclass(frozen=True)
class Library:
    """The functions of one variant."""

    variant: str
    """Its name in `VARIANTS`."""

    forward: Any
    """forward(arguments) -> whether there was memory enough."""

    backward: Any
    """backward(arguments) -> the same."""

    normals: Any
    """normals(seed, count, out)."""

    mixture: Any
    """mixture(seed, rows, mask_rows, size, drop, sigma, scale, keep, noise) -> the same."""

    mixture_backward: Any
    """mixture_backward(rows, keep_rows, size, trapezoid, d_keep, d_noise, keep, noise, drop, sigma,
    scale, by_drop, by_sigma, by_scale) -> the same."""

    square_sums: Any
    """square_sums(rows, size, a, sums)."""

    network: Any
    """network(network, n, x, states, numbers, outputs, next) -> 0, or what is wrong."""


def backend() -> str:
    """Tell what layers scan by on a CPU: "torch", or a variant of C: "avx512", "avx2", "any".

    Raises:
        BackendError: if `VAND_BACKEND` asks for something else than there is.
    """
    found = library()
    return "torch" if found is None else found.variant


@cache
def library() -> Library | None:
    """Load what `VAND_BACKEND` asks for, once; None for torch.

    Raises:
        BackendError: if it asks for something else than there is.
    """
    asked = os.environ.get(VARIABLE, "auto").strip().lower() or "auto"
    if asked == "torch":
        return None
    choices = ("auto", "torch", "c", *SUFFIXES)
    if asked not in choices:
        raise BackendError(f"{VARIABLE} must be one of {', '.join(choices)}; got {asked!r}")
    try:
        return load(FOLDER / NAME, None if asked in {"auto", "c"} else asked)
    except BackendError as error:
        if asked == "auto":
            return None
        raise BackendError(f"{VARIABLE}={asked}: {error}") from None


def load(path: Path, variant: str | None = None) -> Library:
    """Load a shared object.

    Args:
        path: of it.
        variant: which variant; None for the fastest that runs here.

    Returns:
        Its functions.

    Raises:
        BackendError: if it is not there, cannot be loaded, was made from other sources, or the
            processor has not what it takes.
    """
    if not path.is_file():
        raise BackendError(
            f"no {path}: it is compiled at installation where a C compiler is, or later by"
            " python -m vand_robot.nn.kernel.native"
        )
    try:
        shared = ctypes.CDLL(str(path))
        shared.vand_sources.restype = c_char_p
        shared.vand_arguments_size.restype = c_int64
        fits = shared.vand_sources().decode() == sources_hash()
        fits &= shared.vand_arguments_size() == ctypes.sizeof(Arguments)
        level = int(shared.vand_level())
    except (OSError, AttributeError) as error:
        raise BackendError(f"cannot load {path}: {error}") from None
    if not fits:
        raise BackendError(f"{path} was compiled from other sources: compile it again")
    there = VARIANTS[level]
    if not there or variant not in {None, *there}:
        raise BackendError(f"the processor has {' and '.join(there) or 'neither AVX2 nor AVX-512'}")
    return _functions(shared, variant or there[0])


def _functions(shared: ctypes.CDLL, variant: str) -> Library:
    """Declare the functions of a variant."""

    def function(name: str, result: Any, *arguments: Any) -> Any:
        found = getattr(shared, f"vand_{name}_{SUFFIXES[variant]}")
        found.restype, found.argtypes = result, arguments
        return found

    return Library(
        variant,
        forward=function("forward", c_int, c_void_p),
        backward=function("backward", c_int, c_void_p),
        normals=function("normals", None, c_uint64, c_int64, c_void_p),
        mixture=function("mixture", c_int, c_uint64, *[c_int64] * 3, *[c_void_p] * 5),
        mixture_backward=function(
            "mixture_backward", c_int, *[c_int64] * 3, c_int, *[c_void_p] * 10
        ),
        square_sums=function("square_sums", None, *[c_int64] * 2, *[c_void_p] * 2),
        network=function("network", c_int, c_void_p, c_int64, *[c_void_p] * 5),
    )
