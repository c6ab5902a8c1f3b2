"""The recurrent policy: normalizer, encoder, recurrent core, object attention, head.

Camera images, where the policy sees any, pass through a convolutional network each, and join the
normalized observation before the encoder.

**Object attention** (`vand_robot.policies.object_attention`) lets the memory choose the objects
whose positions the action follows. **Future actions** (`vand_robot.config.schema`,
`FutureActionsConfig`): it predicts later actions too, in training alone.

**Actions.** The mean is a linear readout, clipped to [-1, 1] only when the policy acts. Actions of
demonstrations lie *on* the bounds for long stretches (a gripper is told to be open or shut, a twist
saturates): a tanh reaches them only in the limit, and its gradient vanishes just there; a linear
mean fits them exactly. The likelihood then also counts what clipping would hide, which keeps the
mean from running away. The gripper, nearly binary, is soon predicted without error: its standard
deviation would shrink without end and its likelihood, unbounded, outweigh all other dimensions.
The floor `min_std` says how precise is precise enough.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vand_envs.errors import UsageError, VandError
from vand_envs.typing import Float32Array
from vand_robot.config.schema import PolicyConfig, Precision
from vand_robot.data.batches import Batch
from vand_robot.data.moments import Moments
from vand_robot.interface import PolicySpec
from vand_robot.nn import GaussianHead, GaussianMixtureHead, make_cell
from vand_robot.nn.kernel.native.native_network import NativeNetwork, NotFiniteError
from vand_robot.nn.recurrent import ScanResult
from vand_robot.nn.registry import Layer
from vand_robot.nn.shards import sharded
from vand_robot.policies.acting import WrittenStep, native_network
from vand_robot.policies.action_head import (
    Seeds,
    episode_seeds,
    make_action_head,
    uniform_draws,
)
from vand_robot.policies.encoders import ImageEncoder, make_encoder, shift
from vand_robot.policies.normalizer import Normalizer
from vand_robot.policies.object_attention import ObjectAttention, attended_keys
from vand_robot.policies.observing import ObservationReader, images_of
from vand_robot.policies.size import require_policy_fits

EXACT_KEYS = ("instruction",)
"""One-hot codes: they get no input noise."""

FUTURE_ACTIONS_MIN_STD = 0.1
"""Floor of the predicted standard deviation of later actions: more exactly nobody needs them."""


@dataclass(frozen=True, eq=False)
class PolicyState:
    """The memory of n episodes that advance together."""

    core: Tensor
    """(num_layers, n, S) state of the recurrent core."""
    steps: int = 0
    """Actions taken since the episodes began."""
    seeds: Seeds | None = None
    """(n,) seeds of the draws of actions; None where none are drawn, and before the first."""


@dataclass(frozen=True, eq=False)
class PolicyLoss:
    """The terms of the loss of a batch."""

    total: Tensor
    """Scalar that is minimized: `nll + future_actions.weight * future_actions + penalty`."""
    nll: Tensor
    """Scalar [nats per step]: negative log likelihood of the demonstrated actions."""
    future_actions: Tensor
    """Scalar [nats per step]: that of the actions to come; zero for a policy that predicts none."""
    penalty: Tensor
    """Scalar: the regularizer's explicit term; zero for most."""
    regularizer_metrics: Sequence[tuple[float, Mapping[str, Tensor]]]
    """The regularizer's metrics of each piece of the batch, and the piece's share of the steps:
    mean sigma, mean d, nats of memory per step, beta; scalars on the device."""
    output: Tensor = field(repr=False)
    """(T, B, H) output of the recurrent core, detached."""


