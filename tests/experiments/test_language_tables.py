"""Tables of language models: the search, the seeds, what is written, and that it goes on."""

import csv
import json
import math

import pytest
import yaml

from tests.experiments.test_language import SMALL, grammar
from tests.helpers.results import with_value
from vand_envs.errors import UsageError
from vand_robot.config.validation import build
from vand_robot.experiments.comparison.methods import ABLATION
from vand_robot.experiments.language.config import LanguageConfig
from vand_robot.experiments.language.study import run_language
from vand_robot.experiments.language.table_study import LanguageRuns, _epochs, in_words, run_table
from vand_robot.experiments.language.tables import load_table, ready_made_tables, trials_of


@pytest.fixture
def file(tmp_path):
    """A table of two methods on a generated text."""
    text = tmp_path / "text.txt"
    text.write_text(grammar(300))
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump({**SMALL, "text": str(text), "epochs": 2}))
    table = {
        "config": str(config),
        "seeds": [5, 6, 7],
        "methods": [
            {"name": "none", "compared": True},
            {
                "name": "noise",
                "set": "model.regularizer.name=noisin model.regularizer.form=multiplicative",
                "settings": ["model.regularizer.spread=20", "model.regularizer.spread=0.1"],
            },
        ],
    }
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(table))
    return path


def test_a_table_is_made_once_and_its_numbers_are_those_of_its_models(file, tmp_path):
    table, seen = load_table(str(file)), []
    out = tmp_path / "out"
    told = {"texts": tmp_path, "jobs": 1}
    results = run_table(table, out, progress=lambda *now: seen.append(now), **told)
    assert seen[-1][1] == _epochs(table) == 10  # 3 + 2 models of 2 epochs
    none, noise = results["rows"]
    assert (none["method"], none["n"], noise["n"]) == ("none", 3, 1)
    assert noise["setting"] == "model.regularizer.spread=0.1"
    with (out / "trials.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 5
    mine = [float(row["test_perplexity"]) for row in rows if row["method"] == "none"]
    assert none["test"]["mean"] == pytest.approx(sum(mine) / 3)
    assert none["test"]["low"] < none["test"]["mean"] < none["test"]["high"]
    assert noise["test"]["low"] is None
    assert in_words(noise["test"]) in (out / "table.md").read_text()
    assert (out / "perplexity.png").stat().st_size > 0
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))

    models = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json")}
    assert run_table(table, out, progress=lambda *_: None, **told) == results
    assert models == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json")}


def test_a_table_goes_on_after_the_last_finished_epoch_of_each_model(file, tmp_path):
    table = load_table(str(file))
    whole = run_table(table, tmp_path / "whole", texts=tmp_path, jobs=1, progress=lambda *_: None)
    out = tmp_path / "part"
    first, second = (
        trials_of(table, method, method.settings[0], table.seeds[:1])[0] for method in table.methods
    )
    short = build(
        LanguageConfig, {**yaml.safe_load((tmp_path / "small.yaml").read_text()), "seed": 5}
    )
    assert short == first.config
    run_language(
        build(
            LanguageConfig,
            {**yaml.safe_load((tmp_path / "small.yaml").read_text()), "seed": 5, "epochs": 1},
        ),
        out / "runs" / first.key,
        cache=tmp_path,
    )  # killed after its first epoch, and before the first one of another model
    (out / "runs" / first.key / "results.json").unlink()
    (out / "runs" / second.key).mkdir()
    (out / "runs" / second.key / "config.yaml").touch()
    part = run_table(table, out, texts=tmp_path, jobs=1, progress=lambda *_: None)
    assert part["rows"] == whole["rows"]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("text",), None),
        (("text", "name"), 3),
        (("valid", "nll"), "low"),
        (("test",), {}),
        (("test", "perplexity"), float("nan")),
        (("epochs",), []),
        (("epochs", 0), {}),
        (("epochs", 1, "epoch"), 1),
        (("epochs", 1, "seconds"), None),
        (("epochs", 0, "valid_nll"), float("inf")),
    ],
)
def test_results_of_a_model_that_are_damaged_count_as_none(file, tmp_path, keys, value):
    table = load_table(str(file))
    (trial,) = trials_of(table, table.methods[0], "", table.seeds[:1])
    of_epoch = {"train_nll": 2.0, "valid_nll": 2.1, "learning_rate": 0.1, "seconds": 1.0}
    part = {"nll": 2.0, "perplexity": math.exp(2.0)}
    results = {
        "text": {"name": "text"},
        "valid": part,
        "test": part,
        "epochs": [{"epoch": number, **of_epoch} for number in (1, 2)],
    }
    (tmp_path / trial.key).mkdir()
    path = tmp_path / trial.key / "results.json"
    runs = LanguageRuns(tmp_path, lambda _: None)
    damaged = with_value(results, keys, value)
    path.write_text(json.dumps(damaged))
    assert runs.load(trial) is None
    path.write_text(json.dumps(results))
    assert runs.load(trial) == results


