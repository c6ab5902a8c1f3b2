"""Base of all regularizers: the recipe, the sampler of one network, the terms of the loss.

A `Regularizer` is a frozen recipe without parameters; it may be shared, printed and compared. A
network calls `bind` to get its `Sampler`, the module that draws the affine map of each layer's
state before the scan and holds whatever is learned.

Regularizers act on samples only. The deterministic state that stands for them at inference is the
cell's own answer, h = mu (A = 1, B = C = 0), unless a regularizer says otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vand_robot.nn.kernel.affine import IDENTITY, AffineMap
from vand_robot.nn.regularizers.options import check_options, options_of_class

Mask = Literal["step", "sequence"]
Part = Literal["state", "hidden"]


_mirrored: ContextVar[bool] = ContextVar("mirrored", default=False)


@contextmanager
def mirrored(mirror: bool = True) -> Iterator[None]:
    """Draw, within, the mirror image of what would be drawn: the same noise with the other sign."""
    token = _mirrored.set(mirror)
    try:
        yield
    finally:
        _mirrored.reset(token)


def is_mirrored() -> bool:
    """Whether noise is drawn with the other sign, see `mirrored`."""
    return _mirrored.get()


@dataclass(frozen=True)
class Sample:
    """One layer's draw for one sequence."""

    affine: AffineMap
    """The map of the state; coefficients (T or 1, B, S)."""

    kl: Callable[[Tensor, Tensor | None], Tensor] | None = None
    """kl(gap (T, B, S), valid (T, B) or None) -> scalar [nats per step], where gap = mu - m is what
    memory adds to the answer; None where nothing is paid."""


@dataclass(frozen=True)
class RegularizerTerms:
    """Terms of a regularizer in the loss, and its metrics."""

    kl: Tensor
    """Scalar [nats per step]: mean over valid steps and batch, sum over units and layers."""

    penalty: Tensor
    """Scalar to add to the loss."""

    metric_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> metric, a detached scalar on the network's device."""

    @property
    def metrics(self) -> dict[str, float]:
        """Name -> metric, as numbers; on a GPU this waits for it, once for all."""
        if not self.metric_tensors:
            return {}
        values: list[float] = torch.stack(list(self.metric_tensors.values())).tolist()
        return dict(zip(self.metric_tensors, values, strict=True))


class Sampler(nn.Module):
    """A regularizer bound to one network of `num_layers` layers.

    Args:
        recipe: the regularizer.
        hidden_size: units per layer, H.
        state_size: state variables per layer, S (H; 2H for the LSTM, hidden before cell).
    """

    def __init__(self, recipe: "Regularizer", hidden_size: int, state_size: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.hidden_size = hidden_size
        self.state_size = state_size

    def extra_repr(self) -> str:
        """Show the recipe in the module's printout."""
        return repr(self.recipe)

    def sample(
        self,
        layer: int,  # noqa: ARG002  (for samplers with parameters of their own in each layer)
        steps: int,
        like: Tensor,
    ) -> Sample:
        """Draw one layer's map of the state.

        Args:
            layer: which layer.
            steps: T.
            like: (B, S) the initial state; gives batch, size, type and device.

        Returns:
            The draw.
        """
        return Sample(self._widened(self.recipe.draw(steps, self._narrowed(like))))

    def expected(self, like: Tensor) -> AffineMap:
        """Return the map (1, B, S) of the deterministic state, for states like `like` (B, S)."""
        return self._widened(self.recipe.expected(self._narrowed(like)))

    def _narrowed(self, like: Tensor) -> Tensor:
        return like if self.recipe.on == "state" else like[:, : self.hidden_size]

    def _widened(self, affine: AffineMap) -> AffineMap:
        if affine.is_identity or self.recipe.on == "state":
            return affine
        return affine.widened(self.state_size)

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:
        """Perturb a layer's input (T, B, .); most regularizers leave it alone."""
        return self.recipe.perturb_input(x, layer)

    def perturb_output(self, output: Tensor) -> Tensor:
        """Perturb the last layer's output (T, B, H); most regularizers leave it alone."""
        return self.recipe.perturb_output(output)

    def terms(self, kl: Tensor) -> RegularizerTerms:
        """Turn the layers' summed KL [nats per step] into terms of the loss."""
        return RegularizerTerms(kl, torch.zeros_like(kl), self.metrics())

    def metrics(self) -> dict[str, Tensor]:
        """Name -> metric that is known without running, a detached scalar."""
        return {}

    def numbers(self) -> tuple[str, ...]:
        """Names of the options that are numbers, which `set_option` can set."""
        options = options_of_class(type(self.recipe))
        return tuple(option.name for option in options if option.type in (int, float))

    def set_option(self, name: str, value: float) -> bool:
        """Set an option to another number, for schedules; the recipe is replaced by a changed one.

        Args:
            name: of the option.
            value: the number.

        Returns:
            Whether there is such an option.

        Raises:
            ValueError: if the value is out of its bounds, or the option is not the user's to set.
        """
        if name not in self.numbers():
            return False
        changed: dict[str, Any] = {name: value}
        self.recipe = replace(self.recipe, **changed)
        return True

    def reset_parameters(self) -> None:
        """Put whatever is learned back to where the recipe says it starts."""

    def record(self, kl: Tensor, steps: Tensor | int) -> None:
        """Note what a pass in training mode paid, for the next `dual_step`.

        Args:
            kl: scalar [nats per step].
            steps: valid steps of all sequences that it is the mean of.
        """

    def dual_step(self) -> None:
        """Move what is set by dual ascent; once for each step of the optimizer, after it."""

    def strengths(self) -> Sequence[nn.Parameter]:
        """The strengths whose effect on the weights' next step is asked for."""
        return ()

    def held_out_parameters(self) -> Sequence[nn.Parameter]:
        """What follows the held-out loss, see `vand_robot.nn.held_out`; empty for most."""
        return ()

    def take_hypergradients(
        self, gradients: Sequence[Tensor], optimizer: torch.optim.Optimizer
    ) -> None:
        """Set the gradients of what follows the held-out loss.

        Args:
            gradients: of the held-out loss by `strengths()`, over the weights' learning rate.
            optimizer: of the model.
        """


@dataclass(frozen=True)
class Regularizer:
    """A recipe that draws affine maps; the base of all, and by itself the one that does nothing."""

    on: Part = field(default="state", kw_only=True)
    """Part that is regularized: the whole "state", or only the LSTM's "hidden" half."""

    def __post_init__(self) -> None:
        """Check the options' values; raises ValueError."""
        check_options(self)

    def bind(self, num_layers: int, hidden_size: int, state_size: int) -> Sampler:  # noqa: ARG002  (for samplers with parameters in each layer)
        """Make the sampler of one network."""
        return Sampler(self, hidden_size, state_size)

    def draw(self, steps: int, like: Tensor) -> AffineMap:  # noqa: ARG002  (nothing to draw here)
        """Draw the map of `steps` steps for states like `like` (B, S)."""
        return IDENTITY

    def expected(self, like: Tensor) -> AffineMap:  # noqa: ARG002  (the cell's answer, whatever the state)
        """Return the map (1, B, S) of the deterministic state that stands for the samples."""
        return IDENTITY

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:  # noqa: ARG002  (the same in all layers here)
        """Perturb a layer's input (T, B, .)."""
        return x

    def perturb_output(self, output: Tensor) -> Tensor:
        """Perturb the last layer's output (T, B, H)."""
        return output


@dataclass(frozen=True)
class NoRegularizer(Regularizer):
    """The plain network."""
