"""What a training step costs, as a ratio to `torch.nn`: `python -m tests.benchmarks.recurrent`.

A training step here is forward, loss and backward, sampling included. The two contenders run in
turn in one process and the figure is the median of the ratios of neighboring runs, so that what
else the machine is doing falls on both. On one thread processor time is measured, on several what
a clock shows. A plain layer runs as it would by itself: by torch's kernel where that is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from vand_robot.nn import GRU, LSTM, Elman, GaussianHead, Recurrent, Vand, backend, tune_allocator

Work = Callable[[], object]


@dataclass(frozen=True)
class Size:
    """The size of one training batch."""

    batch: int
    """Sequences."""

    steps: int
    """Steps per sequence."""

    inputs: int
    """Size of the input."""

    units: int
    """Units of the layer."""


@dataclass(frozen=True)
class Row:
    """One measured comparison."""

    name: str
    """What was measured, and against what."""

    size: Size
    """The batch."""

    threads: int
    """Threads used by torch."""

    ratio: float
    """Median of time / reference time, pair by pair."""

    ours_ms: float
    """Median time [ms]."""

    reference_ms: float
    """Median time of the reference [ms]."""


SIZES = (
    Size(1, 400, 48, 64),
    Size(8, 100, 32, 64),
    Size(32, 200, 64, 128),
    Size(256, 40, 16, 32),
    Size(16, 300, 64, 256),
    Size(80, 35, 650, 650),
)
"""One long sequence; a few; a usual batch of a robot's policy; many short ones; a large network; a
language model's (Zaremba et al., 2014)."""

FEWEST, MOST = 3, 101
"""Pairs of runs per figure, whatever time they take."""

CONTENDERS: tuple[tuple[str, Callable[[Size], nn.Module], Callable[[Size], nn.Module]], ...] = (
    ("Elman / nn.RNN", lambda s: Elman(s.inputs, s.units), lambda s: nn.RNN(s.inputs, s.units)),
    ("GRU / nn.GRU", lambda s: GRU(s.inputs, s.units), lambda s: nn.GRU(s.inputs, s.units)),
    ("LSTM / nn.LSTM", lambda s: LSTM(s.inputs, s.units), lambda s: nn.LSTM(s.inputs, s.units)),
    (
        "VAND-Elman / nn.RNN",
        lambda s: Elman(s.inputs, s.units, regularizer=Vand()),
        lambda s: nn.RNN(s.inputs, s.units),
    ),
    (
        "VAND-GRU / nn.GRU",
        lambda s: GRU(s.inputs, s.units, regularizer=Vand()),
        lambda s: nn.GRU(s.inputs, s.units),
    ),
    (
        "VAND-LSTM / nn.LSTM",
        lambda s: LSTM(s.inputs, s.units, regularizer=Vand()),
        lambda s: nn.LSTM(s.inputs, s.units),
    ),
)


def training_step(layer: nn.Module, x: Tensor, target: Tensor) -> Work:
    """Return one forward and backward pass of a layer as something to time."""

    def work() -> None:
        layer.zero_grad(set_to_none=True)
        if isinstance(layer, Recurrent):
            result = layer.run(x)
            loss = (result.output - target).square().mean() + result.terms.penalty
        else:
            output, _ = layer(x)
            loss = (output - target).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped

    return work


def time_pair(
    ours: Work, reference: Work, seconds: float, threads: int = 1, most: int = MOST
) -> tuple[float, float, float]:
    """Time two jobs in turn, for about so many seconds; at most so many pairs of runs.

    Returns:
        Median ratio, and the median times [ms] of the two.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    for work in (ours, reference, ours, reference):  # warm caches and allocator
        work()
    times: list[tuple[float, float]] = []
    while len(times) < FEWEST or (sum(map(sum, times)) < seconds and len(times) < most):
        times.append((_seconds(ours, clock), _seconds(reference, clock)))
    ratio = statistics.median(a / b for a, b in times)
    return ratio, *(1e3 * statistics.median(column) for column in zip(*times, strict=True))


def _seconds(work: Work, clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start


def measure(size: Size, threads: int, seconds: float, only: str = "") -> list[Row]:
    """Measure the contenders whose name contains `only`, at one size and number of threads."""
    torch.set_num_threads(threads)
    x = torch.randn(size.steps, size.batch, size.inputs)
    target = torch.randn(size.steps, size.batch, size.units)
    rows = []
    for name, make, make_reference in CONTENDERS:
        if only not in name:
            continue
        ours, reference = (training_step(m(size), x, target) for m in (make, make_reference))
        rows.append(Row(name, size, threads, *time_pair(ours, reference, seconds, threads)))
    return rows


@torch.inference_mode()
def measure_control(runs: int = 2000) -> Row:
    """Measure a control step, VAND-GRU and head, against a bare cell and readout of `torch.nn`."""
    torch.set_num_threads(1)
    size, actions = Size(1, 1, 64, 128), 10
    layer = GRU(size.inputs, size.units, regularizer=Vand()).eval()
    head = GaussianHead(size.units, actions)
    cell, readout = nn.GRUCell(size.inputs, size.units), nn.Linear(size.units, actions)
    x, state = torch.randn(1, size.inputs), layer.initial_state(1)
    h = state[0]

    def ours() -> None:
        nonlocal state
        output, state = layer.step(x, state)
        head.mean(output)

    def reference() -> None:
        nonlocal h
        h = cell(x, h)
        readout(h)

    return Row("GRU step / nn.GRUCell", size, 1, *time_pair(ours, reference, 60.0, most=runs))


def main() -> None:
    """Print the table, or with --json the same as JSON."""
    parser = argparse.ArgumentParser(description="Training step time over torch.nn's.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seconds", type=float, default=1.5, help="time for each figure [s]")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads to try")
    parser.add_argument("--only", default="", help="contenders whose name contains this")
    options = parser.parse_args()
    tune_allocator()
    torch.manual_seed(0)
    rows = [
        row
        for size in SIZES
        for threads in options.threads
        for row in measure(size, threads, options.seconds, options.only)
    ]
    control = measure_control()
    if options.json:
        print(json.dumps([asdict(row) for row in (*rows, control)]))
        return
    print(f"backend: {backend()}; PyTorch {torch.__version__}")
    names = [name for name, *_ in CONTENDERS if options.only in name]
    print(f"{'batch steps in units':22}{'threads':>8}" + "".join(f"{n:>22}" for n in names))
    for size in SIZES:
        for threads in options.threads:
            line = " ".join(f"{value:4d}" for value in asdict(size).values())
            found = [row for row in rows if row.size == size and row.threads == threads]
            print(f"{line:22}{threads:8d}" + "".join(f"{row.ratio:22.2f}" for row in found))
    print(
        "control step with head, batch 1, 64 in, 128 units, 1 thread:"
        f" {1e3 * control.ours_ms:.0f} us, {control.ratio:.2f} of a bare nn.GRUCell and nn.Linear"
    )


if __name__ == "__main__":
    main()
