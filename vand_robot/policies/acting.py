"""A policy's control step in one call of C: the same as `RecurrentPolicy.advance`, to rounding.

A network of this size takes torch ten times as long to call as to compute. Where all of it is known
to C, which is so but for images, some cells and regularizers of one's own, it is written down as
operations (`vand_robot.nn.kernel.native.native_network`) when the policy first acts, and again when
a weight or a module is not where it was. Weights are not copied.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vand_robot.nn import GRU, LSTM, Elman, GaussianHead, GaussianMixtureHead, Regularizer, Sampler
from vand_robot.nn.kernel.cells import ElmanCell
from vand_robot.nn.kernel.native.native_network import Kind, NativeNetwork, UnfitError
from vand_robot.nn.kernel.native.native_scan import ELMAN
from vand_robot.nn.kernel.native.native_scan import GRU as GRU_NUMBER
from vand_robot.nn.kernel.native.native_scan import LSTM as LSTM_NUMBER
from vand_robot.nn.regularizers.chain import ChainSampler
from vand_robot.nn.regularizers.classic import Zoneout
from vand_robot.nn.regularizers.vand import VandSampler

if TYPE_CHECKING:
    from vand_robot.policies.recurrent import RecurrentPolicy


@dataclass(frozen=True, eq=False)
class WrittenStep:
    """What became of writing a policy's control step down."""

    network: NativeNetwork | None
    """The step in C; None where it is torch's."""


def native_network(policy: "RecurrentPolicy") -> NativeNetwork | None:
    """Write a policy's control step down for C.

    Args:
        policy: The policy.

    Returns:
        The network, or None where C does not know all of it, or is not there.
    """
    if policy.spec.images or policy.device.type != "cpu":
        return None
    try:
        return _network(policy)
    except UnfitError:
        return None


def _network(policy: "RecurrentPolicy") -> NativeNetwork:
    """See `native_network`; raises UnfitError."""
    core, size = policy.core, policy.spec.observation_size
    network = NativeNetwork(size, core.num_layers, core.state_size)
    seen, width = _normalizer(policy, network)
    at = seen
    encoder = network.child(policy, "encoder")
    for name in encoder._modules:  # noqa: SLF001  (with their names)
        module = network.child(encoder, name)
        at = network.layer(at, module, width)
        width = module.out_features if isinstance(module, nn.Linear) else width
    at = _core(policy, network, at, width)
    at = _attention(policy, network, at, seen)
    output = _head(policy, network, at)
    network.finish(output, policy.spec.action_size)
    return network


def _normalizer(policy: "RecurrentPolicy", network: NativeNetwork) -> tuple[int, int]:
    """The column and number of normalized observations, with those at close range."""
    size, normalizer = policy.spec.observation_size, network.child(policy, "normalizer")
    assert normalizer is policy.normalizer  # noqa: S101  (it has a type)
    close, ranges = policy.normalizer.close, policy.normalizer.ranges
    seen = network.room(policy.normalizer.width)
    scale, offset = (network.tensor(normalizer, name, (size,)) for name in ("scale", "offset"))
    clip = policy.normalizer.clip
    network.add(Kind.AFFINE, 0, seen, size, weight=scale, bias=offset, number=clip)
    if policy.normalizer.width > size:
        index = network.tensor(normalizer, "close", close.shape)
        ranges = network.tensor(normalizer, "ranges", ranges.shape)
        near = {"count": len(ranges), "index": index, "weight": ranges}
        network.add(Kind.NEAR, 0, seen + size, len(close), **near)
    return seen, policy.normalizer.width


def _core(policy: "RecurrentPolicy", network: NativeNetwork, at: int, inputs: int) -> int:
    """The column of the last layer's output (H)."""
    core = network.child(policy, "core")
    if type(core) not in {Elman, GRU, LSTM} or not isinstance(core, (Elman, GRU, LSTM)):
        raise UnfitError(f"there is no {type(core).__name__} in C")
    after = network.after
    for layer in range(core.num_layers):
        before = network.before + layer * core.state_size
        after = network.after + layer * core.state_size
        _cell(core, layer, network, (at, inputs, before, after))
        _deterministic_map(network, core, before, after)
        at, inputs = after, core.hidden_size
    return after


