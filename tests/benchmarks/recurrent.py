"""What a training step costs, as a ratio to `torch.nn`: `python -m tests.benchmarks.recurrent`.

A training step here is forward, loss and backward, sampling included. The two contenders run in
turn in one process and the figure is the median of the ratios of neighboring runs, so that what
else the machine is doing falls on both.
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

from vand_robot.nn import GRU, LSTM, Elman, GaussianHead, Recurrent, Vand, tune_allocator

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


SIZES = (Size(32, 200, 64, 128), Size(16, 300, 64, 256), Size(1, 400, 48, 64))
"""Robot-sized policies: a usual batch, a large net, one long sequence."""

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


def time_pair(ours: Work, reference: Work, pairs: int) -> tuple[float, float, float]:
    """Time two jobs in turn.

    Returns:
        Median ratio, and the median times [ms] of the two.
    """
    for work in (ours, reference, ours, reference):  # warm caches and allocator
        work()
    times = [(_seconds(ours), _seconds(reference)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in times)
    return ratio, *(1e3 * statistics.median(column) for column in zip(*times, strict=True))


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(size: Size, threads: int, pairs: int, only: str = "") -> list[Row]:
    """Measure the contenders whose name contains `only`, at one size and number of threads."""
    torch.set_num_threads(threads)
    x = torch.randn(size.steps, size.batch, size.inputs)
    target = torch.randn(size.steps, size.batch, size.units)
    rows = []
    for name, make, make_reference in CONTENDERS:
        if only not in name:
            continue
        ours, reference = (training_step(m(size), x, target) for m in (make, make_reference))
        rows.append(Row(name, size, threads, *time_pair(ours, reference, pairs)))
    return rows


@torch.inference_mode()
def measure_control(pairs: int = 2000) -> Row:
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

    return Row("GRU step / nn.GRUCell", size, 1, *time_pair(ours, reference, pairs))


def main() -> None:
    """Print the table, or with --json the same as JSON."""
    parser = argparse.ArgumentParser(description="Training step time over torch.nn's.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--pairs", type=int, default=21, help="pairs of runs per figure")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads to try")
    parser.add_argument("--only", default="", help="contenders whose name contains this")
    options = parser.parse_args()
    tune_allocator()
    torch.manual_seed(0)
    rows = [
        row
        for size in SIZES
        for threads in options.threads
        for row in measure(size, threads, options.pairs, options.only)
    ]
    control = measure_control()
    if options.json:
        print(json.dumps([asdict(row) for row in (*rows, control)]))
        return
    columns = f"{'batch steps in units':22}{'threads':>8}  {'contenders':24}"
    print(f"{columns}{'ratio':>6}{'ms':>9}{'ref ms':>9}")
    for row in rows:
        size = " ".join(f"{value:4d}" for value in asdict(row.size).values())
        print(
            f"{size:22}{row.threads:8d}  {row.name:24}{row.ratio:6.2f}"
            f"{row.ours_ms:9.1f}{row.reference_ms:9.1f}"
        )
    print(
        "control step with head, batch 1, 64 in, 128 units, 1 thread:"
        f" {1e3 * control.ours_ms:.0f} us, {control.ratio:.2f} of a bare nn.GRUCell and nn.Linear"
    )


if __name__ == "__main__":
    main()
