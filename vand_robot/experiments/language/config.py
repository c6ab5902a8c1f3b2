"""The schema of a language model's configuration."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from vand_envs.errors import UsageError, did_you_mean
from vand_envs.seeds import MAX_TRAINING_SEED
from vand_robot.config.loading import merge, read_yaml
from vand_robot.config.validation import Amount, Count, Fraction, build
from vand_robot.nn import Noisin, NoRegularizer, Range, Regularizer

Width = Annotated[int, Range(1, 8192, open_high=False)]
"""Units of a layer."""

READY_MADE = Path(__file__).with_name("configs")
"""Folder of the ready-made configurations."""


@dataclass(frozen=True)
class TextConfig:
    """The text, and what counts as a symbol."""

    level: Literal["word", "character"] = "word"
    """Whether a symbol is a word or a character."""
    vocabulary: Annotated[int, Range(2, 1_000_000, open_high=False)] = 10_000
    """Most symbols, the most frequent ones of the training text, `<unk>` and `<eos>` among them."""
    min_count: Count = 1
    """Symbols that are seen less often in the training text are `<unk>`."""
    lowercase: bool = True
    """Whether words are made lower case."""
    train_fraction: Annotated[float, Range(0, 1, open_low=True, open_high=False)] = 1.0
    """Share of the training text that is used, from its beginning: less of it overfits sooner."""
    valid_fraction: Fraction = 0.07
    """Share of a text without splits of its own that is validated on, before the test's."""
    test_fraction: Fraction = 0.07
    """Share at its end that is tested on."""


@dataclass(frozen=True)
class DropoutConfig:
    """Dropout of what flows up, never of the state (Zaremba et al. 2014)."""

    input: Fraction = 0.0
    """Of the embedding."""
    between: Fraction = 0.0
    """Between the recurrent layers."""
    output: Fraction = 0.0
    """Of what the softmax reads."""


@dataclass(frozen=True)
class ModelConfig:
    """Embedding -> recurrent layers -> softmax."""

    cell: str = "lstm"
    """The recurrent cell, one of `vand_robot.nn.CELLS`."""
    hidden_size: Width = 200
    """Units of each recurrent layer, and of the embedding."""
    num_layers: Annotated[int, Range(1, 64, open_high=False)] = 2
    """Recurrent layers."""
    tied: bool = False
    """Whether the softmax shares the embedding's weights (Press & Wolf 2017)."""
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    """Dropout between the layers."""
    regularizer: Regularizer = field(default_factory=NoRegularizer)
    """Recipe that acts on the recurrent state in training."""


@dataclass(frozen=True)
class LanguageOptimizerConfig:
    """The optimizer and its schedule."""

    name: Literal["sgd", "asgd", "adam"] = "sgd"
    """sgd; asgd: sgd whose weights are averaged once validation has stopped improving, or from the
    start (Merity et al. 2018); adam."""
    learning_rate: Amount = 30.0
    """Rate at the start."""
    divide_by: Annotated[float, Range(1)] = 1.2
    """The rate is divided by this whenever validation deteriorates; adam's too."""
    clip_norm: Annotated[float, Range(1e-6)] = 0.25
    """Gradients longer than this are shortened to it."""
    weight_decay: Amount = 0.0
    """Decoupled decay of the weights, but not of the regularizer's strengths."""
    strength_rate: Amount = 0.01
    """Rate of what a regularizer learns, always by Adam: a rate of 30 is for weights alone."""
    average_after: Annotated[int, Range(0)] | None = None
    """asgd: epoch after which weights are averaged, 0: from the start; null: once validation was
    worse than the best of all but the last five epochs."""


@dataclass(frozen=True)
class LanguageConfig:
    """One language model and its training."""

    text: str = ""
    """A file, a folder, or one of `sources.SOURCES`."""
    symbols: TextConfig = field(default_factory=TextConfig)
    """What counts as a symbol."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    optimizer: LanguageOptimizerConfig = field(default_factory=LanguageOptimizerConfig)
    """The optimizer."""
    epochs: Count = 12
    """Times that the training text is read."""
    bptt: Count = 35
    """Steps over which gradients flow back; the state is carried on."""
    batch_size: Count = 80
    """Rows into which the training text is cut; each is read from left to right."""
    eval_batch_size: Count = 10
    """Rows in validation and test."""
    explicit_regularizer: bool = False
    """Whether each epoch reports what Noisin's noise adds to the expected loss, by the paper's
    formula for weak noise, on the beginning of the training text [nats per symbol]."""
    seed: Annotated[int, Range(0, MAX_TRAINING_SEED, open_high=False)] = 1111
    """Everything random follows from it."""
    threads: Annotated[int, Range(1, 1024, open_high=False)] = 1
    """CPU threads of torch."""

    def __post_init__(self) -> None:
        if self.explicit_regularizer and not isinstance(self.model.regularizer, Noisin):
            raise UsageError(
                "explicit_regularizer: expected model.regularizer.name=noisin, whose formula it is"
            )


def ready_made() -> dict[str, Path]:
    """Name -> file of every ready-made configuration."""
    return {path.stem: path for path in sorted(READY_MADE.glob("*.yaml"))}


def load_language_config(name: str, overrides: list[str]) -> LanguageConfig:
    """Read a configuration.

    Args:
        name: YAML file, or the name of a ready-made one.
        overrides: `key=value` texts.

    Raises:
        UsageError: There is none, or a key or value is wrong.
    """
    known = ready_made()
    path = Path(name) if Path(name).is_file() else known.get(name)
    if path is None:
        hint = did_you_mean(Path(name).stem, known)
        raise UsageError(f"no configuration file {name!r}{hint}; ready-made: {', '.join(known)}")
    return build(LanguageConfig, merge(read_yaml(path), overrides))