def _cell(
    core: Elman | GRU | LSTM, layer: int, network: NativeNetwork, where: tuple[int, int, int, int]
) -> None:
    """The answer of one layer.

    Args:
        core: The recurrent core.
        layer: Number of the layer.
        network: What it is written to.
        where: Columns of the input, its width, columns of the state before and after.
    """
    at, inputs, before, after = where
    units = core.hidden_size
    rows = core.cell.gates * units

    def weight(name: str, *shape: int) -> Tensor:
        return network.tensor(core, f"{name}_l{layer}", shape)

    of_input, of_state = weight("weight_ih", rows, inputs), weight("weight_hh", rows, units)
    biases = [weight(name, rows) if core.bias else None for name in ("bias_ih", "bias_hh")]
    acts = network.room(4 * units)
    if isinstance(core, GRU):  # reset and update gate, the state's part of the candidate, the rest
        gates, candidate = slice(2 * units), slice(2 * units, None)
        network.linear(at, acts, of_input, biases[0], gates)
        network.linear(before, acts, of_state, biases[1], gates, adds=True)
        network.linear(before, acts + 2 * units, of_state, biases[1], candidate)
        network.linear(at, acts + 3 * units, of_input, biases[0], candidate)
        number = GRU_NUMBER
    else:
        network.linear(at, acts, of_input, biases[0])
        network.linear(before, acts, of_state, biases[1], adds=True)
        cell = core.cell
        number = ELMAN[cell.nonlinearity] if isinstance(cell, ElmanCell) else LSTM_NUMBER
    network.add(Kind.STEP, acts, after, units, beside=before, flag=number)


def _deterministic_map(
    network: NativeNetwork, core: Elman | GRU | LSTM, before: int, after: int
) -> None:
    """The regularizer's map of the deterministic state, on the state at `after`."""
    sampler = network.child(core, "regularizer")
    assert isinstance(sampler, Sampler)  # noqa: S101  (as the layer makes it)
    if _is_identity(sampler):
        return
    recipe = sampler.recipe
    if not isinstance(recipe, Zoneout) or type(recipe) is not Zoneout:
        raise UnfitError(f"{type(recipe).__name__} has a map of its own")
    network.expect(sampler, "recipe", recipe)  # a schedule puts another one in its place
    affine = sampler.expected(torch.zeros(1, core.state_size, dtype=torch.float32, device="cpu"))
    factor, kept = network.keep(affine.A), network.keep(affine.C)
    network.add(Kind.MAP, before, after, core.state_size, weight=factor, bias=kept)


def _is_identity(sampler: Sampler) -> bool:
    """Whether the deterministic state is the cell's answer."""
    if isinstance(sampler, ChainSampler):
        return all(_is_identity(member) for member in sampler.samplers())
    kind = type(sampler).expected
    plain = kind is Sampler.expected and type(sampler.recipe).expected is Regularizer.expected
    return plain or kind is VandSampler.expected


def _attention(policy: "RecurrentPolicy", network: NativeNetwork, at: int, seen: int) -> int:
    """The column of the features (H) that the head reads."""
    attention = policy.object_attention
    if attention is None:
        return at
    found = network.child(policy, "object_attention")
    units, objects = policy.config.hidden_size, policy.objects
    ranges, start = len(policy.config.near_field_scales_m), policy.spec.observation_size
    numbers = (policy.normalizer.width - start) // (ranges * objects)
    both = network.room(units + attention.heads * ranges * numbers)
    logits = network.layer(at, network.child(found, "choice"), units)
    network.add(Kind.COPY, at, both, units)
    network.add(
        Kind.ATTEND,
        logits,
        both + units,
        numbers,
        beside=seen + start,
        depth=objects,
        count=attention.heads,
        flag=ranges,
    )
    width = units + attention.heads * ranges * numbers
    at = network.layer(both, network.child(found, "layer"), width)
    return network.layer(at, nn.Tanh(), units)


def _head(policy: "RecurrentPolicy", network: NativeNetwork, at: int) -> int:
    """The column of the mean action (A)."""
    head = network.child(policy, "head")
    answer = network.layer(at, network.child(head, "linear"), policy.config.hidden_size)
    if type(head) is GaussianHead:
        return answer  # which begins with the mean
    if type(head) is not GaussianMixtureHead or not isinstance(head, GaussianMixtureHead):
        raise UnfitError(f"there is no {type(head).__name__} in C")
    actions = policy.spec.action_size
    to = network.room(actions)
    network.add(
        Kind.PICK,
        answer,
        to,
        actions,
        beside=network.number,
        depth=2 * actions,
        count=head.modes,
        flag=policy.config.mixture.act == "sample",
    )
    return to
