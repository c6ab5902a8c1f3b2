"""One control step of a small network in one call: a list of operations that C runs row by row.

Calling torch costs microseconds for every operation, more than most of them take for one row. Here
a network is written down once, as operations between columns of a workspace (`network.c`). They
hold addresses of the weights, not copies of them: what trains, loads or averages in place is acted
on by the next call. Whether all weights still lie where they did is asked before every call.
"""

from __future__ import annotations

import ctypes
from ctypes import c_double, c_int64, c_void_p
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn

from vand_robot.nn.kernel.native.library import library


class Kind(IntEnum):
    """Operations of `network.c`, in its order."""

    LINEAR = 0
    AFFINE = 1
    NEAR = 2
    NORMALIZE = 3
    ACTIVATE = 4
    STEP = 5
    MAP = 6
    ATTEND = 7
    COPY = 8
    PICK = 9


ACTIVATIONS: dict[type[nn.Module], int] = {nn.Tanh: 0, nn.ReLU: 1, nn.SiLU: 5}
"""Modules that are one function of each number -> its number in C."""


class Operation(ctypes.Structure):
    """One operation; the same layout as `Operation` in network.c."""

    _fields_ = (
        *((name, c_int64) for name in ("kind", "at", "beside", "to")),
        *((name, c_int64) for name in ("width", "depth", "count", "flag")),
        *((name, c_void_p) for name in ("weight", "bias", "index")),
        ("number", c_double),
    )


class _Arguments(ctypes.Structure):
    """The same layout as `Network` in network.c."""

    _fields_ = (
        *((name, c_int64) for name in ("count", "inputs", "layers", "state", "columns")),
        *((name, c_int64) for name in ("output", "outputs")),
        ("operations", ctypes.POINTER(Operation)),
    )


class UnfitError(Exception):
    """A network cannot be run in C; the message says why."""


