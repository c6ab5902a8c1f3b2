"""Base of the recurrent layers: whole sequences, single steps, packed batches, states.

The public layers are in `layers.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from vand_robot.nn import checks
from vand_robot.nn.kernel.formula import in_transform
from vand_robot.nn.kernel.packed import in_order, packed_like, padded
from vand_robot.nn.layer_pass import LayerPass
from vand_robot.nn.regularizers.base import RegularizerTerms, Sample
from vand_robot.nn.resets import Pieces, find_pieces
from vand_robot.nn.shards import current_shard, perturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

Hx = TypeVar("Hx")


@dataclass(frozen=True)
class ScanResult:
    """Outputs, final state and terms of the loss of a batch of sequences."""

    output: Tensor
    """(T, B, H) hidden state of the last layer; zero at padding."""

    state: Tensor
    """(num_layers, B, S) state after each sequence's last valid step."""

    terms: RegularizerTerms
    """The regularizer's terms of the loss; zero when it does not act."""


class Recurrent(LayerPass, Generic[Hx]):
    """Base of the three layers. Use `Elman`, `GRU` or `LSTM`.

    S is the size of a layer's state: H, or 2H for the LSTM, [hidden; cell].
    """

    def initial_state(
        self,
        batch: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return the zero state (num_layers, batch, S); type and device are the weights' own."""
        like = self.current_weight("weight_ih_l0")
        return like.new_zeros(self.num_layers, batch, self.state_size, device=device, dtype=dtype)

    def run(
        self,
        x: Tensor,
        state: Tensor | Hx | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        resets: Tensor | None = None,
        deterministic: bool | None = None,
    ) -> ScanResult:
        """Run over whole sequences, time first whatever `batch_first` says.

        Within `torch.autocast` too it runs, and answers, in the weights' own type.

        Args:
            x: (T, B, I) inputs.
            state: (num_layers, B, S) state to go on from, or as `torch.nn` has it; None for
                zeros. Gradients flow into it: detach it to truncate.
            lengths: (B,) integers in 1..T, the valid steps of each sequence; None for all. What
                padding holds, even NaN, changes nothing. In descending order it costs little.
            resets: (T, B) booleans, where a sequence starts anew; see `vand_robot.nn.resets`.
            deterministic: no samples of the regularizer and no dropout; None: not in training.

        Raises:
            ValueError: if a shape, a type or a length does not fit.
            TypeError: if something is no tensor.
        """
        name, own = type(self).__name__, self.current_weight("weight_ih_l0").dtype
        state = None if state is None else self.merge_state(state)
        if isinstance(x, Tensor) and _in_autocast(x):
            with torch.autocast(x.device.type, enabled=False):
                x, state = x.to(own), None if state is None else state.to(own)
                return self.run(x, state, lengths, resets=resets, deterministic=deterministic)
        checks.check_input(name, x, self.input_size, own)
        steps, batch, _ = x.shape
        if state is None:
            state = self.initial_state(batch, dtype=x.dtype)
        else:
            self._check_state(state, batch)
            checks.check_type(name, "a state", state, own)
        sampled = self.training if deterministic is None else not deterministic
        valid = None
        if lengths is not None:
            lengths = checks.as_lengths(name, lengths, steps, batch).to(x.device)
            valid = torch.arange(steps, device=x.device).unsqueeze(1) < lengths  # (T, B)
            x = _without_padding(x, valid)
        if resets is not None:
            checks.check_resets(name, resets, (steps, batch))
            return self._run_pieces(x, state, find_pieces(resets.to(x.device), lengths), sampled)

        drop = self.dropout if self.training and deterministic is not True else 0.0
        scanned, finals, kl = self._run_layers(x, state, lengths, valid, sampled, drop)
        output = scanned if not sampled else perturbed(scanned, self.regularizer.perturb_output)
        if sampled:
            output = output if output is scanned else _without_padding(output, valid)
        count = steps * batch if lengths is None else lengths.sum()
        return ScanResult(output, finals, self._keep_terms(kl, count, sampled))

    def _keep_terms(self, kl: Tensor, steps: Tensor | int, sampled: bool) -> RegularizerTerms:
        """Return the terms of a pass of so many valid steps, and keep them where they are found."""
        if sampled and self.training:
            terms = self.regularizer.terms(kl)
        else:
            terms = RegularizerTerms(kl, torch.zeros_like(kl), self.regularizer.metrics())
        if not in_transform():  # whose tensors must not outlive it
            object.__setattr__(self, "terms", terms)  # past nn.Module's checks, which cost more
            if sampled and self.training and torch.is_grad_enabled():
                self.regularizer.record(kl, steps)
        return terms

    def _run_pieces(self, x: Tensor, state: Tensor, pieces: Pieces, sampled: bool) -> ScanResult:
        """Run over the pieces between resets; x (T, B, I), state (num_layers, B, S)."""
        result = self.run(
            pieces.cut(x), pieces.cut_state(state), pieces.lengths, deterministic=not sampled
        )
        output = pieces.join(result.output, x.shape[:2])
        return ScanResult(output, result.state[:, pieces.last], result.terms)

    def _run_layers(
        self,
        x: Tensor,
        state: Tensor,
        lengths: Tensor | None,
        valid: Tensor | None,
        sampled: bool,
        drop: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all layers, one after the other.

        Args:
            x: (T, B, I) inputs, zero at padding.
            state: (num_layers, B, S) initial state.
            lengths: (B,) valid steps; None for all.
            valid: (T, B) which steps those are; None for all.
            sampled: whether the regularizer acts.
            drop: probability of dropout between layers.

        Returns:
            (T, B, H) hidden state of the last layer, (num_layers, B, S) final state, and the KL
            of all layers [nats per step].
        """
        steps, batch, _ = x.shape
        kl = x.new_zeros(())
        finals = []
        output, apart = x, False
        for layer in range(self.num_layers):
            if layer and drop:
                output = perturbed(output, dropout, drop)
            if sampled:
                output = perturbed(output, self.regularizer.perturb_input, layer)
            start = state[layer]
            sample = self._draw(layer, steps, start, sampled)
            if lengths is None and sample.affine.is_identity:
                fused = self.run_identity(layer, output, start)
                if fused is not None:
                    output, final = fused
                    finals.append(final)
                    apart = False
                    continue
            path = self.scan_layer(layer, output, start, sample.affine, lengths)
            # A batch of no sequences pays nothing; its mean would be NaN, and so the parameters.
            if sample.kl is not None and path.gap is not None and self.training and batch:
                kl = kl + sample.kl(path.gap, valid)
            states = path.states  # (T, B, S)
            apart = path.output is not None
            output = self.readout(layer, states, output) if path.output is None else path.output
            if valid is None or lengths is None:
                finals.append(states[-1])
            else:
                last = (lengths - 1).view(1, batch, 1).expand(1, batch, self.state_size)
                finals.append(states.gather(0, last)[0])
                output = output if apart else _without_padding(output, valid)
        if valid is None and not apart and output.requires_grad:
            # The scan keeps its states for the backward pass; the caller may write on a copy.
            output = output.clone(memory_format=torch.contiguous_format)
        return output, torch.stack(finals), kl

    def _draw(self, layer: int, steps: int, like: Tensor, sampled: bool) -> Sample:
        """Draw one layer's map, or the deterministic one; like (B, S)."""
        shard = current_shard()
        if not sampled:
            return Sample(self.regularizer.expected(like))
        if shard is None:
            return self.regularizer.sample(layer, steps, like)
        sample = self.regularizer.sample(layer, steps, shard.whole(like))
        return replace(sample, affine=shard.own(sample.affine))

    def step(
        self,
        x: Tensor,
        state: Tensor | Hx,
        deterministic: bool = True,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Advance one step, for control. No gradients.

        Args:
            x: (B, I) inputs.
            state: (num_layers, B, S), from `initial_state` or the last step, or as `torch.nn` has
                it.
            deterministic: False draws from the regularizer. Every call is then a sequence of its
                own, so masks of one per sequence are drawn anew; use `run` to hold them.
            resets: (B,) booleans, True where a sequence starts anew at this step; None for none.

        Returns:
            (B, H) output and (num_layers, B, S) next state.

        Raises:
            ValueError: if the state is of another number of layers.
        """
        if torch.is_grad_enabled():  # else no_grad would cost 6 % of a control step for nothing
            with torch.no_grad():
                return self.step(x, state, deterministic, resets)
        if not isinstance(state, Tensor):
            state = self.merge_state(state)
        if resets is not None:
            checks.check_resets(type(self).__name__, resets, x.shape[:1])
            state = state.masked_fill(resets.to(state.device).unsqueeze(-1), 0.0)
        if _in_autocast(x):
            own = self.current_weight("weight_ih_l0").dtype
            with torch.autocast(x.device.type, enabled=False):
                return self.step(x.to(own), state.to(own), deterministic)
        if not deterministic:
            result = self.run(x.unsqueeze(0), state, deterministic=False)
            return result.output[0], result.state
        if self._kernels is None:
            return self.transition(x, state)
        states = []
        output, parts = x, self.cell.parts
        before = state.unbind(0)
        if len(before) != self.num_layers:
            raise ValueError(self._misfit(state, x.shape[0]))
        for layer, previous in enumerate(before):  # (B, S)
            mu = self._kernels.step(output, previous, self.weights(layer))
            affine = self.regularizer.expected(previous)
            states.append(mu if affine.is_identity else affine(mu, previous)[0])
            output = states[-1] if parts == 1 else states[-1][:, : self.hidden_size]
        return output, states[0].unsqueeze(0) if len(states) == 1 else torch.stack(states)

    def transition(self, x: Tensor, state: Tensor | Hx) -> tuple[Tensor, Tensor]:
        """Advance one deterministic step by the readable formula, under autograd if it is on.

        Args:
            x: (B, I) inputs.
            state: (num_layers, B, S), or as `torch.nn` has it.

        Returns:
            (B, H) output and (num_layers, B, S) next state.

        Raises:
            ValueError: if the state is of another number of layers.
        """
        state = self.merge_state(state)
        if _in_autocast(x):
            own = self.current_weight("weight_ih_l0").dtype
            with torch.autocast(x.device.type, enabled=False):
                return self.transition(x.to(own), state.to(own))
        if state.shape[0] != self.num_layers:
            raise ValueError(self._misfit(state, x.shape[0]))
        output = x
        states = []
        for layer in range(self.num_layers):
            previous = state[layer]
            mu = self.answer(layer, output, previous)
            affine = self.regularizer.expected(previous)
            states.append(mu if affine.is_identity else affine(mu, previous)[0])
            output = self.readout(layer, states[-1], output)
        return output, torch.stack(states)

    @overload
    def forward(
        self,
        x: Tensor,
        hx: Hx | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, Hx]: ...

    @overload
    def forward(
        self,
        x: PackedSequence,
        hx: Hx | None = None,
        lengths: None = None,
        resets: None = None,
    ) -> tuple[PackedSequence, Hx]: ...

    def forward(
        self,
        x: Tensor | PackedSequence,
        hx: Hx | None = None,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, Hx]:
        """Run as the layer of `torch.nn` does.

        The regularizer's terms of the loss are not returned. `run` returns them; of a call they
        stay in `terms`, where `collect_penalty` finds them.

        Args:
            x: (T, B, I), or (B, T, I) with `batch_first`, or (T, I) unbatched; or a packed
                sequence, sorted or not.
            hx: initial state as in `torch.nn`, (num_layers, B, H), a pair of them for the LSTM;
                None for zeros. The order of the sequences is that before packing.
            lengths: (B,) integers in 1..T, the valid steps of each sequence; None for all, and
                with a packed sequence, which has its own.
            resets: booleans in the layout of x, (T, B), True where a sequence starts anew, see
                `run`; None for no resets, and with a packed sequence.

        Returns:
            Output (T, B, H), laid out as x, zero at padding, or packed as x; and the final state,
            as hx.

        Raises:
            ValueError: if a shape, a type or a length does not fit.
            TypeError: if x is neither a tensor nor a packed sequence, or hx not as in `torch.nn`.
        """
        name = type(self).__name__
        if isinstance(x, PackedSequence):
            if lengths is not None or resets is not None:
                what = "resets" if lengths is None else "lengths"
                raise ValueError(f"{name} expects no {what} with a packed sequence")
            return self._forward_packed(x, hx)
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} expects a tensor or a packed sequence; got {type(x).__name__}")
        batched = x.dim() == 3
        if not batched:
            if x.dim() != 2:
                raise ValueError(f"{name} expects x of 2 or 3 dimensions; got {tuple(x.shape)}")
            x = x.unsqueeze(1)  # (T, 1, I)
            resets = None if resets is None else resets.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)  # (T, B, I)
            resets = None if resets is None else resets.transpose(0, 1)
        state = None if hx is None else self.merge_state(hx)
        if state is not None and not batched:
            state = state.unsqueeze(1)
        result = self.run(x, state, lengths, resets=resets)
        output = result.output.contiguous()
        if not batched:
            return output.squeeze(1), self.split_state(result.state.squeeze(1))
        output = output.transpose(0, 1) if self.batch_first else output
        return output, self.split_state(result.state)

    def _forward_packed(self, packed: PackedSequence, hx: Hx | None) -> tuple[PackedSequence, Hx]:
        """See `forward`."""
        x, lengths = padded(packed)  # (T, B, I) and (B,), longest first
        state = None if hx is None else self.merge_state(hx)
        if state is not None:
            self._check_state(state, x.shape[1])  # before its order is changed
            state = in_order(state, packed.sorted_indices)
        result = self.run(x, state, lengths)
        final = in_order(result.state, packed.unsorted_indices)
        return packed_like(packed, result.output, lengths), self.split_state(final)

    @abstractmethod
    def merge_state(self, hx: Tensor | Hx) -> Tensor:
        """Turn a state as `torch.nn` has it into one tensor (num_layers, B, S).

        Args:
            hx: (num_layers, B, H), for the LSTM a pair of them; or already merged.

        Returns:
            (num_layers, B, S); what is merged already as it is.

        Raises:
            TypeError: if it is neither.
            ValueError: if the members of a pair do not fit each other.
        """

    @abstractmethod
    def split_state(self, state: Tensor) -> Hx:
        """Turn (num_layers, B, S) into a state as `torch.nn` has it: the way back."""

    def _check_state(self, state: Tensor, batch: int) -> None:
        shape = (self.num_layers, batch, self.state_size)
        checks.check_state(type(self).__name__, state, shape)

    def _misfit(self, state: Tensor, batch: int) -> str:
        """Tell what state was expected."""
        expected = (self.num_layers, batch, self.state_size)
        name = type(self).__name__
        return f"{name} expects a state of shape {expected}; got {tuple(state.shape)}"


def _in_autocast(x: Tensor) -> bool:
    """Tell whether `torch.autocast` would choose the type of a product on the device of x."""
    kind = x.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def _without_padding(value: Tensor, valid: Tensor | None) -> Tensor:
    """Zero the padding of (T, B, .); valid (T, B) or None for none."""
    return value if valid is None else value.masked_fill(~valid.unsqueeze(-1), 0.0)
