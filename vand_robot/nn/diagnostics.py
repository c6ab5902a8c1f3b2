"""Diagnostics of a trained network's state: its memory, its stability, its shape.

All of it is measured on the deterministic state, the one used at inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.functional import jvp

from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.random_mask import require_mask
from vand_robot.nn.regularizers.chain import ChainSampler
from vand_robot.nn.regularizers.vand import VandSampler
from vand_robot.nn.regularizers.vand_posterior import kl_bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from vand_robot.nn.kernel.formula import Trajectory
    from vand_robot.nn.recurrent import Recurrent
    from vand_robot.nn.regularizers.base import Sampler


@torch.no_grad()
def memory_nats(
    layer: Recurrent[Any], x: Tensor, sigma: float | None = None, lengths: Tensor | None = None
) -> Tensor:
    """Measure what memory costs, unit by unit: VAND's bound along the deterministic path.

    Args:
        layer: a network. With `Vand`, in a chain too, its own scales and ratios are used.
        x: (T, B, I) inputs.
        sigma: scale of the noise to measure with [units of the state], unit prior, nothing
            dropped; needed for a network without `Vand`, and takes precedence with it.
        lengths: (B,) valid steps of each sequence; None for all.

    Returns:
        (num_layers, T, S) nats per step, mean over the sequences that reach the step (NaN if none).

    Raises:
        ValueError: if there is no sigma to measure with.
    """
    sampler = _vand(layer.regularizer)
    found = []
    paths, _ = _layers(layer, x, lambda like: AffineMap(keep=torch.ones_like(like)))
    for index, path in enumerate(paths):
        own: list[Tensor | None]
        if sigma is not None:
            scale = torch.full((layer.state_size,), sigma, dtype=x.dtype, device=x.device)
            own = [scale, None, None]
        elif sampler is not None:
            own = [
                None if value is None else value[index]
                for value in (sampler.sigma, sampler.drop, sampler.prior_scale)
            ]
        else:
            raise ValueError("memory_nats needs sigma for a network without Vand")
        assert path.gap is not None  # noqa: S101  (the map drops memory, so there is a gap)
        nats = kl_bound(path.gap.square(), *own)  # (T, B, S)
        if lengths is not None:
            over = lengths.to(x.device)
            valid = torch.arange(x.shape[0], device=x.device).unsqueeze(1) < over  # (T, B)
            nats = nats.masked_fill(~valid.unsqueeze(-1), torch.nan)
        found.append(nats.nanmean(1))
    return torch.stack(found)


def _vand(sampler: Sampler) -> VandSampler | None:
    """Find VAND, by itself or as a chain's first member, the only one it can be."""
    while isinstance(sampler, ChainSampler):
        sampler = next(iter(sampler.samplers()))
    return sampler if isinstance(sampler, VandSampler) else None


@torch.no_grad()
def lyapunov_exponent(layer: Recurrent[Any], state: Tensor, x: Tensor, discard: int = 0) -> Tensor:
    """Measure the largest Lyapunov exponent of the state's dynamics, by Benettin's method.

    A small difference of state grows as exp(exponent * t); below 0 the state forgets where it
    started. A random tangent vector is carried along the path and rescaled at every step.
    Benettin et al., Meccanica 15, 1980.

    Args:
        layer: a network.
        state: (num_layers, B, S) where the paths start.
        x: (T, B, I) inputs that drive the state; zeros for the autonomous dynamics.
        discard: steps in which the tangent vector turns into place before growth counts.

    Returns:
        (B,) nats per step; -inf where a difference vanishes within a step.

    Raises:
        ValueError: unless discard < T.
    """
    if not 0 <= discard < x.shape[0]:
        raise ValueError(f"discard must lie in 0..{x.shape[0] - 1}; got {discard!r}")
    tangent, _ = _normalized(torch.randn_like(state))
    growth = []
    for x_t in x:

        def advance(h: Tensor, x_t: Tensor = x_t) -> Tensor:
            return layer.transition(x_t, h)[1]

        state, change = jvp(advance, state, tangent)  # type: ignore[no-untyped-call]  # torch's
        tangent, norm = _normalized(change)
        growth.append(norm.log())  # (B,)
    return torch.stack(growth[discard:]).mean(0)


