"""Training of a language model: an epoch at a time, resumed exactly after each."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from vand_demos.system.files import disk_errors, read_regular, replacing_folder, write_bytes
from vand_demos.system.interrupt import Interrupt
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError, VandError
from vand_robot.config.validation import flatten, to_dict
from vand_robot.experiments.language.config import LanguageConfig, LanguageOptimizerConfig
from vand_robot.experiments.language.model import LanguageModel
from vand_robot.experiments.language.text import Corpus, rows, windows
from vand_robot.nn import dual_step, explicit_regularizer, parameter_groups

STATE = "state"
"""Folder from which training goes on."""
MAY_CHANGE = ("epochs", "threads", "text", "explicit_regularizer")
"""Keys that may change when a run is resumed; the text itself may not."""
_PATIENCE = 5
"""Epochs that asgd waits for (Merity et al. 2018)."""

OnEpoch = Callable[["Epoch"], object]
"""Called after each epoch."""


class LanguageInterruptedError(VandError):
    """Ctrl-C; what the last finished epoch left is safe."""

    exit_code = 130


def perplexity(nll: float) -> float:
    """E to the mean negative log likelihood [nats per symbol]."""
    return math.exp(min(nll, 700.0))


@dataclass(frozen=True)
class Epoch:
    """The figures of one epoch."""

    epoch: int
    """Number, from 1."""
    train_nll: float
    """Mean of the training batches, with dropout and noise on [nats per symbol]."""
    valid_nll: float
    """Of the validation text [nats per symbol]."""
    learning_rate: float
    """Rate of this epoch."""
    seconds: float
    """Time that it took [s]."""
    explicit: float | None = None
    """The explicit regularizer after it, where it is asked for [nats per symbol]."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return vars(self).copy()

    @classmethod
    def from_json(cls, record: JsonRecord) -> "Epoch":
        """The epoch that `to_json` wrote."""
        return cls(
            record.integer("epoch", 1),
            record.number("train_nll"),
            record.number("valid_nll"),
            record.number("learning_rate"),
            record.number("seconds"),
            record.optional_number("explicit") if "explicit" in record.values else None,
        )