def test_every_ready_made_table_can_be_read_and_the_ablation_has_the_common_names():
    tables = {name: load_table(name) for name in ready_made_tables()}
    assert {method.name for method in tables["ablation"].methods} == set(ABLATION)
    names = [method.name for method in tables["austen"].methods]
    assert len([name for name in names if name.startswith("D + ")]) == 9
    assert len([name for name in names if name.endswith(", additive")]) == 8
    variances = {
        build_regularizer(tables["austen"], method).variance
        for method in tables["austen"].methods
        if ", additive" in method.name
    }
    assert all(variance == pytest.approx(0.04, rel=0.05) for variance in variances)


def build_regularizer(table, method):
    return trials_of(table, method, method.settings[0], (0,))[0].config.model.regularizer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": []}, "methods: expected names, each once; got none"),
        ({"drawn": ["nonne"]}, "did you mean 'none'"),
        ({"seeds": [1, 1]}, "seeds: expected numbers, each once"),
        ({"seeds": [2**64]}, r"seeds\[0\]': expected an integer"),
        ({"set": "epoch=3"}, "none: .*epoch"),
    ],
)
def test_a_mistake_in_a_table_is_one_line(fails, file, tmp_path, change, words):
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))
    with pytest.raises(UsageError, match=words):
        load_table(str(file))
    code, line = fails("experiments", "language-table", file, "--out", tmp_path / "out")
    assert code == 2
    code, line = fails("experiments", "language-table", "austin", "--out", tmp_path / "out")
    assert "did you mean 'austen'" in line


def test_the_explicit_regularizer_is_reported_and_changes_nothing(file, tmp_path):
    values = yaml.safe_load((tmp_path / "small.yaml").read_text())
    values["model"]["regularizer"] = {"name": "noisin", "spread": 0.3, "form": "additive"}
    runs = [
        run_language(
            build(LanguageConfig, {**values, "explicit_regularizer": asked}),
            tmp_path / str(asked),
            cache=tmp_path,
        )
        for asked in (False, True)
    ]
    assert runs[0]["test"] == runs[1]["test"]
    found = [[epoch["explicit"] for epoch in run["epochs"]] for run in runs]
    assert found[0] == [None, None]
    assert all(0 < value < 1 for value in found[1])
    with pytest.raises(UsageError, match=r"expected model\.regularizer\.name=noisin"):
        build(LanguageConfig, {"explicit_regularizer": True})


def test_a_share_of_the_training_text_leaves_the_others_whole(file, tmp_path):
    values = yaml.safe_load((tmp_path / "small.yaml").read_text())
    cards = [
        run_language(
            build(LanguageConfig, {**values, "epochs": 1, "symbols": {"train_fraction": share}}),
            tmp_path / str(share),
            cache=tmp_path,
        )["text"]
        for share in (1.0, 0.5)
    ]
    assert cards[1]["train"]["symbols"] == pytest.approx(cards[0]["train"]["symbols"] / 2, rel=0.01)
    assert cards[1]["test"]["symbols"] == cards[0]["test"]["symbols"]
    assert math.isclose(cards[0]["test"]["unknown"], 0)
