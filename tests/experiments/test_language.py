"""Language models: text as numbers, perplexity, the schedule, the carried state, resume."""

import math
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vand_envs.errors import UsageError, VandError
from vand_robot.config.validation import build
from vand_robot.experiments.language.config import LanguageConfig, TextConfig, load_language_config
from vand_robot.experiments.language.model import LanguageModel
from vand_robot.experiments.language.sources import _text_vectors
from vand_robot.experiments.language.study import run_language
from vand_robot.experiments.language.text import (
    Corpus,
    Text,
    Vocabulary,
    read_text,
    rows,
    windows,
)
from vand_robot.experiments.language.training import LanguageTraining

SMALL = {
    "model": {"hidden_size": 12, "num_layers": 2},
    "optimizer": {"learning_rate": 5.0},
    "epochs": 3,
    "bptt": 7,
    "batch_size": 4,
    "eval_batch_size": 2,
}


def grammar(lines, seed=0):
    """Sentences of a small grammar: a subject decides its verb."""
    rng = random.Random(seed)
    verbs = {"cats": "sleep", "dogs": "bark", "birds": "sing"}
    adverbs = ("today", "often", "here")
    subjects = list(verbs)
    words = []
    for _ in range(lines):
        subject = rng.choice(subjects)
        words.append(f"{subject} {verbs[subject]} {rng.choice(adverbs)}")
    return "\n".join(words)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(grammar(400))
    return path


def config(file, **changes):
    return build(LanguageConfig, {**SMALL, "text": str(file), **changes})


def test_words_are_numbered_by_frequency_and_rare_ones_unknown():
    text = "a b a\n\nc a"
    vocabulary = Vocabulary.of(text, TextConfig(vocabulary=4))
    assert vocabulary.symbols == ("<unk>", "a", "<eos>", "b")
    assert vocabulary.encode("a d\nc", TextConfig()).tolist() == [1, 0, 2, 0, 2]
    assert Vocabulary.of(text, TextConfig(min_count=2)).symbols == ("<unk>", "a", "<eos>")


def test_characters_are_symbols_at_the_other_level():
    options = TextConfig(level="character")
    vocabulary = Vocabulary.of("aab\n", options)
    assert vocabulary.symbols == ("<unk>", "a", "\n", "b")
    assert vocabulary.encode("ba", options).tolist() == [3, 1]


def test_a_folder_with_splits_of_its_own_keeps_them(tmp_path):
    for name in ("train", "valid", "test"):
        (tmp_path / f"ptb.{name}.txt").write_text(f"this is {name}\n")
    text = read_text(tmp_path, TextConfig())
    assert (text.train, text.valid, text.test) == tuple(
        f"this is {name}\n" for name in ("train", "valid", "test")
    )


def test_a_text_without_splits_holds_its_end_back(file):
    text = read_text(file, TextConfig(valid_fraction=0.1, test_fraction=0.2))
    assert [len(part.splitlines()) for part in (text.train, text.valid, text.test)] == [280, 40, 80]
    assert f"{text.train}\n{text.valid}\n{text.test}" == file.read_text()


def test_windows_cover_every_row_from_left_to_right():
    table = rows(torch.arange(23), 2)  # 11 steps, one symbol dropped
    assert table[:, 1].tolist() == list(range(11, 22))
    pieces = list(windows(table, 4))
    assert [len(x) for x, _ in pieces] == [4, 4, 2]
    for x, target in pieces:
        assert torch.equal(target, x + 1)
    assert torch.cat([x for x, _ in pieces])[:, 0].tolist() == list(range(10))


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_the_vocabulary(file):
    corpus = Corpus.of(read_text(file, TextConfig()), TextConfig())
    model = LanguageModel(config(file).model, len(corpus.vocabulary))
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    nll = model.mean_nll(rows(corpus.test, 2), 7)
    assert math.exp(nll) == pytest.approx(len(corpus.vocabulary), rel=1e-5)


def test_perplexity_is_that_of_the_probabilities_by_hand(file):
    corpus = Corpus.of(read_text(file, TextConfig()), TextConfig())
    torch.manual_seed(3)
    model = LanguageModel(config(file).model, len(corpus.vocabulary)).eval()
    table = rows(corpus.test, 1)[:20]
    with torch.no_grad():
        output = model.core.run(model.embedding(table[:-1])).output
        logits = model.head(output)
    logits = logits.double().numpy()
    logits -= logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    by_hand = -np.mean([logs[t, 0, table[t + 1, 0]] for t in range(19)])
    assert model.mean_nll(table, 19) == pytest.approx(by_hand, rel=1e-5)
    assert model.mean_nll(table, 4) == pytest.approx(by_hand, rel=1e-5)  # the state is carried on


def test_weights_begin_as_the_paper_states(file):
    model = LanguageModel(config(file).model, 50)
    embedding = model.embedding.weight.detach()
    assert 0.09 < embedding.abs().max() <= 0.1
    limit = 1 / math.sqrt(12)
    for name, parameter in model.core.named_parameters():
        largest = float(parameter.detach().abs().max())
        assert largest == 0 if "bias" in name else 0.8 * limit < largest <= limit


def test_a_tied_softmax_shares_the_embedding(file):
    tied = {"model": {**SMALL["model"], "tied": True}}
    model = LanguageModel(config(file, **tied).model, 50)
    untied = LanguageModel(config(file).model, 50)
    count = [sum(p.numel() for p in m.parameters()) for m in (untied, model)]
    assert count[0] - count[1] == 50 * 12


