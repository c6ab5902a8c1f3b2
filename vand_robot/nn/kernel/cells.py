"""The three transitions mu_t = f(x_t, h_{t-1}): Elman, GRU, LSTM, and their derivatives.

`transition` is the formula as one reads it, for autograd. `activate` and `backward` are the same
formula and its derivative in place, on buffers made before the loop over time. `step` is torch's
kernel for a single step. Tests hold them to each other.

`gates` is the input's part of the pre-activations, `W_ih x + b_ih`; `recurrent` the state's part,
`W_hh h + b_hh`. Gate order and weights are those of `torch.nn`.

The derivative is a linear recurrence in the gradient of the state. So its coefficients are made
for many steps at once, and a step costs a product or two and one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import linear

Nonlinearity = Literal["tanh", "relu", "sigmoid"]

StepBuffers = Sequence[Tensor]
"""Buffers of a cell, (T, B, .) each; the first holds the pre-activations, (T, B, G)."""

Step = Callable[[int], object]
"""Does one step in place."""


class BackwardPass(NamedTuple):
    """The derivative of a block of steps."""

    step: Step
    """step(t): d_mu_t to d_pre_t, and to what reaches h_{t-1} past the weights."""

    d_pre: Tensor
    """(T, B, G) gradient of `recurrent`, filled in step by step."""

    d_gates: Callable[[], Tensor]
    """Returns the gradient of `gates`, (T, B, G), once all steps are done; in d_pre's place."""


class Weights(NamedTuple):
    """Weights of one layer, as in `torch.nn`."""

    ih: Tensor
    """(G, I) of the input."""

    hh: Tensor
    """(G, H) of the state."""

    bias_ih: Tensor | None
    """(G,) or None."""

    bias_hh: Tensor | None
    """(G,) or None."""

    def prepared(self, inner: slice = slice(0)) -> Prepared:
        """Lay the weights out for the loop.

        Args:
            inner: which of the G pre-activations have their recurrent bias inside a product.

        Returns:
            Copies, transposed, the biases summed where they can be.
        """
        # Copies even where a transposed weight is contiguous as it is (one input, or one unit).
        to_gates = self.ih.t().clone(memory_format=torch.contiguous_format)
        to_recurrent = self.hh.t().clone(memory_format=torch.contiguous_format)
        if self.bias_ih is None or self.bias_hh is None:
            return Prepared(to_gates, to_recurrent, None, None)
        recurrent = self.bias_hh.clone()
        inside = recurrent[inner].clone()
        recurrent[inner] = 0
        return Prepared(to_gates, to_recurrent, self.bias_ih + recurrent, inside)


class Prepared(NamedTuple):
    """The same, laid out for the loop: transposed once, not at every step."""

    to_gates: Tensor
    """(I, G)"""

    to_recurrent: Tensor
    """(H, G)"""

    bias: Tensor | None
    """(G,) what is added to the projected input, or None."""

    inner: Tensor | None
    """Bias inside a product: (H,) for the GRU's candidate, else empty; None without biases."""


class Transition(Protocol):
    """A cell's formula: all that a cell of one's own needs, in a frozen dataclass.

    Without the methods of `Cell` it runs under autograd, step by step, several times slower.
    """

    @property
    def gates(self) -> int:
        """Number of pre-activations per unit (G = gates * H)."""
        ...

    @property
    def parts(self) -> int:
        """Number of state variables per unit (S = parts * H)."""
        ...

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """The cell's answer.

        Args:
            gates: (..., G) input's part of the pre-activations.
            recurrent: (..., G) state's part of the pre-activations.
            state: (..., S) previous state.

        Returns:
            (..., S) mu.
        """
        ...


