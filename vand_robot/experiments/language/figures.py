"""Perplexity by epoch, as Noisin's figure 1."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from vand_robot.experiments.language.training import Epoch, perplexity
from vand_robot.figures.style import plain_numbers, styled


@styled
def perplexity_curves(runs: Mapping[str, Sequence[Epoch]]) -> Figure:
    """Training (dashed) and validation perplexity by epoch.

    Args:
        runs: Name of a run -> its epochs.
    """
    figure = Figure(figsize=(5.2, 3.2))
    axes = figure.subplots()
    for name, epochs in runs.items():
        numbers = [epoch.epoch for epoch in epochs]
        (line,) = axes.plot(numbers, [perplexity(e.valid_nll) for e in epochs], label=name)
        train = [perplexity(e.train_nll) for e in epochs]
        axes.plot(numbers, train, color=line.get_color(), linestyle="--", linewidth=1.2)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity, training dashed")
    axes.legend(frameon=False)
    return figure