class RecurrentPolicy(nn.Module):
    """A policy whose memory is the state of a recurrent core.

    Args:
        config: Its shape.
        spec: Its observations and actions.

    Raises:
        UsageError: There are images, and no layer to see them.
        VandError: It is larger than `VAND_MAX_BYTES` allows.
    """

    def __init__(self, config: PolicyConfig, spec: PolicySpec) -> None:
        super().__init__()
        require_policy_fits(config, spec)
        self.config = config
        self.spec = spec
        self._reader = ObservationReader(spec)
        self._written: WrittenStep | None = None
        close = attended_keys(config, spec)
        self.objects = len(close)  # whose position relative to the end effector is seen
        # modules are made in one order: their initial weights are drawn in it
        self.normalizer = Normalizer(
            spec.observation_size,
            config.observation_clip,
            [i for i, key in enumerate(_keys_of_numbers(spec)) if key in close],
            config.near_field_scales_m,
        )
        if spec.images and not config.images.channels:
            raise UsageError("policy.images.channels: expected at least one layer, got none")
        encoders = {_module_name(k): ImageEncoder(config.images.channels) for k in spec.images}
        self.image_encoders = nn.ModuleDict(encoders)
        features = self.normalizer.width + sum(encoder.features for encoder in encoders.values())
        self.encoder = make_encoder(
            features,
            config.encoder.sizes,
            config.encoder.activation,
            layer_norm=config.encoder.layer_norm,
        )
        self.core = _make_core(config, (features, *config.encoder.sizes)[-1])
        self.object_attention = self._make_attention([spec.observations[key] for key in close])
        self.head = make_action_head(config, spec.action_size)
        self._draws = config.head == "gmm" and config.mixture.act == "sample"
        times_s = config.future_actions.horizons_s
        self._ahead = [max(1, round(time_s / spec.control_dt_s)) for time_s in times_s]  # [steps]
        self._told = spec.columns(EXACT_KEYS[0])
        self.future_actions = self._make_future_head()  # trains only: `act` has no use for it

    def _make_attention(self, sizes: Sequence[int]) -> ObjectAttention | None:
        """The attention over objects whose relative positions have these sizes.

        None where it is switched off, and where no object is seen or they are seen unlike.
        """
        heads, scales = self.config.attention_heads, self.config.near_field_scales_m
        if not heads or len(set(sizes)) != 1:
            return None
        return ObjectAttention(self.config.hidden_size, len(sizes), sizes[0] * len(scales), heads)

    def _make_future_head(self) -> GaussianHead | None:
        """The head that predicts later actions; None where there are no horizons."""
        if not self._ahead:
            return None
        return GaussianHead(
            self.config.hidden_size,
            self.spec.action_size * len(self._ahead),
            min_std=FUTURE_ACTIONS_MIN_STD,
            shared_std=True,
        )

    def fit_normalizer(self, observations: Tensor | Moments) -> None:
        """Takes the normalizer's statistics from the observations of the training data.

        Args:
            observations: (M, D), or their moments.
        """
        if isinstance(observations, Tensor):
            observations = Moments.of(observations.cpu().numpy())
        mean, std = observations.mean, observations.std
        exact = torch.tensor([key in EXACT_KEYS for key in _keys_of_numbers(self.spec)])
        self.normalizer.fit(mean, std, exact, self.config.observation_std_floor)

    def loss(
        self,
        batch: Batch,
        *,
        truncate_steps: int | None = None,
        input_noise_std: float = 0.0,
        precision: Precision = "float32",
    ) -> PolicyLoss:
        """The loss of a batch of demonstrations; regularizer and input noise act in training only.

        Args:
            batch: Sequences from the beginning of their episodes.
            truncate_steps: Steps over which gradients flow back. The state itself is carried on.
            input_noise_std: Noise on normalized observations [standard deviations].
            precision: Type of the products outside the recurrent core.

        Returns:
            The terms of the loss, on the policy's device; means over the valid steps of the batch.
            Of a part of a batch, its share of them: the sum over the parts is that of the whole.
        """
        batch = batch.with_future_actions(self._ahead, self._told)  # A (1 + K) numbers to predict
        if self.config.reset_every is not None:
            batch = batch.cut_windows(self.config.reset_every)
        state: Tensor | None = None
        outputs: list[Tensor] = []  # (T', B, H) each
        # share of the steps, metrics
        regularizer_metrics: list[tuple[float, Mapping[str, Tensor]]] = []
        # (nll, future_actions, penalty) of each piece, times its share of the steps
        weighted: list[Tensor] = []
        for piece in batch.split_time(truncate_steps):
            if state is not None:
                state = state[:, : len(piece.lengths)].detach()  # (num_layers, B', S)
            with sharded(piece.shard):
                if not len(piece.lengths):  # another process has the sequences that are left
                    self.core.regularizer.terms(batch.observations.new_zeros(()))
                    continue
                result, nll, future_actions = self._piece(piece, state, input_noise_std, precision)
            share = piece.steps / batch.whole_steps
            weighted.append(share * torch.stack([nll, future_actions, result.terms.penalty]))
            regularizer_metrics.append((share, result.terms.metric_tensors))
            finished = batch.lengths.shape[0] - len(piece.lengths)
            outputs.append(nn.functional.pad(result.output.detach(), (0, 0, 0, finished)))
            state = result.state
        nll, future_actions, penalty = torch.stack(weighted).sum(0)
        total = nll + self.config.future_actions.weight * future_actions + penalty
        return PolicyLoss(
            total, nll, future_actions, penalty, regularizer_metrics, torch.cat(outputs)
        )

    def _piece(
        self, piece: Batch, state: Tensor | None, input_noise_std: float, precision: Precision
    ) -> tuple[ScanResult, Tensor, Tensor]:
        """Run over one piece of a batch.

        Args:
            piece: The piece; its actions are followed by those to come.
            state: (num_layers, B, S) to go on from; None at the beginning.
            input_noise_std: See `loss`.
            precision: See `loss`.

        Returns:
            The core's result, and the negative log likelihoods of actions and of those to come.
        """
        # what is computed for padding is thrown away
        x = self.normalizer(piece.valid(piece.observations))  # (N, D) of N valid steps
        if self.training and input_noise_std > 0:
            x = x + input_noise_std * self.normalizer.noise * _normals(piece, x)
        seen = x
        with _products_in(precision, x.device):
            x = self.encoder(torch.cat([x, *self._look(piece.images, piece)], -1))  # (N, F)
        x = piece.padded(x.float())  # (T', B', F)
        result = self.core.run(x, state, piece.lengths)
        output = piece.valid(result.output)  # (N, H)
        now, later = piece.valid(piece.actions).tensor_split([self.spec.action_size], -1)
        with _products_in(precision, x.device):
            features = self._read(output, seen)  # (N, H)
        nll = self.head.nll(features.float(), now)
        future_actions = (
            self.future_actions.nll(output, later) if self.future_actions else nll.new_zeros(())
        )
        return result, nll, future_actions

    @property
    def device(self) -> torch.device:
        """Where the policy is; `to` moves it."""
        return self.normalizer.scale.device

    def initial_state(self, n: int) -> PolicyState:
        """The memory at the beginning of n episodes: empty."""
        return PolicyState(self.core.initial_state(n))

    def act(
        self, observation: Mapping[str, NDArray[Any]], state: PolicyState | None = None
    ) -> tuple[Float32Array, PolicyState]:
        """Choose actions for n episodes that advance together.

        On a CPU, where the scan in C is there, so is this step (`vand_robot.policies.acting`):
        then the actions of an episode do not depend on n, to the bit.

        Args:
            observation: Key -> (n, d), images (n, H, W, 3) uint8; keys that the policy does not use
                are ignored. Of one episode, as a Gymnasium environment has it: (d,), (H, W, 3).
            state: What the last call returned; None at the beginning of the episodes. It runs
                through the whole episode, unless the policy was trained with `reset_every`.

        Returns:
            (n, A) float32 in [-1, 1], native actions in their own units: the mean of the policy's
            distribution, of a mixture that of one component, or (A,) of one episode, and the
            state to hand to the next call.

        Raises:
            VandError: An observation is missing, of another size, or not finite.
        """
        single = self._reader.is_single(observation)
        x = self._reader.flatten(observation, single)  # (n, D)
        if state is None:
            state = self.initial_state(len(x))
        elif self.config.reset_every is not None and state.steps % self.config.reset_every == 0:
            state = dataclasses.replace(state, core=torch.zeros_like(state.core))
        seeds, draws = state.seeds, None
        if self._draws:
            seeds = episode_seeds(x) if seeds is None else seeds
            draws = uniform_draws(seeds, state.steps)
        network = self._native_step()
        try:
            if network is not None and network.takes(state.core, len(x)):
                actions = np.empty((len(x), self.spec.action_size), np.float32)
                core = network(x, state.core, actions, draws)
            else:
                seen = self._reader.batch_of_one(observation) if single else observation
                actions, core = self._act_by_torch(x, seen, state.core, draws)
        except NotFiniteError:
            self._reader.require_finite(observation)
            raise VandError("the policy's action is not finite, its observation is") from None
        if self.spec.action_low:
            actions = self.spec.in_own_units(actions)
        actions = actions[0] if single else actions
        return actions, PolicyState(core, state.steps + 1, seeds)

    def _native_step(self) -> NativeNetwork | None:
        """The control step in C, for the weights as they lie now; None where there is none."""
        written = self._written
        if written is None or (written.network is not None and not written.network.holds()):
            written = WrittenStep(native_network(self))
            object.__setattr__(self, "_written", written)  # past nn.Module's checks, which cost
        return written.network

    @torch.inference_mode()
    def _act_by_torch(
        self,
        flat: Float32Array,
        observation: Mapping[str, NDArray[Any]],
        core: Tensor,
        draws: Tensor | None,
    ) -> tuple[Float32Array, Tensor]:
        """See `act`; flat (n, D), the observation as a batch."""
        # the sum of squares tells it in a third of the time of `isfinite`; it may overflow
        if not math.isfinite(np.vdot(flat, flat)) and not np.isfinite(flat).all():
            raise NotFiniteError("input")
        device = self.device
        seen = images_of(self.spec, observation, len(flat)) if self.spec.images else {}
        images = {key: rgb.to(device) for key, rgb in seen.items()}
        draws = None if draws is None else draws.to(device)
        mean, core = self.advance(torch.from_numpy(flat).to(device), images, core, draws)
        actions: Float32Array = mean.cpu().numpy()
        if not math.isfinite(np.vdot(actions, actions)):
            raise NotFiniteError("output")
        return actions, core

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RecurrentPolicy":
        """Move or convert the policy; its control step is then written down anew."""
        self._written = None
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the control step in C, which holds addresses of these weights."""
        return {**self.__dict__, "_written": None}

    def advance(
        self,
        x: Tensor,
        images: Mapping[str, Tensor],
        core: Tensor,
        draws: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer checked observations: `act` on tensors, which is what an export holds.

        Args:
            x: (n, D) observations side by side.
            images: Camera -> (n, H, W, 3) uint8.
            core: (num_layers, n, S) state of the recurrent core.
            draws: (n,) numbers in [0, 1) that choose the component of a mixture; None: the most
                likely one.

        Returns:
            (n, A) actions in [-1, 1], and the next state of the core.
        """
        # `forward` and not a call: a module's hooks would cost a tenth of a control step
        features = self.normalizer.forward(x)  # (n, D + close-range view)
        if images:
            features = torch.cat([features, *self._look(images)], -1)
        encoded = features
        for layer in self.encoder:
            encoded = layer.forward(encoded)  # (n, F) in the end
        output, core = self.core.step(encoded, core)  # (n, H), (num_layers, n, S)
        read = self._read(output, features)  # (n, H)
        if draws is not None and isinstance(self.head, GaussianMixtureHead):
            return self.head.drawn_mean(read, draws).clamp(-1.0, 1.0), core
        return self.head.mean(read).clamp(-1.0, 1.0), core

    def _read(self, output: Tensor, seen: Tensor) -> Tensor:
        """The features (N, H) that the head reads the action off: memory and attention.

        Args:
            output: (N, H) output of the core.
            seen: (N, D + R F) normalized observations, which end with those at close range.
        """
        if self.object_attention is None:
            return output
        d, ranges = self.spec.observation_size, len(self.config.near_field_scales_m)
        close = seen[:, d : self.normalizer.width].reshape(seen.shape[0], ranges, self.objects, -1)
        return self.object_attention.forward(output, close.transpose(1, 2).flatten(2))

    def _look(self, images: Mapping[str, Tensor], piece: Batch | None = None) -> list[Tensor]:
        """The features (N, 2 C) of the images (N, H, W, 3) of each camera, of a batch's piece."""
        pixels = self.config.images.shift_px if self.training else 0
        part = (
            () if piece is None or piece.part is None else (piece.rows_of_whole, piece.whole_steps)
        )
        return [
            encoder(shift(images[key], pixels, *part) if pixels else images[key])
            for key, encoder in zip(self.spec.images, self.image_encoders.values(), strict=True)
        ]


def _make_core(config: PolicyConfig, features: int) -> Layer:
    """The recurrent core, which sees so many features."""
    try:
        return make_cell(
            config.cell,
            features,
            config.hidden_size,
            config.num_layers,
            regularizer=config.regularizer,
        )
    except ValueError as error:  # the regularizer is not for this cell
        raise UsageError(f"policy.regularizer: {error}") from None


def _normals(piece: Batch, like: Tensor) -> Tensor:
    """Standard normals like (N, D), a row for each valid step of a piece of a batch."""
    if piece.part is None:
        return torch.randn_like(like)
    drawn = torch.randn(piece.whole_steps, like.shape[1], dtype=like.dtype, device=like.device)
    return drawn[piece.rows_of_whole.to(like.device)]


def _products_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """A context in which products are made in a type; the results may be of it too."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _module_name(key: str) -> str:
    """The name of a camera's network: torch allows no dots in it, and no key holds a colon."""
    return key.replace(".", ":")


def _keys_of_numbers(spec: PolicySpec) -> list[str]:
    """The key that each number of a flat observation belongs to, D."""
    return [key for key, size in spec.observations.items() for _ in range(size)]