@runtime_checkable
class Cell(Transition, Protocol):
    """A cell with a hand-written forward and backward pass, for `scan`."""

    def step(self, x: Tensor, state: Tensor, weights: Weights) -> Tensor:
        """Go one step with torch's own kernel: x (B, I), state (B, S) -> (B, S) mu."""
        ...

    def make_buffers(self, pre: Tensor) -> StepBuffers:
        """Make the buffers that go with pre-activations (..., G); pre is the first."""
        ...

    def prepare(self, weights: Weights) -> Prepared:
        """Lay a layer's weights out for `begin` and `activate`."""
        ...

    def begin(self, buffers: StepBuffers, inner: Tensor | None) -> None:
        """Go from the projected input in pre to what `W_hh h` is to be added to.

        Called on a block of the buffers, once, with `Prepared.inner`.
        """
        ...

    def activate(self, buffers: StepBuffers, before: Tensor, mu: Tensor) -> Step:
        """Prepare the steps of a block of time.

        Args:
            buffers: buffers after `begin`; at step t pre_t must hold `W_hh h_{t-1}` too.
            before: (T, B, S) the states h_{t-1}; row t is read at step t.
            mu: (T, B, S) where the answers go.

        Returns:
            What does step t.
        """
        ...

    def backward(
        self, buffers: StepBuffers, before: Tensor, d_mu: Tensor, d_before: Tensor | None
    ) -> BackwardPass:
        """Prepare the derivative of a block of time.

        Args:
            buffers: buffers as `activate` left them; they are not changed.
            before: (T, B, S) the states h_{t-1}.
            d_mu: (T, B, S) gradient of mu; row t is read at step t.
            d_before: (T, B, S) gradient of h_{t-1}; row t is added to at step t. None if no
                gradient reaches it.

        Returns:
            The derivative.
        """
        ...


@dataclass(frozen=True)
class ElmanCell:
    """h = tanh(W_ih x + W_hh h + b), relu(...) or sigmoid(...)."""

    nonlinearity: Nonlinearity = "tanh"
    gates: int = 1
    parts: int = 1

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  (this cell sees its state through `recurrent` alone)
        """See `Cell.transition`."""
        activation: Callable[[Tensor], Tensor] = getattr(torch, self.nonlinearity)
        return activation(gates + recurrent)

    def step(self, x: Tensor, state: Tensor, weights: Weights) -> Tensor:
        """See `Cell.step`."""
        if self.nonlinearity == "sigmoid":  # which torch has no kernel for
            gates = linear(x, weights.ih, weights.bias_ih)
            return torch.sigmoid(gates + linear(state, weights.hh, weights.bias_hh))
        kernel = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return kernel(x, state, *weights)

    def make_buffers(self, pre: Tensor) -> StepBuffers:
        """See `Cell.make_buffers`."""
        return [pre]

    def prepare(self, weights: Weights) -> Prepared:
        """See `Cell.prepare`."""
        return weights.prepared()

    def begin(self, buffers: StepBuffers, inner: Tensor | None) -> None:
        """See `Cell.begin`: nothing to do."""

    def activate(self, buffers: StepBuffers, before: Tensor, mu: Tensor) -> Step:  # noqa: ARG002  (as above)
        """See `Cell.activate`."""
        pre_t, mu_t = buffers[0].unbind(0), mu.unbind(0)
        if self.nonlinearity == "tanh":
            return lambda t: mu_t[t].copy_(pre_t[t].tanh_())
        if self.nonlinearity == "sigmoid":
            return lambda t: mu_t[t].copy_(pre_t[t].sigmoid_())
        return lambda t: torch.clamp_min(pre_t[t], 0, out=mu_t[t])

    def backward(
        self,
        buffers: StepBuffers,
        before: Tensor,  # noqa: ARG002  (as above)
        d_mu: Tensor,
        d_before: Tensor | None,  # noqa: ARG002  (reached through the weights alone)
    ) -> BackwardPass:
        """See `Cell.backward`."""
        (pre,) = buffers  # now holds mu, or still what relu was taken of
        if self.nonlinearity == "tanh":
            d_pre = torch.addcmul(pre.new_ones(()), pre, pre, value=-1)  # (T, B, H) slope, for now
        elif self.nonlinearity == "sigmoid":
            d_pre = torch.addcmul(pre, pre, pre, value=-1)
        else:
            d_pre = (pre > 0).to(pre.dtype)
        d_pre_t, d_mu_t = d_pre.unbind(0), d_mu.unbind(0)
        return BackwardPass(lambda t: d_pre_t[t].mul_(d_mu_t[t]), d_pre, lambda: d_pre)


