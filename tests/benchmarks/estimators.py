"""How well the gradient of VAND's d is estimated: `python -m tests.benchmarks.estimators`.

At networks trained with d of 0.02 or 0.1 and sigma = 0.1: the estimated gradient of the loss in the
logit of d beside a finite difference with common random numbers, and the standard deviation of the
default estimator at a batch of 32 with masks drawn in other ways. Then pairs of trainings that
differ in the estimator alone. Some six minutes of one core.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from vand_robot.nn import GaussianHead, Recurrent, Vand, make_cell, parameter_groups
from vand_robot.nn.regularizers import vand_posterior

UNITS, BATCH, UPDATES = 16, 32, 400
SEEDS = range(3)
LARGE, REPEATS, STEP = 1000, 10, 0.2
DRAWS = 150


def sine(batch: int) -> tuple[Tensor, Tensor]:
    """The next point of a sine of any phase."""
    wave = torch.sin(0.3 * torch.arange(31.0) + 6.28 * torch.rand(batch, 1)).t()[..., None]
    return wave[:-1], wave[1:]


def recall(batch: int) -> tuple[Tensor, Tensor]:
    """A number that is seen once, to be told at each of the next 20 steps."""
    told = 2 * torch.rand(1, batch, 1) - 1
    return torch.cat((told, torch.zeros(20, batch, 1))), told.expand(21, batch, 1)


TASKS: dict[str, Callable[[int], tuple[Tensor, Tensor]]] = {"recall": recall, "sine": sine}


DROPS = (0.02, 0.1)
ADAPTIVE = Vand(drop=0.1, sigma=0.1)


def train(task: str, cell: str, seed: int, recipe: Vand) -> tuple[Recurrent, GaussianHead]:
    """A network that has learned a task."""
    torch.manual_seed(seed)
    layer = make_cell(cell, 1, UNITS, regularizer=recipe)
    head = GaussianHead(UNITS, 1, min_std=0.05, shared_std=True)
    model = torch.nn.ModuleList([layer, head])
    optimizer = torch.optim.Adam(parameter_groups(model, learning_rate=1e-2))
    for _ in range(UPDATES):
        x, y = TASKS[task](BATCH)
        result = layer.run(x)
        optimizer.zero_grad()
        (head.nll(result.output, y) + result.terms.penalty).backward()
        optimizer.step()
    return layer, head


def use(layer: Recurrent, estimator: str) -> None:
    """Change the estimator of a network."""
    layer.regularizer.vand = replace(layer.regularizer.vand, estimator=estimator)


def data_term(task: str, layer: Recurrent, head: GaussianHead, batch: int) -> Tensor:
    """The loss of a fresh batch, without the penalty."""
    x, y = TASKS[task](batch)
    return head.nll(layer.run(x).output, y)


def gradients(task: str, layer: Recurrent, head: GaussianHead, batch: int, count: int) -> Tensor:
    """Estimated derivatives (count,) of the loss as the logits of all d move together."""
    logit = layer.regularizer.drop_logit
    return torch.stack(
        [
            torch.autograd.grad(data_term(task, layer, head, batch), logit)[0].sum()
            for _ in range(count)
        ]
    )


@torch.no_grad()
def finite_difference(task: str, layer: Recurrent, head: GaussianHead) -> float:
    """The same derivative, without any estimator of a gradient."""
    sampler, differences = layer.regularizer, []
    logit = sampler.drop_logit.detach().clone()
    for seed in range(REPEATS):
        ends = []
        for sign in (1, -1):
            sampler.drop_logit.copy_(logit + sign * STEP)
            torch.manual_seed(seed)
            ends.append(data_term(task, layer, head, LARGE).item())
        differences.append((ends[0] - ends[1]) / (2 * STEP))
    sampler.drop_logit.copy_(logit)
    return sum(differences) / REPEATS


def independent(probability: Tensor, uniform: Tensor) -> Tensor:
    """Every sequence draws for itself."""
    return uniform < probability


def antithetic(probability: Tensor, uniform: Tensor) -> Tensor:
    """The second half of the batch mirrors the first."""
    half = uniform.shape[1] // 2
    return torch.cat((uniform[:, :half], 1 - uniform[:, :half]), 1) < probability


def stratified(probability: Tensor, uniform: Tensor) -> Tensor:
    """As many are dropped in every draw as the ratio says, up to one."""
    batch = uniform.shape[1]
    order = torch.rand_like(uniform).argsort(1)
    return (order + uniform[:, :1]) / batch < probability


def common(probability: Tensor, uniform: Tensor) -> Tensor:
    """One mask for the whole batch."""
    return (uniform[:, :1] < probability).expand_as(uniform)


WAYS = (independent, antithetic, stratified, common)
"""Ways to draw masks for a batch."""


@contextmanager
def masks(way: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Draw masks in another way."""
    before, ways = vand_posterior.draw_mask, set()

    def draw(probability: Tensor, steps: int, like: Tensor) -> Tensor:
        ways.add(way)
        return way(probability, torch.rand(steps, *like.shape))

    vand_posterior.draw_mask = draw
    yield
    vand_posterior.draw_mask = before
    assert way in ways, "masks are drawn elsewhere"


