"""Fine-tuning: a new policy begins with the weights of another run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from vand_envs.errors import UsageError
from vand_robot.config import validation
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.recurrent import EXACT_KEYS, RecurrentPolicy

MAY_DIFFER = ("observations", "objects", "images.keys", "images.shift_px", "reset_every", "min_std")
"""Keys of `policy` that may differ from the run's; the tensors of all others belong together."""

_INSTRUCTION = EXACT_KEYS[0]

_Place = tuple[str, str | int]
"""A number that the encoder sees: its observation, and which of its numbers (of an instruction the
task)."""


@dataclass(frozen=True)
class Start:
    """How a policy begins: with weights of its own, or with those of another run."""

    run: str | Path | None = None
    """The run; None: with its own."""
    console: Console | None = None
    """Where to say what differs."""

    def give_weights(self, policy: RecurrentPolicy) -> None:
        """Give a new policy the run's weights; see `take_weights`, as for the errors."""
        if self.run is None:
            return
        notes = [f"begins with the weights of {self.run}", *take_weights(policy, Path(self.run))]
        if self.console is not None:
            for note in notes:
                self.console.print(f"note: {note}", highlight=False, soft_wrap=True)


def take_weights(policy: RecurrentPolicy, run: Path) -> list[str]:
    """Give a new policy the weights of a run's best checkpoint.

    Observations of the run may be missing in the new policy: what the encoder read of them is left
    out. Tasks may be others: a task that both know keeps what was learnt of its instruction, a new
    one begins with none. The normalizer keeps the run's statistics of all that it knows.

    Args:
        policy: The new policy, its normalizer fitted; it is changed.
        run: The run's folder, or a checkpoint's.

    Returns:
        What differs, a line each.

    Raises:
        UsageError: There is no such run, or something differs that must not: the shape of the
            policy, actions and their bounds, the control step, an observation that the run does
            not know.
        VandError: The checkpoint is damaged.
    """
    old = load_checkpoint(run).policy
    _require_same(old, policy, run)
    before, now = _places(old), _places(policy)
    index = [before.get(place, -1) for place in now]
    state, weights = policy.state_dict(), old.state_dict()
    for name, tensor in state.items():
        taken = _taken(name, tensor, weights, index, old, policy)
        if taken is not None:
            tensor.copy_(taken)
    policy.load_state_dict(state)
    return list(_differences(old, policy))


def _taken(
    name: str,
    tensor: Tensor,
    weights: Mapping[str, Tensor],
    index: list[int],
    old: RecurrentPolicy,
    new: RecurrentPolicy,
) -> Tensor | None:
    """What a tensor of the new policy becomes; None where it stays as it is."""
    first = "encoder.0.weight"
    known = torch.tensor(index)
    if name in ("normalizer.scale", "normalizer.offset", "normalizer.noise"):
        at = known[: len(tensor)]
        return torch.where(at >= 0, weights[name][at.clamp_min(0)], tensor)
    if name == first:
        images = weights[name].shape[1] - len(_places(old))
        columns = weights[name][:, known.clamp_min(0)] * (known >= 0)
        return torch.cat([columns, _image_columns(weights[name], images, old, new)], 1)
    if name.startswith("object_attention.choice."):
        heads = old.config.attention_heads
        keep = [_objects(old).index(key) for key in _objects(new)]
        rows = weights[name].view(heads, len(_objects(old)), -1)[:, keep].flatten(0, 1)
        return rows.view(tensor.shape)
    return weights.get(name)


def _image_columns(
    weight: Tensor, width: int, old: RecurrentPolicy, new: RecurrentPolicy
) -> Tensor:
    """What the encoder reads of the images that are still seen."""
    if not old.spec.images:
        return weight[:, :0]
    each = width // len(old.spec.images)
    start = weight.shape[1] - width
    blocks = dict(zip(old.spec.images, torch.split(weight[:, start:], each, 1), strict=True))
    kept = [blocks[key] for key in new.spec.images]
    return torch.cat(kept, 1) if kept else weight[:, :0]


def _places(policy: RecurrentPolicy) -> dict[_Place, int]:
    """What each number is that the encoder sees, but for images: its place -> its index."""
    spec = policy.spec
    numbers: list[_Place] = []
    for key, size in spec.observations.items():
        tasks = spec.instructions if key == _INSTRUCTION and size == len(spec.instructions) else ()
        numbers += [(key, task) for task in tasks] or [(key, i) for i in range(size)]
    close = [numbers[i] for i in policy.normalizer.close.tolist()]
    ranges = len(policy.normalizer.ranges)
    near = [(f"{key} at range {r}", which) for r in range(ranges) for key, which in close]
    return {place: i for i, place in enumerate([*numbers, *near])}


def _objects(policy: RecurrentPolicy) -> list[str]:
    """Observations that the attention chooses among."""
    keys = [key for key, size in policy.spec.observations.items() for _ in range(size)]
    return list(dict.fromkeys(keys[i] for i in policy.normalizer.close.tolist()))


def _require_same(old: RecurrentPolicy, new: RecurrentPolicy, run: Path) -> None:
    """Raises UsageError for anything that differs and must not."""

    def refuse(what: str, ours: Any, theirs: Any) -> UsageError:
        return UsageError(
            f"cannot begin with {run}: {what} was {theirs!r:.80}, now it is {ours!r:.80}"
        )

    before, now = (validation.flatten(validation.to_dict(p.config)) for p in (old, new))
    for key in sorted(before.keys() | now.keys()):
        if not key.startswith(MAY_DIFFER) and before.get(key) != now.get(key):
            raise refuse(f"policy.{key}", now.get(key), before.get(key))
    for name in (
        "robot",
        "action_mode",
        "action_size",
        "control_dt_s",
        "action_low",
        "action_high",
    ):
        ours, theirs = getattr(new.spec, name), getattr(old.spec, name)
        if ours != theirs:
            raise refuse(name, ours, theirs)
    for kind in ("observations", "images"):
        known = getattr(old.spec, kind)
        for key, size in getattr(new.spec, kind).items():
            if key not in known:
                raise UsageError(f"cannot begin with {run}: it never saw the observation {key!r}")
            if size != known[key] and key != _INSTRUCTION:
                raise refuse(f"observation {key}", size, known[key])
    same = old.spec.observations == new.spec.observations and old.spec.images == new.spec.images
    if not new.config.encoder.sizes and not (
        same and old.spec.instructions == new.spec.instructions
    ):
        raise UsageError(
            f"cannot begin with {run}: without an encoder, observations must be the same"
        )
    if (old.object_attention is None) != (new.object_attention is None):
        raise UsageError(f"cannot begin with {run}: one of the two looks at objects, the other not")
    if unknown := [key for key in _objects(new) if key not in _objects(old)]:
        raise UsageError(f"cannot begin with {run}: it did not look at the object {unknown[0]!r}")


def _differences(old: RecurrentPolicy, new: RecurrentPolicy) -> Iterator[str]:
    """What differs and may."""
    for kind in ("observations", "images"):
        gone = [key for key in getattr(old.spec, kind) if key not in getattr(new.spec, kind)]
        if gone:
            yield f"{kind} dropped: {', '.join(gone)}"
    before, now = set(old.spec.instructions), set(new.spec.instructions)
    if fresh := sorted(now - before):
        yield f"tasks that it did not know: {', '.join(fresh)}"
    if gone := sorted(before - now):
        yield f"tasks that are no more: {', '.join(gone)}"