@dataclass
class LanguageTraining:
    """A language model in training."""

    config: LanguageConfig
    """The run."""
    corpus: Corpus
    """Its text."""
    model: LanguageModel
    """The network."""
    rate: float
    """Learning rate of the next epoch."""
    history: list[Epoch] = field(default_factory=list)
    """Epochs done."""
    averaged: dict[str, Tensor] = field(default_factory=dict)
    """asgd: the average of the weights; empty before it is begun."""
    averaged_steps: int = 0
    """Updates in it."""
    moments: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Parameter -> its moments in Adam: strengths, and weights where they have it too."""

    @classmethod
    def new(cls, config: LanguageConfig, corpus: Corpus) -> "LanguageTraining":
        """A model in its initial state."""
        torch.manual_seed(config.seed)
        model = LanguageModel(config.model, len(corpus.vocabulary))
        return cls(config, corpus, model, config.optimizer.learning_rate)

    def run(self, folder: Path, on_epoch: OnEpoch, interrupt: Interrupt) -> None:
        """Make the epochs that are left; each is saved when it is finished.

        Raises:
            LanguageInterruptedError: Ctrl-C.
            VandError: The loss is not finite, or the disk is full.
        """
        valid = rows(self.corpus.valid, self.config.eval_batch_size)
        train = rows(self.corpus.train, self.config.batch_size)
        while len(self.history) < self.config.epochs:
            began, rate = time.monotonic(), self.rate
            number = len(self.history) + 1
            nll = self._epoch(train, number, interrupt)
            with self.averaged_weights():
                valid_nll = self.model.mean_nll(valid, self.config.bptt)
            self._schedule(valid_nll)
            explicit = self._explicit(train) if self.config.explicit_regularizer else None
            done = Epoch(number, nll, valid_nll, rate, time.monotonic() - began, explicit)
            self.history.append(done)
            self.save(folder)
            on_epoch(done)

    def _epoch(self, train: Tensor, number: int, interrupt: Interrupt) -> float:
        config, model = self.config, self.model
        torch.manual_seed(config.seed + number)
        optimizers = self._optimizers()
        parameters = list(model.parameters())
        state: Tensor | None = None
        total = steps = 0.0
        model.train()
        for x, target in windows(train, config.bptt):
            nll, penalty, state = model.loss(x, target, state)
            model.zero_grad()
            (nll + penalty).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(parameters, config.optimizer.clip_norm)
            for optimizer in optimizers:
                optimizer.step()
            dual_step(model)
            total, steps = total + nll.item() * len(x), steps + len(x)
            if not math.isfinite(total):
                raise VandError(f"epoch {number}: the loss is not finite; lower the learning rate")
            if self._averages():
                self._average()
            if interrupt.requested:
                raise LanguageInterruptedError(
                    f"stopped in epoch {number}: {number - 1} epochs are safe; to go on: the same"
                    " command with --resume"
                )
        self.moments = {
            name: dict(optimizer.state[parameter])
            for name, parameter in model.named_parameters()
            for optimizer in optimizers
            if optimizer.state.get(parameter)
        }
        return total / steps

    @torch.no_grad()
    def _explicit(self, train: Tensor) -> float:
        """What the noise adds to the expected loss of the first window [nats per symbol].

        Its draws are its own: training goes on as if nobody had asked.
        """
        model = self.model
        model.train()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.config.seed)
            x = model.embedding(train[: self.config.bptt])
            return explicit_regularizer(model.core, model.head, x).item()

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimizer of the weights, and Adam for the regularizer's strengths if it has any."""
        options = self.config.optimizer
        groups = parameter_groups(
            self.model, learning_rate=self.rate, weight_decay=options.weight_decay
        )
        weights = [group for group in groups if group["name"] != "strengths"]
        strengths = [
            group | {"lr": options.strength_rate}
            for group in groups
            if group["name"] == "strengths"
        ]
        kind = torch.optim.AdamW if options.name == "adam" else torch.optim.SGD
        optimizers: list[torch.optim.Optimizer] = [kind(weights, lr=self.rate)]
        if strengths:
            optimizers.append(torch.optim.Adam(strengths, lr=options.strength_rate))
        for name, parameter in self.model.named_parameters():
            if name in self.moments:
                mine = optimizers[-1 if strengths and parameter in _members(strengths) else 0]
                mine.state[parameter] = dict(self.moments[name])
        return optimizers

    def _schedule(self, valid_nll: float) -> None:
        """Divide the rate where validation is worse than after the epoch before."""
        if self.history and valid_nll > self.history[-1].valid_nll:
            self.rate /= self.config.optimizer.divide_by

    def _averages(self) -> bool:
        options: LanguageOptimizerConfig = self.config.optimizer
        if options.name != "asgd":
            return False
        if self.averaged or options.average_after is not None:
            return bool(self.averaged) or len(self.history) >= (options.average_after or 0)
        losses = [epoch.valid_nll for epoch in self.history]
        return len(losses) > _PATIENCE and losses[-1] > min(losses[:-_PATIENCE])

    @torch.no_grad()
    def _average(self) -> None:
        self.averaged_steps += 1
        for name, value in self.model.state_dict().items():
            if name in self.averaged:
                self.averaged[name].lerp_(value, 1 / self.averaged_steps)
            else:
                self.averaged[name] = value.detach().clone()

    def averaged_weights(self) -> "_Weights":
        """A block in which the model has its averaged weights, if there are any."""
        return _Weights(self.model, self.averaged)

    def save(self, folder: Path) -> None:
        """Write the state from which training goes on; the last one is replaced when it is whole.

        Raises:
            VandError: The disk is full or fails.
        """
        weights = {f"weights/{name}": value for name, value in self.model.state_dict().items()}
        averages = {f"average/{name}": value for name, value in self.averaged.items()}
        moments = {
            f"moment/{part}/{name}": value
            for name, parts in self.moments.items()
            for part, value in parts.items()
        }
        tensors = {k: v.contiguous().clone() for k, v in {**weights, **averages, **moments}.items()}
        about = {
            "config": to_dict(self.config),
            "fingerprint": self.corpus.fingerprint,
            "rate": self.rate,
            "averaged_steps": self.averaged_steps,
            "history": [epoch.to_json() for epoch in self.history],
        }
        with disk_errors("write", folder), replacing_folder(folder / STATE) as new:
            safetensors.torch.save_file(tensors, new / "state.safetensors")
            write_bytes(new / "state.json", (json.dumps(about, indent=1) + "\n").encode())

    @classmethod
    def resumed(cls, config: LanguageConfig, corpus: Corpus, folder: Path) -> "LanguageTraining":
        """The training that a folder holds, exactly.

        Raises:
            UsageError: There is none, or it is of another configuration or text.
            VandError: It is damaged.
        """
        place = folder / STATE
        if not (place / "state.json").exists():
            raise UsageError(f"nothing to resume: no finished epoch in {folder}")
        record = JsonRecord.read(place / "state.json")
        _require_same(record.record("config").values, config, folder)
        if record.text("fingerprint") != corpus.fingerprint:
            raise UsageError(f"cannot resume {folder}: text: it is not the text of the run")
        new = cls.new(config, corpus)
        new.rate = record.number("rate", 0)
        new.averaged_steps = record.integer("averaged_steps", 0)
        new.history = [Epoch.from_json(entry) for entry in record.record_list("history")]
        tensors = _read_tensors(place / "state.safetensors")
        _load(new, tensors, place)
        return new