def measure(task: str, cell: str, seed: int, drop: float) -> None:
    """Print what the estimators say at one network trained with a fixed d."""
    layer, head = train(task, cell, seed, Vand(drop=drop, sigma=0.1, adaptive=False))
    expected, ratios = finite_difference(task, layer, head), []
    layer.regularizer.drop_logit.requires_grad_(True)
    torch.manual_seed(seed)
    for estimator in ("straight-through", "trapezoid"):
        use(layer, estimator)
        ratios.append(gradients(task, layer, head, LARGE, REPEATS).mean().item() / expected)
    spreads = []
    for way in WAYS:
        with masks(way):
            found = gradients(task, layer, head, BATCH, DRAWS)
        spreads.append((found.std() / found.mean().abs()).item())
    shares, deviations = (" ".join(f"{x:.3f}" for x in values) for values in (ratios, spreads))
    where = f"{task} {cell} {seed} d={drop}"
    print(f"{where} | {expected:.4f} | {shares} | {deviations}", flush=True)


def compare(task: str, cell: str, seed: int) -> None:
    """Print how two trainings end that differ in the estimator alone."""
    ends = []
    for estimator in ("straight-through", "trapezoid"):
        layer, head = train(task, cell, seed, replace(ADAPTIVE, estimator=estimator))
        torch.manual_seed(1000 + seed)
        x, y = TASKS[task](LARGE)
        with torch.no_grad():
            result = layer.run(x)
            bound = head.nll(result.output, y) + result.terms.penalty
            plain = head.nll(layer.run(x, deterministic=True).output, y)
        ends.append((bound.item(), plain.item(), layer.regularizer.drop.mean().item()))
    columns = " | ".join(f"{a:.4f} {b:.4f}" for a, b in zip(*ends, strict=True))
    better = "trapezoid" if ends[1][0] < ends[0][0] else "straight-through"
    print(f"{task} {cell} {seed} | {columns} | {better}", flush=True)


def main() -> None:
    """Print a row for each network, then one for each pair of trainings."""
    torch.set_num_threads(1)
    networks = list(itertools.product(TASKS, ("gru", "lstm"), SEEDS))
    ways = " ".join(way.__name__ for way in WAYS)
    print("task cell seed d | finite difference | straight-through, trapezoid over it")
    print(f"    | deviation of the trapezoid over its mean at batch {BATCH}: {ways}")
    for network, drop in itertools.product(networks, DROPS):
        measure(*network, drop)
    print(
        "\npairs, straight-through and trapezoid | loss + beta KL | deterministic loss | d | better"
    )
    for network in networks:
        compare(*network)


if __name__ == "__main__":
    main()