@dataclass(frozen=True)
class GRUCell:
    """r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h = (1 - z) n + z h."""

    gates: int = 3
    parts: int = 1

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """See `Cell.transition`."""
        r, z, n = gates.chunk(3, -1)
        to_r, to_z, to_n = recurrent.chunk(3, -1)
        n = torch.tanh(torch.addcmul(n, torch.sigmoid(r + to_r), to_n))
        return torch.lerp(n, state, torch.sigmoid(z + to_z))

    def step(self, x: Tensor, state: Tensor, weights: Weights) -> Tensor:
        """See `Cell.step`."""
        return torch.gru_cell(x, state, *weights)

    def make_buffers(self, pre: Tensor) -> StepBuffers:
        """See `Cell.make_buffers`."""
        return [pre, pre.new_empty((*pre.shape[:-1], pre.shape[-1] // 3))]

    def prepare(self, weights: Weights) -> Prepared:
        """See `Cell.prepare`."""
        candidate = slice(2 * weights.hh.shape[1], None)
        return weights.prepared(inner=candidate)

    def begin(self, buffers: StepBuffers, inner: Tensor | None) -> None:
        """See `Cell.begin`."""
        pre, n = buffers  # will hold r, z, W_hn h + b_hn; and n
        candidate = pre[..., 2 * n.shape[-1] :]
        n.copy_(candidate)
        candidate[:] = 0 if inner is None else inner

    def activate(self, buffers: StepBuffers, before: Tensor, mu: Tensor) -> Step:
        """See `Cell.activate`."""
        pre, n = buffers
        r_t, z_t, inner_t = (gate.unbind(0) for gate in pre.chunk(3, -1))
        r_z_t, n_t = pre[..., : 2 * n.shape[-1]].unbind(0), n.unbind(0)
        before_t, mu_t = before.unbind(0), mu.unbind(0)

        def step(t: int) -> None:
            r_z_t[t].sigmoid_()
            n = n_t[t].addcmul_(r_t[t], inner_t[t]).tanh_()
            torch.lerp(n, before_t[t], z_t[t], out=mu_t[t])

        return step

    def backward(
        self, buffers: StepBuffers, before: Tensor, d_mu: Tensor, d_before: Tensor | None
    ) -> BackwardPass:
        """See `Cell.backward`."""
        pre, n = buffers
        r, z, inner = pre.chunk(3, -1)  # (T, B, H) each
        d_pre = torch.empty_like(pre)  # (T, B, 3H) slopes d pre / d mu, for now
        to_r, to_z, to_inner = d_pre.chunk(3, -1)
        to_n = torch.addcmul(n.new_ones(()), n, n, value=-1)  # 1 - n^2
        to_n.addcmul_(to_n, z, value=-1)  # (1 - z) (1 - n^2)
        torch.mul(to_n, r, out=to_inner)
        torch.addcmul(to_inner, to_inner, r, value=-1, out=to_r).mul_(inner)
        torch.addcmul(z, z, z, value=-1, out=to_z).mul_(before - n)
        d_pre_t = d_pre.view(*n.shape[:2], 3, n.shape[-1]).unbind(0)
        d_mu_t = d_mu.unbind(0)
        d_mu_every_gate_t = d_mu.unsqueeze(2).unbind(0)
        d_before_t, z_t = None if d_before is None else d_before.unbind(0), z.unbind(0)

        def step(t: int) -> None:
            d_pre_t[t].mul_(d_mu_every_gate_t[t])
            if d_before_t is not None:
                d_before_t[t].addcmul_(d_mu_t[t], z_t[t])

        def d_gates() -> Tensor:
            torch.mul(d_mu, to_n, out=to_inner)
            return d_pre

        return BackwardPass(step, d_pre, d_gates)


@dataclass(frozen=True)
class LSTMCell:
    """i, f, o = sigmoid(...), g = tanh(...); c = f c + i g; h = o tanh(c). The state is [h; c]."""

    gates: int = 4
    parts: int = 2

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """See `Cell.transition`."""
        i, f, g, o = (gates + recurrent).chunk(4, -1)
        _, c = state.chunk(2, -1)
        c = torch.addcmul(torch.sigmoid(f) * c, torch.sigmoid(i), torch.tanh(g))
        return torch.cat((torch.sigmoid(o) * torch.tanh(c), c), -1)

    def step(self, x: Tensor, state: Tensor, weights: Weights) -> Tensor:
        """See `Cell.step`."""
        h, c = state.chunk(2, -1)
        return torch.cat(torch.lstm_cell(x, (h, c), *weights), -1)

    def make_buffers(self, pre: Tensor) -> StepBuffers:
        """See `Cell.make_buffers`."""
        return [pre, pre.new_empty((*pre.shape[:-1], pre.shape[-1] // 4))]

    def prepare(self, weights: Weights) -> Prepared:
        """See `Cell.prepare`."""
        return weights.prepared()

    def begin(self, buffers: StepBuffers, inner: Tensor | None) -> None:
        """See `Cell.begin`: nothing to do."""

    def activate(self, buffers: StepBuffers, before: Tensor, mu: Tensor) -> Step:
        """See `Cell.activate`."""
        pre, squashed = buffers  # will hold i, f, g, o; and tanh(c)
        i_t, f_t, g_t, o_t = (gate.unbind(0) for gate in pre.chunk(4, -1))
        i_f_t, squashed_t = pre[..., : 2 * squashed.shape[-1]].unbind(0), squashed.unbind(0)
        _, c_before_t = (part.unbind(0) for part in before.chunk(2, -1))
        mu_h_t, mu_c_t = (part.unbind(0) for part in mu.chunk(2, -1))

        def step(t: int) -> None:
            i_f_t[t].sigmoid_()
            c = torch.mul(f_t[t], c_before_t[t], out=mu_c_t[t])
            c.addcmul_(i_t[t], g_t[t].tanh_())
            squashed = torch.tanh(c, out=squashed_t[t])
            torch.mul(o_t[t].sigmoid_(), squashed, out=mu_h_t[t])

        return step

    def backward(
        self, buffers: StepBuffers, before: Tensor, d_mu: Tensor, d_before: Tensor | None
    ) -> BackwardPass:
        """See `Cell.backward`."""
        pre, squashed = buffers
        size = squashed.shape[-1]
        i, f, g, o = pre.chunk(4, -1)  # (T, B, H) each
        d_pre = torch.empty_like(pre)  # (T, B, 4H) slopes d pre / d (c, c, c, h), for now
        to_i, to_f, to_g, to_o = d_pre.chunk(4, -1)
        one = pre.new_ones(())
        torch.addcmul(i, i, i, value=-1, out=to_i).mul_(g)
        torch.addcmul(f, f, f, value=-1, out=to_f).mul_(before[..., size:])
        torch.addcmul(one, g, g, value=-1, out=to_g).mul_(i)
        torch.addcmul(o, o, o, value=-1, out=to_o).mul_(squashed)
        to_c = torch.addcmul(one, squashed, squashed, value=-1).mul_(o)  # d h / d c
        d_pre_c_t = d_pre.view(*squashed.shape[:2], 4, size)[:, :, :3].unbind(0)
        d_pre_o_t = to_o.unbind(0)
        to_c_t, f_t = to_c.unbind(0), f.unbind(0)
        d_h_t, d_c_t = (part.unbind(0) for part in d_mu.chunk(2, -1))
        d_c_before_t = None if d_before is None else d_before[..., size:].unbind(0)
        d_c = torch.empty_like(to_c_t[0])  # (B, H) scratch
        d_c_every_gate = d_c.unsqueeze(1)

        def step(t: int) -> None:
            torch.addcmul(d_c_t[t], d_h_t[t], to_c_t[t], out=d_c)
            d_pre_c_t[t].mul_(d_c_every_gate)
            d_pre_o_t[t].mul_(d_h_t[t])
            if d_c_before_t is not None:
                d_c_before_t[t].addcmul_(d_c, f_t[t])

        return BackwardPass(step, d_pre, lambda: d_pre)