def _normalized(tangent: Tensor) -> tuple[Tensor, Tensor]:
    """Scale each sequence's tangent (num_layers, B, S) to norm 1; return its norm (B,) too."""
    norm = torch.linalg.vector_norm(tangent, dim=(0, 2))
    return tangent / norm.clamp_min(torch.finfo(norm.dtype).tiny)[:, None], norm


@dataclass(frozen=True)
class PCA:
    """Principal components of a cloud of states."""

    mean: Tensor
    """(S,) the cloud's center."""

    components: Tensor
    """(K, S) orthonormal directions, most variance first."""

    explained: Tensor
    """(K,) share of the total variance along each."""

    def project(self, states: Tensor) -> Tensor:
        """Project states (..., S) to (..., K)."""
        return (states - self.mean) @ self.components.t()


@torch.no_grad()
def pca(states: Tensor, count: int = 2, mask: Tensor | None = None) -> PCA:
    """Find the principal components of states.

    Args:
        states: (..., S).
        count: how many components, K.
        mask: (...) booleans, which states count; None for all.

    Returns:
        The components.

    Raises:
        TypeError: if the mask is not of booleans.
        ValueError: if there are not enough states or dimensions for that many, if the mask's shape
            does not fit, or if no state counts.
    """
    if mask is not None:
        require_mask(mask, states.shape[:-1])
    cloud = states.flatten(0, -2) if mask is None else states[mask]  # (N, S)
    most = min(cloud.shape[0] - 1, cloud.shape[1])
    if not 1 <= count <= most:
        raise ValueError(
            f"pca expects count in 1..{most} for {tuple(cloud.shape)} states; got {count!r}"
        )
    mean = cloud.mean(0)
    _, singular, directions = torch.linalg.svd(cloud - mean, full_matrices=False)
    variance = singular.square()
    return PCA(mean, directions[:count], variance[:count] / variance.sum().clamp_min(1e-30))


def gradient_norms(layer: Recurrent[Any], x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Measure how far back in time a loss reaches.

    Args:
        layer: a network.
        x: (T, B, I) inputs.
        loss: makes a scalar of the outputs (T, B, H), e.g. of the last alone.

    Returns:
        (num_layers, T, B) norms of the gradient of the loss by each state, all its effects on the
        future included.
    """
    touched: list[Tensor] = []

    def add_nothing(like: Tensor) -> AffineMap:
        touched.append(torch.zeros_like(like, requires_grad=True))
        return AffineMap(B=touched[-1])

    with torch.enable_grad():
        _, output = _layers(layer, x, add_nothing)
        gradients = torch.autograd.grad(loss(output), touched)
    return torch.stack([torch.linalg.vector_norm(gradient, dim=-1) for gradient in gradients])


def _layers(
    layer: Recurrent[Any], x: Tensor, extra: Callable[[Tensor], AffineMap]
) -> tuple[list[Trajectory], Tensor]:
    """Run all layers deterministically, with a map of one's own after the regularizer's.

    Returns:
        The layers' trajectories, and the last layer's output (T, B, H).
    """
    paths: list[Trajectory] = []
    inputs = x
    for index in range(layer.num_layers):
        start = layer.initial_state(x.shape[1], dtype=x.dtype)[index]  # (B, S)
        mine = extra(start.expand(x.shape[0], *start.shape))
        expected = layer.regularizer.expected(start)
        # What drops memory has to come first, what is to be differentiated last.
        affine = expected.then(mine) if mine.keep is None else mine.then(expected)
        path = layer.scan_layer(index, inputs, start, affine)
        inputs = layer.readout(index, path.states, inputs)
        paths.append(path)
    return paths, inputs