class NotFiniteError(ValueError):
    """An input or an output is not finite."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the {what} is not finite")
        self.what = what
        """"input" or "output"."""


class NativeNetwork:
    """A network as operations; make one, add operations in their order, then `finish`.

    A row's columns are the input, the states before, the states after, one number for a draw, and
    what `room` gives. Methods that add operations take the column that they read `at` and the one
    that they write `to`.

    Args:
        inputs: numbers in an input, D.
        layers: recurrent layers.
        state: numbers in the state of one, S.

    Raises:
        UnfitError: if the scan in C is not there, by which this is compiled too.
    """

    def __init__(self, inputs: int, layers: int, state: int) -> None:
        found = library()
        if found is None:
            raise UnfitError("there is no scan in C")
        self._run = found.network
        self._size = (layers, state)
        self._inputs = inputs
        self.before, self.after = inputs, inputs + layers * state
        """Columns of the states."""
        self.number = inputs + 2 * layers * state
        """Column of the number for a draw."""
        self._columns = self.number + 1
        self._operations: list[Operation] = []
        self._places: list[tuple[dict[str, Any], str, object]] = []
        self._tensors: list[tuple[dict[str, Any], str]] = []
        self._addresses: list[int] = []
        self._kept: list[Tensor] = []

    def room(self, width: int) -> int:
        """Give so many columns, and return the first."""
        first = self._columns
        self._columns += width
        return first

    def child(self, parent: nn.Module, name: str) -> nn.Module:
        """Return a module of another one, and note that it must stay there."""
        module = parent._modules[name]  # noqa: SLF001  (what attributes are looked up in)
        assert module is not None  # noqa: S101  (the policy makes it)
        self._places.append((parent._modules, name, module))  # noqa: SLF001  (as above)
        return module

    def expect(self, module: nn.Module, name: str, value: object) -> None:
        """Note that an attribute of a module must stay this object."""
        self._places.append((module.__dict__, name, value))

    def keep(self, value: Tensor | None) -> Tensor:
        """Keep a constant (1, 1, S) for as long as the network is there, as (S,).

        Raises:
            UnfitError: if it is None.
        """
        if value is None:
            raise UnfitError("a part of a map is missing")
        self._kept.append(value.flatten().contiguous())
        return self._kept[-1]

    def tensor(self, module: nn.Module, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a weight or buffer of a module, and note where it lies.

        Raises:
            UnfitError: if it is parametrized, or not as C reads it.
        """
        for kept in (module._parameters, module._buffers):  # noqa: SLF001  (as above)
            value = kept.get(name)
            if value is not None:
                break
        else:
            raise UnfitError(f"{name} is not a plain weight")
        if value.dtype not in {torch.float32, torch.int64} or value.device.type != "cpu":
            raise UnfitError(f"{name} is {value.dtype} on {value.device}")
        if value.shape != shape or not value.is_contiguous():
            raise UnfitError(f"{name} is laid out in another way")
        self._tensors.append((kept, name))
        self._addresses.append(value.data_ptr())
        return value

    def add(self, kind: Kind, at: int, to: int, width: int, **more: Any) -> None:
        """Add an operation; what it takes more is said in network.c."""
        pointers = {
            key: value.data_ptr() if isinstance(value, Tensor) else value
            for key, value in more.items()
        }
        self._operations.append(Operation(kind=kind, at=at, to=to, width=width, **pointers))

    def linear(
        self,
        at: int,
        to: int,
        weight: Tensor,
        bias: Tensor | None,
        rows: slice = slice(None),
        adds: bool = False,
    ) -> None:
        """Add a product with some rows of a matrix; `adds`: to what is there."""
        weight, bias = weight[rows], None if bias is None else bias[rows]
        width, depth = weight.shape
        self.add(Kind.LINEAR, at, to, width, depth=depth, flag=adds, weight=weight, bias=bias)

    def layer(self, at: int, module: nn.Module, inputs: int, to: int | None = None) -> int:
        """Add a linear layer, a normalization or an activation; returns the column of its answer.

        Raises:
            UnfitError: if it is of another kind.
        """
        kind = type(module)
        if kind is nn.Linear and isinstance(module, nn.Linear):
            width = module.out_features
            to = self.room(width) if to is None else to
            weight = self.tensor(module, "weight", (width, inputs))
            bias = None if module.bias is None else self.tensor(module, "bias", (width,))
            self.linear(at, to, weight, bias)
            return to
        to = self.room(inputs) if to is None else to
        if kind in ACTIVATIONS:
            self.add(Kind.ACTIVATE, at, to, inputs, flag=ACTIVATIONS[kind])
        elif isinstance(module, nn.LayerNorm) and kind is nn.LayerNorm:
            names = ("weight", "bias") if module.elementwise_affine else ()
            affine = {name: self.tensor(module, name, (inputs,)) for name in names}
            self.add(Kind.NORMALIZE, at, to, inputs, number=module.eps, **affine)
        else:
            raise UnfitError(f"there is no {kind.__name__} in C")
        return to

    def finish(self, output: int, outputs: int) -> None:
        """Say which columns are the output; then the network can run."""
        operations = (Operation * len(self._operations))(*self._operations)
        self._reference = ctypes.byref(
            _Arguments(
                *(len(operations), self._inputs, *self._size, self._columns, output, outputs),
                operations,
            )
        )

    def holds(self) -> bool:
        """Tell whether modules and weights are still where they were."""
        for parent, name, module in self._places:
            if parent.get(name) is not module:
                return False
        try:
            return [kept[name].data_ptr() for kept, name in self._tensors] == self._addresses
        except (KeyError, AttributeError):  # parametrized, or taken away
            return False

    def takes(self, states: Tensor, n: int) -> bool:
        """Tell whether states are (layers, n, S) float32 as C reads them."""
        layers, size = self._size
        return (
            states.shape == (layers, n, size)
            and states.dtype == torch.float32
            and states.is_contiguous()
            and states.device.type == "cpu"
        )

    def __call__(
        self, x: Any, states: Tensor, outputs: Any, numbers: Tensor | None = None
    ) -> Tensor:
        """Advance n rows by one step.

        Args:
            x: (n, D) inputs, a contiguous and writable buffer of float32.
            states: (layers, n, S), of which `takes` is true.
            outputs: (n, A), a buffer likewise, where the outputs go, clipped to [-1, 1].
            numbers: (n,) float32 in [0, 1) for draws; None for none.

        Returns:
            The next states (layers, n, S).

        Raises:
            NotFiniteError: if an input or an output is not finite.
            MemoryError: if there is no memory for the rows.
        """
        after, n = torch.empty_like(states), states.shape[1]
        if not n:
            return after
        fault = self._run(
            self._reference,
            n,
            _address(x),
            states.data_ptr(),
            None if numbers is None else numbers.data_ptr(),
            _address(outputs),
            after.data_ptr(),
        )
        if fault == 3:
            raise MemoryError("no memory for a step of a network")
        if fault:
            raise NotFiniteError("input" if fault == 1 else "output")
        return after


def _address(values: Any) -> Any:
    """Return where a contiguous, writable array lies: in a tenth of the time of `.ctypes.data`."""
    return ctypes.byref(ctypes.c_float.from_buffer(values))
