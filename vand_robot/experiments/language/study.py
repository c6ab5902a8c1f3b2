"""A language model as a folder: configuration, state, results, a curve and a page."""

import json
import math
from pathlib import Path
from typing import Any

import torch

from vand_demos.system.files import disk_errors, exclusive, write_bytes
from vand_demos.system.interrupt import Interrupt
from vand_demos.system.json_record import JsonRecord
from vand_envs.errors import UsageError
from vand_robot import figures
from vand_robot.config.loading import to_yaml
from vand_robot.experiments.language.config import LanguageConfig
from vand_robot.experiments.language.figures import perplexity_curves
from vand_robot.experiments.language.sources import SOURCES, fetch_text
from vand_robot.experiments.language.text import Corpus, read_text, rows
from vand_robot.experiments.language.training import (
    Epoch,
    LanguageTraining,
    OnEpoch,
    perplexity,
)
from vand_robot.layout import claim_folder, remove_entries

CONFIG, RESULTS, CURVE = "config.yaml", "results.json", "perplexity.png"


def load_corpus(config: LanguageConfig, cache: Path) -> Corpus:
    """The text of a configuration, as numbers.

    Args:
        config: The run.
        cache: Folder where texts of `SOURCES` are kept.

    Raises:
        UsageError: No text is named, or there is none of that name.
        VandError: It cannot be fetched or read.
    """
    if not config.text:
        raise UsageError(f"text: name a file, a folder, or one of {', '.join(SOURCES)}")
    if config.text in SOURCES and not Path(config.text).exists():
        return Corpus.of(fetch_text(config.text, cache, config.symbols), config.symbols)
    return Corpus.of(read_text(Path(config.text), config.symbols), config.symbols)


def run_language(
    config: LanguageConfig,
    out: Path,
    *,
    cache: Path,
    resume: bool = False,
    force: bool = False,
    on_epoch: OnEpoch = lambda _: None,
) -> dict[str, Any]:
    """Train a language model, and write its perplexities.

    Args:
        config: The run.
        out: Folder for `config.yaml`, `state/`, `results.json` and `perplexity.png`.
        cache: Folder where fetched texts are kept.
        resume: Go on after the last finished epoch, exactly.
        force: Replace a run that is there.
        on_epoch: Called after each epoch.

    Returns:
        The content of `results.json`.

    Raises:
        UsageError: A mistake in the configuration, or a folder that is taken.
        VandError: The text cannot be had, the loss is not finite, or the disk is full.
        LanguageInterruptedError: Ctrl-C.
    """
    known = (out / CONFIG).is_file()
    claim_folder(out, "run", CONFIG, known=known, resume=resume, force=force)
    torch.set_num_threads(config.threads)
    corpus = load_corpus(config, cache)
    with disk_errors("write", out):
        out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / "writing", out):
        if force:
            remove_entries(out, tuple(out / name for name in (CONFIG, RESULTS, CURVE, "state")))
        training = (
            LanguageTraining.resumed(config, corpus, out)
            if resume
            else LanguageTraining.new(config, corpus)
        )
        write_bytes(out / CONFIG, to_yaml(config).encode())
        with Interrupt() as interrupt:
            training.run(out, on_epoch, interrupt)
        results = _results(training)
        write_bytes(out / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
        figures.write_png(perplexity_curves({out.name: training.history}), out / CURVE)
    return results


def _results(training: LanguageTraining) -> dict[str, Any]:
    config, corpus = training.config, training.corpus
    table = rows(corpus.test, config.eval_batch_size)
    with training.averaged_weights():
        test = training.model.mean_nll(table, config.bptt)
    valid = training.history[-1].valid_nll
    in_bits = config.symbols.level == "character"
    return {
        "text": corpus.card(),
        "parameters": sum(p.numel() for p in training.model.parameters()),
        "valid": {"nll": valid, "perplexity": perplexity(valid)},
        "test": {"nll": test, "perplexity": perplexity(test)},
        **({"bits_per_character": test / math.log(2)} if in_bits else {}),
        "epochs": [epoch.to_json() for epoch in training.history],
        "strengths": _strengths(training),
    }


def check_results(record: JsonRecord) -> int:
    """Check the results of a run that were read from its file.

    Returns:
        The number of its epochs, at least one.

    Raises:
        VandError: Something that is read from them is missing or of another type.
    """
    record.record("text").text("name")
    for part in ("valid", "test"):
        record.record(part).number("nll")
        record.record(part).number("perplexity", 0.0)
    epochs = [Epoch.from_json(epoch) for epoch in record.record_list("epochs")]
    if [epoch.epoch for epoch in epochs] != list(range(1, len(epochs) + 1)) or not epochs:
        raise record.mistake("epochs", "epochs from 1 on, each once")
    return len(epochs)


def _strengths(training: LanguageTraining) -> dict[str, float]:
    """The regularizer's own figures after the last update: noise, dropout, nats."""
    training.model.train()
    metrics = training.model.core.regularizer.metrics()
    return {name: float(value) for name, value in metrics.items()}
