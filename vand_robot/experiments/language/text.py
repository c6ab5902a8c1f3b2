"""Text as numbers: splits, vocabulary, and rows that are read from left to right."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from vand_demos.system.files import read_regular
from vand_demos.system.limits import require_room
from vand_envs.errors import UsageError, VandError
from vand_robot.experiments.language.config import TextConfig

UNKNOWN, END = "<unk>", "<eos>"
"""A symbol that is not in the vocabulary; the end of a line."""

SPLIT_NAMES = {
    "train": ("train", "ptb.train", "wiki.train"),
    "valid": ("valid", "ptb.valid", "wiki.valid"),
    "test": ("test", "ptb.test", "wiki.test"),
}
"""Stems of the files of a folder that has splits of its own: PTB, WikiText-2 and their like."""


@dataclass(frozen=True)
class Text:
    """A text in three splits."""

    name: str
    """Name."""
    train: str
    """Training text."""
    valid: str
    """Validation text."""
    test: str
    """Test text."""
    about: str = ""
    """Source and licence, where they are known."""


def read_text(path: Path, config: TextConfig) -> Text:
    """Read a file or a folder of text.

    A folder with files `train`, `valid` and `test` (also `ptb.train.txt`, `wiki.train.tokens`) has
    its own splits. Otherwise its files, by name, are one text, of which the end is held back.

    Raises:
        UsageError: There is no such file or folder, or no text in it.
        VandError: It is too large, or not UTF-8.
    """
    if not path.exists():
        raise UsageError(f"text: no file or folder {path}")
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    require_room(str(path), sum(file.stat().st_size for file in files))
    own = _own_splits(files)
    if own is not None:
        return Text(path.name, **{name: _decoded(file) for name, file in own.items()})
    return split_text(path.name, "\n".join(map(_decoded, files)), config)


def split_text(name: str, text: str, config: TextConfig, about: str = "") -> Text:
    """Hold the end of a text back, at the ends of lines.

    Raises:
        UsageError: There is too little text.
    """
    lines = text.splitlines()
    test = round(len(lines) * config.test_fraction)
    valid = round(len(lines) * config.valid_fraction)
    train = len(lines) - valid - test
    if min(train, valid, test) < 1:
        raise UsageError(f"text: {name} has {len(lines)} lines; too few to hold some of them back")
    parts = (lines[:train], lines[train : train + valid], lines[train + valid :])
    texts = ["\n".join(part) for part in parts]
    return Text(name, texts[0], texts[1], texts[2], about)


def symbols_of(text: str, config: TextConfig) -> Iterator[str]:
    """The symbols of a text: words with `<eos>` after each line, or characters."""
    if config.level == "character":
        yield from text
        return
    for line in text.splitlines():
        if words := (line.lower() if config.lowercase else line).split():
            yield from words
            yield END


@dataclass(frozen=True)
class Vocabulary:
    """Symbols with their numbers."""

    symbols: tuple[str, ...]
    """The symbols, the most frequent first; `<unk>` is among them."""

    @classmethod
    def of(cls, text: str, config: TextConfig) -> Self:
        """The vocabulary of a training text; of equally frequent symbols the first by the alphabet.

        Raises:
            UsageError: There is no text.
        """
        counts = Counter(symbols_of(text, config))
        if not counts:
            raise UsageError("text: the training text is empty")
        counts.pop(UNKNOWN, None)
        ranked = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
        kept = [symbol for symbol in ranked if counts[symbol] >= config.min_count]
        return cls((UNKNOWN, *kept[: config.vocabulary - 1]))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str, config: TextConfig) -> Tensor:
        """The numbers of a text, (N,) int64; unknown symbols become `<unk>`."""
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        return torch.tensor([number.get(s, 0) for s in symbols_of(text, config)], dtype=torch.long)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as numbers."""

    name: str
    """Name of the text."""
    about: str
    """Source and licence, where they are known."""
    vocabulary: Vocabulary
    """Its symbols."""
    train: Tensor
    """(N,) int64."""
    valid: Tensor
    """(N,) int64."""
    test: Tensor
    """(N,) int64."""

    @classmethod
    def of(cls, text: Text, config: TextConfig) -> Self:
        """The numbers of a text, by the vocabulary of its training split.

        Raises:
            UsageError: There is no training text.
        """
        train = text.train
        if config.train_fraction < 1:
            lines = train.splitlines()
            train = "\n".join(lines[: max(1, round(config.train_fraction * len(lines)))])
        vocabulary = Vocabulary.of(train, config)
        parts = (vocabulary.encode(part, config) for part in (train, text.valid, text.test))
        return cls(text.name, text.about, vocabulary, *parts)

    @property
    def fingerprint(self) -> str:
        """A hash of all of it."""
        digest = sha256("\0".join(self.vocabulary.symbols).encode("utf-8", "replace"))
        for part in (self.train, self.valid, self.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:16]

    def card(self) -> dict[str, object]:
        """Name, source, counts and the share of unknown symbols, for reports."""
        return {
            "name": self.name,
            "about": self.about,
            "vocabulary": len(self.vocabulary),
            **{
                name: {"symbols": len(part), "unknown": float((part == 0).float().mean())}
                for name, part in (
                    ("train", self.train),
                    ("valid", self.valid),
                    ("test", self.test),
                )
            },
        }


def rows(numbers: Tensor, batch_size: int) -> Tensor:
    """Cut a text into rows, time first: (T, B); what is left over at its end is dropped.

    Raises:
        VandError: There are fewer than two symbols in a row.
    """
    steps = len(numbers) // batch_size
    if steps < 2:
        raise VandError(
            f"text: {len(numbers)} symbols are too few for {batch_size} rows of at least two"
        )
    return numbers[: steps * batch_size].reshape(batch_size, steps).t().contiguous()


def windows(table: Tensor, bptt: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of a table of rows, at most `bptt` steps at a time, from left to right."""
    for start in range(0, len(table) - 1, bptt):
        end = min(start + bptt, len(table) - 1)
        yield table[start:end], table[start + 1 : end + 1]


def _own_splits(files: Sequence[Path]) -> dict[str, Path] | None:
    found = {
        split: file
        for split, stems in SPLIT_NAMES.items()
        for file in files
        if file.stem in stems or file.name in stems
    }
    return found if found.keys() == SPLIT_NAMES.keys() else None


def _decoded(file: Path) -> str:
    try:
        return read_regular(file).decode()
    except UnicodeDecodeError as error:
        raise VandError(f"{file}: expected UTF-8 text: {error.reason} at {error.start}") from None
