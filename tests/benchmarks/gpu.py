"""What a training step costs on a GPU, as a ratio to cuDNN: `python -m tests.benchmarks.gpu`.

A training step here is forward and backward of one layer, inputs' gradient included, timed by CUDA
events: the median after a warm-up. An Elman network is held against cuDNN's GRU, as the GRU is.
VAND's row includes all that its layer does: drawing noise and masks, the KL, its figures. The rows
with maps are the scan alone, its coefficients at hand: noise and memory dropped (as VAND has it),
and all four coefficients, each with its gradient.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import nn

from vand_robot.nn import GRU, LSTM, AffineMap, Elman, Recurrent, Vand
from vand_robot.nn.kernel.scan import scan

SIZES = [(64, 300, 64, 256), (256, 300, 64, 512)]
"""(B, T, I, H) of the batches."""

WARM_UP, RUNS = 3, 15

Work = Callable[[], object]


def milliseconds(work: Work) -> float:
    """Median time of a piece of work on the GPU [ms]."""
    times = []
    for index in range(WARM_UP + RUNS):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        stop.record()
        stop.synchronize()
        if index >= WARM_UP:
            times.append(start.elapsed_time(stop))
    return statistics.median(times)


def of_torch(layer: nn.Module, x: torch.Tensor) -> Work:
    """A training step of a layer of `torch.nn`."""

    def work() -> None:
        output = layer(x)[0]
        output.backward(torch.ones_like(output))

    return work


def of_layer(layer: Recurrent, x: torch.Tensor) -> Work:
    """A training step of a layer of ours, its regularizer's terms included."""

    def work() -> None:
        result = layer.run(x)
        loss = result.terms.kl
        gradients = [torch.ones_like(result.output), torch.full_like(loss, 1e-3)]
        outputs = [result.output, loss]
        kept = 2 if loss.requires_grad else 1
        torch.autograd.backward(outputs[:kept], gradients[:kept])

    return work


def of_map(layer: Recurrent, x: torch.Tensor, presence: str) -> Work:
    """A scan with a map of which the coefficients named are there, and its gradients."""
    shape = (*x.shape[:2], layer.state_size)
    state = layer.initial_state(x.shape[1])[0]

    def draw(name: str) -> torch.Tensor | None:
        if name not in presence:
            return None
        if name == "keep":
            return (torch.rand(shape, device=x.device) > 0.1).float().requires_grad_()
        return (0.1 * torch.randn(shape, device=x.device)).requires_grad_()

    affine = AffineMap(*(draw(name) for name in ("A", "B", "C", "keep")))
    direction = torch.randn(shape, device=x.device)

    def work() -> None:
        path = scan(layer.cell, x, layer.weights(0), state, affine)
        outputs = [path.states] if path.gap is None else [path.states, path.gap]
        torch.autograd.backward(outputs, [direction] * len(outputs))

    return work


def rows(batch: int, steps: int, inputs: int, units: int) -> dict[str, tuple[Work, str]]:
    """Pieces of work at one size, each with the name of the peer it is held against."""
    options = {"input_size": inputs, "hidden_size": units, "device": "cuda"}
    x = torch.randn(steps, batch, inputs, device="cuda", requires_grad=True)
    gru, lstm = GRU(**options), LSTM(**options)
    return {
        "torch.nn.GRU": (of_torch(nn.GRU(inputs, units, device="cuda"), x), "torch.nn.GRU"),
        "torch.nn.LSTM": (of_torch(nn.LSTM(inputs, units, device="cuda"), x), "torch.nn.LSTM"),
        "Elman": (of_layer(Elman(**options), x), "torch.nn.GRU"),
        "GRU": (of_layer(gru, x), "torch.nn.GRU"),
        "LSTM": (of_layer(lstm, x), "torch.nn.LSTM"),
        "VAND-Elman": (of_layer(Elman(**options, regularizer=Vand()), x), "torch.nn.GRU"),
        "VAND-GRU": (of_layer(GRU(**options, regularizer=Vand()), x), "torch.nn.GRU"),
        "VAND-LSTM": (of_layer(LSTM(**options, regularizer=Vand()), x), "torch.nn.LSTM"),
        "GRU, map B keep": (of_map(gru, x, "B keep"), "torch.nn.GRU"),
        "LSTM, map B keep": (of_map(lstm, x, "B keep"), "torch.nn.LSTM"),
        "GRU, map A B C keep": (of_map(gru, x, "A B C keep"), "torch.nn.GRU"),
        "LSTM, map A B C keep": (of_map(lstm, x, "A B C keep"), "torch.nn.LSTM"),
    }


def main() -> None:
    """Print a table of times and ratios."""
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a GPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, float32")
    for size in SIZES:
        for recurrent, matmul in ((True, False), (True, True), (False, False)):
            torch.backends.cudnn.allow_tf32 = recurrent
            torch.backends.cuda.matmul.allow_tf32 = matmul
            print(f"\n(B, T, I, H) = {size}, allow_tf32: cudnn {recurrent}, matmul {matmul}")
            times: dict[str, float] = {}
            for name, (work, peer) in rows(*size).items():
                times[name] = milliseconds(work)
                ratio = times[name] / times[peer]
                print(f"{name:22} {times[name]:8.2f} ms  {ratio:5.2f} x {peer}", flush=True)


if __name__ == "__main__":
    main()