def _members(groups: Sequence[Mapping[str, Any]]) -> set[Tensor]:
    return {parameter for group in groups for parameter in group["params"]}


class _Weights:
    """Puts other weights into a model within a block."""

    def __init__(self, model: LanguageModel, weights: Mapping[str, Tensor]) -> None:
        self._model, self._weights = model, weights
        self._own: dict[str, Tensor] = {}

    def __enter__(self) -> None:
        if self._weights:
            self._own = {k: v.clone() for k, v in self._model.state_dict().items()}
            self._model.load_state_dict(dict(self._weights))

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._model.load_state_dict(self._own)


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(read_regular(file))
    except SafetensorError as error:
        raise VandError(f"{file} is damaged or no safetensors file: {error}") from None


def _load(training: LanguageTraining, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Take up weights, averages and moments.

    Raises:
        VandError: A tensor is missing or does not belong to the model.
    """
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part == "moment":
            moment, _, parameter = name.partition("/")
            training.moments.setdefault(parameter, {})[moment] = tensor
        else:
            parts.setdefault(part, {})[name] = tensor
    shapes = {name: value.shape for name, value in training.model.state_dict().items()}
    for part in ("weights", "average"):
        got = {name: value.shape for name, value in parts[part].items()}
        if got != shapes and (part == "weights" or got):
            raise VandError(f"{place}: {part}: the tensors are not those of the configuration")
    _require_moments(training, place)
    training.model.load_state_dict(parts["weights"])
    training.averaged = parts["average"]


def _require_moments(training: LanguageTraining, place: Path) -> None:
    """Check that the moments that were taken up are Adam's, of the model's parameters.

    Raises:
        VandError: They are not.
    """
    parameters = dict(training.model.named_parameters())
    for name, parts in training.moments.items():
        shape = parameters[name].shape if name in parameters else None
        expected = {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
        got = {part: value.shape for part, value in parts.items()}
        kinds = {value.dtype for value in parts.values()}
        if shape is None or got != expected or kinds != {torch.float32}:
            raise VandError(f"{place}: moments of {name!r:.60}: not those of the configuration")


def _require_same(before: Mapping[str, Any], config: LanguageConfig, folder: Path) -> None:
    # keys that are younger than the run had their defaults in it
    old = flatten(to_dict(LanguageConfig(model=config.model))) | flatten(before)
    now = flatten(to_dict(config))
    for key in sorted(old.keys() | now.keys()):
        if key not in MAY_CHANGE and old.get(key) != now.get(key):
            was, is_ = old.get(key), now.get(key)
            raise UsageError(f"cannot resume {folder}: {key} was {was!r}, now it is {is_!r}")
