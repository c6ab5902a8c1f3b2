"""The three transitions mu_t = f(x_t, h_{t-1}): Elman, GRU, LSTM, and their derivatives.

Each exists twice. `transition` is the formula as one reads it, for autograd, single steps and all
steps at once; `forward` and `backward` are the same formula unrolled over time with no allocation
between steps. Tests hold the two, and `torch.nn`, to each other.

`gates` is the input's part of the pre-activations, `W_ih x + b_ih`; `recurrent` the state's part,
`W_hh h + b_hh`. Gate order and weights are those of `torch.nn`.

The backward pass of every cell is a linear recurrence in the gradient of the state, so all its
coefficients are computed for all steps at once and a step costs a product or two and one matrix
product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

Nonlinearity = Literal["tanh", "relu"]

Advance = Callable[[int, Tensor, Tensor], None]
"""advance(t, previous (B, S), mu (B, S)): writes mu_t."""

Retreat = Callable[[int, Tensor, Tensor], None]
"""retreat(t, d_mu (B, S), d_previous (B, S)): adds what reaches the previous state through mu_t."""


class Gradients(NamedTuple):
    """What the reverse scan leaves behind."""

    gates: Tensor
    """(T, B, G) gradient of the input's part of the pre-activations."""

    recurrent: Tensor
    """(T, B, G) gradient of the state's part of the pre-activations."""


class Cell(Protocol):
    """A transition and its derivative."""

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

    def forward(
        self, gates: Tensor, weight_t: Tensor, bias: Tensor | None
    ) -> tuple[Advance, tuple[Tensor, ...]]:
        """Prepare the scan.

        Args:
            gates: (T, B, G) input's part of the pre-activations.
            weight_t: (H, G) transposed recurrent weights.
            bias: (G,) the recurrent product's bias, or None.

        Returns:
            The step, and the buffers that it fills for `backward`.
        """
        ...

    def backward(
        self, trace: tuple[Tensor, ...], mu: Tensor, weight: Tensor
    ) -> tuple[Retreat, Callable[[Tensor], Gradients]]:
        """Prepare the reverse scan.

        Args:
            trace: what `forward` left.
            mu: (T, B, S) the cell's answers.
            weight: (G, H) recurrent weights.

        Returns:
            The step, and what makes the gradients of all d_mu (T, B, S) once all steps are done.
        """
        ...


@dataclass(frozen=True)
class ElmanCell:
    """h = tanh(W_ih x + W_hh h + b) or relu(...)."""

    nonlinearity: Nonlinearity = "tanh"
    gates: int = 1
    parts: int = 1

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002  (the Elman cell sees its state through `recurrent` alone)
        """See `Cell.transition`."""
        activation = torch.tanh if self.nonlinearity == "tanh" else torch.relu
        return activation(gates + recurrent)

    def forward(
        self,
        gates: Tensor,
        weight_t: Tensor,
        bias: Tensor | None,
    ) -> tuple[Advance, tuple[Tensor, ...]]:
        """See `Cell.forward`."""
        pre_t = (gates if bias is None else gates + bias).unbind(0)  # T x (B, H)
        activate = torch.tanh_ if self.nonlinearity == "tanh" else torch.relu_

        def advance(t: int, previous: Tensor, mu: Tensor) -> None:
            activate(torch.addmm(pre_t[t], previous, weight_t, out=mu))

        return advance, ()

    def backward(
        self,
        trace: tuple[Tensor, ...],  # noqa: ARG002  (mu says it all)
        mu: Tensor,
        weight: Tensor,
    ) -> tuple[Retreat, Callable[[Tensor], Gradients]]:
        """See `Cell.backward`."""
        if self.nonlinearity == "tanh":
            slope = torch.addcmul(mu.new_ones(()), mu, mu, value=-1)  # (T, B, H)
        else:
            slope = (mu > 0).to(mu.dtype)  # (T, B, H)
        d_pre = slope.unbind(0)  # overwritten, slope by gradient

        def retreat(t: int, d_mu: Tensor, d_previous: Tensor) -> None:
            d_previous.addmm_(d_pre[t].mul_(d_mu), weight)

        return retreat, lambda _: Gradients(gates=slope, recurrent=slope)


