"""Regularizers one after the other: their affine maps composed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from vand_robot.nn.kernel.affine import IDENTITY, AffineMap
from vand_robot.nn.regularizers.base import Regularizer, RegularizerTerms, Sample, Sampler
from vand_robot.nn.regularizers.vand import Vand

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


@dataclass(frozen=True)
class Chain(Regularizer):
    """Several regularizers; the first maps the cell's answer, each next one the result.

    The deterministic state is the composition of the members' own. `Vand` can only come first: it
    replaces the cell's answer by the response without memory, which later members do not have.
    """

    regularizers: tuple[Regularizer, ...] = ()
    """The members, in order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.regularizers, Regularizer):
            raise TypeError("a chain needs a tuple of regularizers; got one: write (member,)")
        members = tuple(self.regularizers)
        for member in members:
            if not isinstance(member, Regularizer):
                raise TypeError(f"a chain needs regularizers; got {member!r} among its members")
        object.__setattr__(self, "regularizers", members)  # a list will do
        if self.on != "state":
            raise ValueError('Chain acts on what its members act on; leave on="state"')
        if not self.regularizers:
            raise ValueError("a chain needs at least one regularizer")
        if any(isinstance(member, Vand) for member in self.flattened()[1:]):
            raise ValueError("Vand can only come first in a chain")

    def flattened(self) -> tuple[Regularizer, ...]:
        """The members in order, those of chains within the chain in their place."""
        found: list[Regularizer] = []
        for member in self.regularizers:
            found += member.flattened() if isinstance(member, Chain) else (member,)
        return tuple(found)

    def bind(self, num_layers: int, hidden_size: int, state_size: int) -> ChainSampler:
        """Make the sampler of one network."""
        return ChainSampler(self, num_layers, hidden_size, state_size)


class ChainSampler(Sampler):
    """The samplers of a chain's members.

    Args:
        recipe: the chain.
        num_layers: number of layers.
        hidden_size: units per layer, H.
        state_size: state variables per layer, S.
    """

    def __init__(self, recipe: Chain, num_layers: int, hidden_size: int, state_size: int) -> None:
        super().__init__(recipe, hidden_size, state_size)
        self.members = nn.ModuleList(
            member.bind(num_layers, hidden_size, state_size) for member in recipe.regularizers
        )

    def samplers(self) -> Iterable[Sampler]:
        """The members' samplers, in order."""
        return (member for member in self.members if isinstance(member, Sampler))

    def sample(self, layer: int, steps: int, like: Tensor) -> Sample:
        """See `Sampler.sample`."""
        first, *rest = (sampler.sample(layer, steps, like) for sampler in self.samplers())
        affine = first.affine
        for sample in rest:
            affine = affine.then(sample.affine)
        return Sample(affine, first.kl)

    def expected(self, like: Tensor) -> AffineMap:
        """See `Sampler.expected`."""
        affine = IDENTITY
        for sampler in self.samplers():
            affine = affine.then(sampler.expected(like))
        return affine

    def perturb_input(self, x: Tensor, layer: int) -> Tensor:
        """See `Sampler.perturb_input`."""
        for sampler in self.samplers():
            x = sampler.perturb_input(x, layer)
        return x

    def perturb_output(self, output: Tensor) -> Tensor:
        """See `Sampler.perturb_output`."""
        for sampler in self.samplers():
            output = sampler.perturb_output(output)
        return output

    def terms(self, kl: Tensor) -> RegularizerTerms:
        """See `Sampler.terms`: the KL is the first member's, the only one that can pay any."""
        first, *rest = self.samplers()
        terms = first.terms(kl)
        return RegularizerTerms(terms.kl, terms.penalty, {**_merged(rest), **terms.metric_tensors})

    def record(self, kl: Tensor, steps: Tensor | int) -> None:
        """See `Sampler.record`: the KL is the first member's."""
        next(iter(self.samplers())).record(kl, steps)

    def dual_step(self) -> None:
        """See `Sampler.dual_step`."""
        for sampler in self.samplers():
            sampler.dual_step()

    def reset_parameters(self) -> None:
        """See `Sampler.reset_parameters`."""
        for sampler in self.samplers():
            sampler.reset_parameters()

    def numbers(self) -> tuple[str, ...]:
        """See `Sampler.numbers`: those of all members."""
        return tuple(name for sampler in self.samplers() for name in sampler.numbers())

    def set_option(self, name: str, value: float) -> bool:
        """See `Sampler.set_option`: of every member that has it."""
        known = [sampler.set_option(name, value) for sampler in self.samplers()]
        self.recipe = Chain(tuple(sampler.recipe for sampler in self.samplers()))
        return any(known)

    def metrics(self) -> dict[str, Tensor]:
        """See `Sampler.metrics`."""
        return _merged(self.samplers())


def _merged(samplers: Iterable[Sampler]) -> dict[str, Tensor]:
    return {key: value for sampler in samplers for key, value in sampler.metrics().items()}
