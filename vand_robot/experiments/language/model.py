"""The language model: embedding, recurrent layers, softmax."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from vand_robot.experiments.language.config import ModelConfig
from vand_robot.nn import CategoricalHead, make_cell

EMBEDDING_RANGE = 0.1
"""Embeddings begin uniform in plus or minus this (Dieng et al. 2018)."""


class LanguageModel(nn.Module):
    """A recurrent language model.

    Embeddings begin uniform in +-0.1, all other weights uniform in +-1/sqrt(H), biases 0, as the
    paper on Noisin states (Dieng et al. 2018, section 5).

    Args:
        config: Sizes, cell and regularizer.
        symbols: Size of the vocabulary, V.
    """

    def __init__(self, config: ModelConfig, symbols: int) -> None:
        super().__init__()
        size, dropout = config.hidden_size, config.dropout
        self.config = config
        self.embedding = nn.Embedding(symbols, size)
        options: dict[str, Any] = {"dropout": dropout.between} if dropout.between else {}
        self.core: Any = make_cell(
            config.cell, size, size, config.num_layers, regularizer=config.regularizer, **options
        )
        self.head = CategoricalHead(size, symbols)
        strengths = {id(p) for p in self.core.regularizer.parameters()}
        for name, parameter in self.named_parameters():
            if id(parameter) in strengths:
                continue
            if name.startswith("embedding"):
                nn.init.uniform_(parameter, -EMBEDDING_RANGE, EMBEDDING_RANGE)
            elif parameter.ndim > 1:
                nn.init.uniform_(parameter, -1 / math.sqrt(size), 1 / math.sqrt(size))
            elif "bias" in name:
                nn.init.zeros_(parameter)
        if config.tied:
            for name, parameter in self.head.named_parameters():
                if parameter.shape == self.embedding.weight.shape:
                    owner, _, attribute = name.rpartition(".")
                    setattr(self.head.get_submodule(owner), attribute, self.embedding.weight)

    def loss(
        self, x: Tensor, target: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of a window.

        Args:
            x: (T, B) symbols.
            target: (T, B) the symbols that follow.
            state: State to go on from, detached; None at the beginning of the text.

        Returns:
            Mean negative log likelihood [nats per symbol], the regularizer's penalty, and the state
            to go on from, detached.
        """
        dropout = self.config.dropout
        embedded = nn.functional.dropout(self.embedding(x), dropout.input, self.training)
        result = self.core.run(embedded, state)
        read = nn.functional.dropout(result.output, dropout.output, self.training)
        return self.head.nll(read, target), result.terms.penalty, result.state.detach()

    @torch.no_grad()
    def mean_nll(self, table: Tensor, bptt: int) -> float:
        """Mean negative log likelihood of rows (T, B), state carried on [nats per symbol]."""
        self.eval()
        total, state = 0.0, None
        for start in range(0, len(table) - 1, bptt):
            end = min(start + bptt, len(table) - 1)
            nll, _, state = self.loss(table[start:end], table[start + 1 : end + 1], state)
            total += nll.item() * (end - start)
        return total / (len(table) - 1)
