"""The classical regularizers: fixed noise on state or input, dropout, zoneout.

Sources: dropout on the recurrent state, one mask per sequence: Gal & Ghahramani, "A Theoretically
Grounded Application of Dropout in Recurrent Neural Networks", NeurIPS 2016. Zoneout: Krueger et
al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations", ICLR 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch

from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.normals import draw_normals
from vand_robot.nn.kernel.random_mask import draw_mask
from vand_robot.nn.regularizers.base import Mask, Regularizer, Sample, Sampler
from vand_robot.nn.regularizers.options import Range

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GaussianNoise(Regularizer):
    """h = mu + scale * eps: noise of one fixed scale on every unit, B = scale * eps."""

    scale: Annotated[float, Range(0)] = 0.05
    """Standard deviation of the noise [units of the state]."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        eps = draw_normals((steps, *like.shape), like)
        return AffineMap(B=eps.mul_(self.scale))


@dataclass(frozen=True)
class InputNoise(Regularizer):
    """x + scale * eps: noise of one fixed scale on the network's input; the state is untouched."""

    scale: Annotated[float, Range(0)] = 0.05
    """Standard deviation of the noise [units of the input]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on != "state":
            raise ValueError('InputNoise is on the input alone; leave on="state"')

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:
        """See `Regularizer.perturb_input`."""
        return x if layer else x + self.scale * torch.randn_like(x)


@dataclass(frozen=True)
class Dropout(Regularizer):
    """h = mask / (1 - p) * mu: a dropped unit is zero, A = mask / (1 - p)."""

    p: Annotated[float, Range(0, 1)] = 0.1
    """Probability that a unit is dropped."""

    mask: Mask = "step"
    """Draw a mask for every "step", or one for the whole "sequence" (Gal & Ghahramani)."""

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        keep = draw_mask(1 - self.p, steps if self.mask == "step" else 1, like).to(like.dtype)
        return AffineMap(A=keep.div_(1 - self.p))


@dataclass(frozen=True)
class InputDropout(Regularizer):
    """x mask / (1 - p): elements of every layer's input are dropped; the state is untouched.

    With one mask for the whole "sequence", and a `Dropout` of the state with one after it in a
    `Chain`, this is the dropout of Gal & Ghahramani. They drop h as the recurrence reads it, and
    for the layer above anew; here a state that is dropped is dropped for both.
    """

    p: Annotated[float, Range(0, 1)] = 0.1
    """Probability that an element of the input is dropped."""

    mask: Mask = "sequence"
    """Draw a mask for every "step", or one for the whole "sequence" (Gal & Ghahramani)."""

    layers: Literal["all", "first"] = "all"
    """Whether the inputs of all layers are dropped, or the network's own alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on != "state":
            raise ValueError('InputDropout is on the input alone; leave on="state"')

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:
        """See `Regularizer.perturb_input`."""
        if layer and self.layers == "first":
            return x
        return drop_elements(x, self.p, self.mask)


def drop_elements(x: Tensor, p: float, mask: Mask) -> Tensor:
    """Drop elements of (T, B, .) with probability p, and scale the rest by 1 / (1 - p).

    Args:
        x: what is dropped of.
        p: the probability, below 1.
        mask: one for every "step" or for the whole "sequence".
    """
    keep = draw_mask(1 - p, len(x) if mask == "step" else 1, x[0])
    return x * keep.to(x.dtype).div_(1 - p)


@dataclass(frozen=True)
class Zoneout(Regularizer):
    """A unit keeps its previous value with probability z: A = 1 - mask, C = mask.

    Krueger et al. have two rates for the LSTM: `z` of its hidden half and `z_cell` of its cell
    (0.05 and 0.5 on the characters of the Penn Treebank). The deterministic state is the expected
    one, (1 - z) mu + z h, as in theirs: zoneout slows the state down in training, and only the
    expectation runs at the same pace.
    """

    z: Annotated[float, Range(0, 1)] = 0.1
    """Probability that a unit keeps its previous value."""

    z_cell: Annotated[float | None, Range(0, 1)] = None
    """The same of the LSTM's cell; None: as z."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.z_cell is not None and self.on == "hidden":
            raise ValueError('z_cell is of the cell, which on="hidden" leaves alone')

    def bind(self, num_layers: int, hidden_size: int, state_size: int) -> Sampler:
        """Make the sampler of one network."""
        if self.z_cell is None:
            return super().bind(num_layers, hidden_size, state_size)
        if state_size == hidden_size:
            raise ValueError("Zoneout's z_cell is for the LSTM; this layer's state has no cell")
        return ZoneoutSampler(self, hidden_size, state_size)

    def draw(self, steps: int, like: Tensor) -> AffineMap:
        """See `Regularizer.draw`."""
        zoned = draw_mask(self.z, steps, like).to(like.dtype)
        return AffineMap(A=1 - zoned, C=zoned)

    def expected(self, like: Tensor) -> AffineMap:
        """See `Regularizer.expected`."""
        zoned = torch.full_like(like, self.z)[None]
        return AffineMap(A=1 - zoned, C=zoned)


class ZoneoutSampler(Sampler):
    """Zoneout with a rate for each half of the LSTM's state."""

    def rates(self, like: Tensor) -> Tensor:
        """Return the rate of every state variable, (S,), for states like `like` (B, S)."""
        recipe = self.recipe
        assert isinstance(recipe, Zoneout)  # noqa: S101  (as `Zoneout.bind` makes it)
        z_cell = recipe.z if recipe.z_cell is None else recipe.z_cell
        rates = like.new_full((self.state_size,), z_cell)
        rates[: self.hidden_size] = recipe.z
        return rates

    def sample(self, layer: int, steps: int, like: Tensor) -> Sample:  # noqa: ARG002  (all alike)
        """See `Sampler.sample`."""
        zoned = draw_mask(self.rates(like), steps, like).to(like.dtype)
        return Sample(AffineMap(A=1 - zoned, C=zoned))

    def expected(self, like: Tensor) -> AffineMap:
        """See `Sampler.expected`."""
        zoned = self.rates(like).expand_as(like)[None]
        return AffineMap(A=1 - zoned, C=zoned)