@dataclass(frozen=True)
class GRUCell:
    """r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h = (1 - z) n + z h."""

    gates: int = 3
    parts: int = 1

    def transition(self, gates: Tensor, recurrent: Tensor, state: Tensor) -> Tensor:
        """See `Cell.transition`."""
        size = state.shape[-1]
        r, z = torch.sigmoid(gates[..., : 2 * size] + recurrent[..., : 2 * size]).chunk(2, -1)
        n = torch.tanh(torch.addcmul(gates[..., 2 * size :], r, recurrent[..., 2 * size :]))
        return torch.lerp(n, state, z)

    def forward(
        self, gates: Tensor, weight_t: Tensor, bias: Tensor | None
    ) -> tuple[Advance, tuple[Tensor, ...]]:
        """See `Cell.forward`."""
        size = weight_t.shape[0]
        pre = gates.clone() if bias is None else gates + bias  # (T, B, 3H) -> r, z, W_hn h + b_hn
        pre[..., 2 * size :] = 0.0 if bias is None else bias[2 * size :]
        n = torch.empty_like(pre[..., :size], memory_format=torch.contiguous_format)  # (T, B, H)
        pre_t, rz_t = pre.unbind(0), pre[..., : 2 * size].unbind(0)
        r_t, z_t = pre[..., :size].unbind(0), pre[..., size : 2 * size].unbind(0)
        inner_t, input_t = pre[..., 2 * size :].unbind(0), gates[..., 2 * size :].unbind(0)
        n_t = n.unbind(0)

        def advance(t: int, previous: Tensor, mu: Tensor) -> None:
            pre_t[t].addmm_(previous, weight_t)
            rz_t[t].sigmoid_()
            torch.addcmul(input_t[t], r_t[t], inner_t[t], out=n_t[t]).tanh_()
            torch.lerp(n_t[t], previous, z_t[t], out=mu)

        return advance, (pre, n)

    def backward(
        self,
        trace: tuple[Tensor, ...],
        mu: Tensor,
        weight: Tensor,
    ) -> tuple[Retreat, Callable[[Tensor], Gradients]]:
        """See `Cell.backward`."""
        pre, n = trace
        size = n.shape[-1]
        r, z, inner = pre.chunk(self.gates, -1)  # each (T, B, H)
        remain = 1 - z
        to_n = torch.addcmul(remain, remain, n * n, value=-1)  # (T, B, H) (1 - z) (1 - n^2)
        slope = torch.empty_like(pre)  # (T, B, 3H) d pre-activation / d mu
        to_r, to_z, to_inner = slope.chunk(self.gates, -1)
        torch.mul(to_n, r, out=to_inner)
        torch.mul(to_inner, inner, out=to_r)
        torch.addcmul(to_r, to_r, r, value=-1, out=to_r)
        torch.mul(mu - n, remain, out=to_z)  # z (h - n) (1 - z), with z (h - n) = mu - n
        d_pre_t = slope.unbind(0)  # overwritten, slope by gradient
        d_pre_gates_t = slope.view(*slope.shape[:2], 3, size).unbind(0)
        z_t = z.unbind(0)

        def retreat(t: int, d_mu: Tensor, d_previous: Tensor) -> None:
            d_pre_gates_t[t].mul_(d_mu.unsqueeze(1))
            d_previous.addcmul_(d_mu, z_t[t]).addmm_(d_pre_t[t], weight)

        def finish(d_mu: Tensor) -> Gradients:
            d_gates = slope.clone()
            torch.mul(d_mu, to_n, out=d_gates[..., 2 * size :])
            return Gradients(gates=d_gates, recurrent=slope)

        return retreat, finish


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

    def forward(
        self,
        gates: Tensor,
        weight_t: Tensor,
        bias: Tensor | None,
    ) -> tuple[Advance, tuple[Tensor, ...]]:
        """See `Cell.forward`."""
        size = weight_t.shape[0]
        pre = gates.clone() if bias is None else gates + bias  # (T, B, 4H) -> i, f, g, o
        squashed = torch.empty_like(pre[..., :size], memory_format=torch.contiguous_format)
        pre_t, squashed_t = pre.unbind(0), squashed.unbind(0)
        i_f_t = pre[..., : 2 * size].unbind(0)
        i_t, f_t, g_t, o_t = (gate.unbind(0) for gate in pre.chunk(self.gates, -1))

        def advance(t: int, previous: Tensor, mu: Tensor) -> None:
            h, c = previous.chunk(2, -1)
            mu_h, mu_c = mu.chunk(2, -1)
            pre_t[t].addmm_(h, weight_t)
            i_f_t[t].sigmoid_()
            g_t[t].tanh_()
            o_t[t].sigmoid_()
            torch.mul(f_t[t], c, out=mu_c).addcmul_(i_t[t], g_t[t])
            torch.tanh(mu_c, out=squashed_t[t])
            torch.mul(o_t[t], squashed_t[t], out=mu_h)

        return advance, (pre, squashed)

    def backward(
        self,
        trace: tuple[Tensor, ...],
        mu: Tensor,
        weight: Tensor,
    ) -> tuple[Retreat, Callable[[Tensor], Gradients]]:
        """See `Cell.backward`."""
        pre, squashed = trace
        size = squashed.shape[-1]
        i, f, g, o = pre.chunk(self.gates, -1)  # each (T, B, H)
        slope = torch.empty_like(pre)  # (T, B, 4H) d pre-activation / d (c, c, c, h)
        to_i, to_f, to_g, to_o = slope.chunk(self.gates, -1)
        written = i * g
        torch.addcmul(written, written, i, value=-1, out=to_i)  # g i (1 - i)
        torch.sub(mu[..., size:], written, out=to_f)  # f c_{t-1}
        torch.addcmul(to_f, to_f, f, value=-1, out=to_f)  # c_{t-1} f (1 - f)
        torch.addcmul(i, written, g, value=-1, out=to_g)  # i (1 - g^2)
        torch.addcmul(mu[..., :size], mu[..., :size], o, value=-1, out=to_o)
        to_c = torch.addcmul(o, mu[..., :size], squashed, value=-1)  # d h / d c = o (1 - tanh^2)
        d_pre_t = slope.unbind(0)  # overwritten, slope by gradient
        d_pre_c_t = slope[..., : 3 * size].view(*slope.shape[:2], 3, size).unbind(0)
        d_pre_o_t = to_o.unbind(0)
        to_c_t, f_t = to_c.unbind(0), f.unbind(0)
        d_c = torch.empty_like(to_c_t[0])  # (B, H) scratch

        def retreat(t: int, d_mu: Tensor, d_previous: Tensor) -> None:
            d_mu_h, d_mu_c = d_mu.chunk(2, -1)
            d_previous_h, d_previous_c = d_previous.chunk(2, -1)
            torch.addcmul(d_mu_c, d_mu_h, to_c_t[t], out=d_c)
            d_pre_c_t[t].mul_(d_c.unsqueeze(1))
            d_pre_o_t[t].mul_(d_mu_h)
            d_previous_c.addcmul_(d_c, f_t[t])
            d_previous_h.addmm_(d_pre_t[t], weight)

        return retreat, lambda _: Gradients(gates=slope, recurrent=slope)