def test_a_grammar_is_learned(file, tmp_path):
    results = run_language(config(file, epochs=6), tmp_path / "run", cache=tmp_path)
    # subject and adverb are one of three each, verb and end follow: (3 * 1 * 3 * 1) ** (1 / 4)
    assert results["test"]["perplexity"] < 2.2
    assert math.sqrt(3) < results["test"]["perplexity"]
    assert (tmp_path / "run/perplexity.png").stat().st_size > 0


def test_a_resumed_run_is_the_run_that_was_not_stopped(file, tmp_path):
    for name, changes in (
        ("sgd", {"model": {**SMALL["model"], "regularizer": {"name": "vand"}}}),
        ("adam", {"optimizer": {"name": "adam", "learning_rate": 1e-2}}),
        ("asgd", {"optimizer": {"name": "asgd", "learning_rate": 5.0, "average_after": 1}}),
    ):
        whole = run_language(config(file, **changes), tmp_path / name, cache=tmp_path)
        part = tmp_path / f"{name}-part"
        run_language(config(file, epochs=1, **changes), part, cache=tmp_path)
        resumed = run_language(config(file, **changes), part, cache=tmp_path, resume=True)
        assert resumed["test"] == whole["test"], name
        losses = [[e["valid_nll"] for e in r["epochs"]] for r in (whole, resumed)]
        assert losses[0] == losses[1], name


def test_noise_of_zero_is_none_bit_for_bit(file, tmp_path):
    runs = []
    for regularizer in ({"name": "none"}, {"name": "gaussian_noise", "scale": 0.0}):
        changes = {"model": {**SMALL["model"], "regularizer": regularizer}, "epochs": 1}
        out = tmp_path / regularizer["name"]
        runs.append(run_language(config(file, **changes), out, cache=tmp_path)["test"]["nll"])
    assert runs[0] == runs[1]


def test_the_rate_falls_only_where_validation_deteriorates(file):
    corpus = Corpus.of(read_text(file, TextConfig()), TextConfig())
    training = LanguageTraining.new(config(file), corpus)
    from vand_robot.experiments.language.training import Epoch  # noqa: PLC0415

    rates = []
    for number, nll in enumerate((5.0, 4.0, 4.5, 4.4, 4.6), 1):
        training._schedule(nll)
        training.history.append(Epoch(number, 0.0, nll, training.rate, 0.0))
        rates.append(training.rate)
    assert rates == pytest.approx([5, 5, 5 / 1.2, 5 / 1.2, 5 / 1.44])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": ""}, "name a file, a folder, or one of sotu"),
        ({"text": "nowhere.txt"}, "no file or folder nowhere.txt"),
        ({"batch_size": 100_000}, "too few for 100000 rows"),
    ],
)
def test_a_mistake_is_one_line(file, tmp_path, changes, words):
    with pytest.raises(VandError, match=words):
        run_language(config(file, **changes), tmp_path / "run", cache=tmp_path)


def test_another_text_or_model_is_not_resumed(file, tmp_path):
    run_language(config(file, epochs=1), tmp_path / "run", cache=tmp_path)
    with pytest.raises(UsageError, match=r"bptt was 7, now it is 9"):
        run_language(config(file, bptt=9), tmp_path / "run", cache=tmp_path, resume=True)
    file.write_text(grammar(400, seed=1))
    with pytest.raises(UsageError, match="not the text of the run"):
        run_language(config(file), tmp_path / "run", cache=tmp_path, resume=True)


def test_ready_made_configurations_are_the_papers():
    medium = load_language_config("noisin-medium", ["text=x"])
    assert (medium.model.hidden_size, medium.model.num_layers) == (650, 2)
    assert (medium.optimizer.learning_rate, medium.optimizer.divide_by) == (30, 1.2)
    with pytest.raises(UsageError, match="did you mean 'noisin-small'"):
        load_language_config("noisin-smal", [])


def test_texts_are_read_out_of_r_objects():
    def text(words):
        content = words.encode()
        return b"\x00\x04\x00\x09" + len(content).to_bytes(4, "big") + content

    lines = ["first line", "", "third"]
    vector = b"\x00\x00\x00\x10" + (3).to_bytes(4, "big") + b"".join(map(text, lines))
    assert list(_text_vectors(b"X\n\x00\x00\x00\x02\x00\x04\x00\x00" + vector)) == [lines]


def test_a_corpus_tells_how_much_is_unknown():
    text = Text("tiny", "a a b\n" * 4, "a c\n" * 4, "a\n" * 4)
    card = Corpus.of(text, TextConfig()).card()
    assert card["valid"] == {"symbols": 12, "unknown": pytest.approx(1 / 3)}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, key: tensors.update({key: tensors[key].half()}),
        lambda tensors, key: tensors.update({key: tensors[key].flatten()[:-1].clone()}),
        lambda tensors, key: tensors.pop(key),
        lambda tensors, key: tensors.update({"moment/exp_avg/nobody": tensors.pop(key)}),
    ],
    ids=["half", "cut", "absent", "nobody's"],
)
def test_moments_of_another_model_are_refused(file, tmp_path, change):
    optimizer = {"name": "adam", "learning_rate": 0.01}
    chosen = config(file, epochs=1, optimizer=optimizer)
    run_language(chosen, tmp_path / "run", cache=tmp_path)
    state = tmp_path / "run" / "state" / "state.safetensors"
    tensors = load_file(state)
    change(tensors, next(key for key in tensors if key.startswith("moment/exp_avg/")))
    save_file(tensors, state)
    longer = config(file, epochs=2, optimizer=optimizer)
    with pytest.raises(VandError, match=r"moments of .*: not those of the configuration"):
        run_language(longer, tmp_path / "run", cache=tmp_path, resume=True)
