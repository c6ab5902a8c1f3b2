"""The table that collects VAND's ablation from the experiments' own results."""

import json

import pytest
import yaml

from tests.experiments.test_language import SMALL, grammar
from vand_envs.errors import UsageError, VandError
from vand_robot.experiments.ablation import ablation_columns, write_ablation
from vand_robot.experiments.comparison.methods import ABLATION, METHODS
from vand_robot.experiments.language.table_study import run_table
from vand_robot.experiments.language.tables import load_table
from vand_robot.experiments.sequences.plan import Plan
from vand_robot.experiments.sequences.study import run_study


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """A study of two methods on sequences."""
    out = tmp_path_factory.mktemp("studies") / "sequences"
    plan = Plan(
        updates=1,
        seeds=(0,),
        tuning_seeds=(9,),
        signals={"gru": ("van-der-pol",)},
        methods=("none", "VAND, noise only"),
    )
    run_study(out, plan, jobs=1, progress=lambda *_: None)
    return out


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A table of two language models."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "text.txt").write_text(grammar(200))
    small = {**SMALL, "text": str(folder / "text.txt"), "epochs": 1}
    (folder / "small.yaml").write_text(yaml.safe_dump(small))
    table = {
        "config": str(folder / "small.yaml"),
        "seeds": [1],
        "methods": [{"name": "none"}, {"name": "VAND", "set": "model.regularizer.name=vand"}],
    }
    (folder / "table.yaml").write_text(yaml.safe_dump(table))
    loaded = load_table(str(folder / "table.yaml"))
    run_table(loaded, folder / "out", texts=folder, jobs=1, progress=lambda *_: None)
    return folder / "out"


def test_every_experiment_has_the_methods_of_the_ablation():
    assert set(ABLATION) <= set(METHODS)


def test_the_table_holds_what_the_experiments_found(sequences, language, tmp_path):
    columns = ablation_columns(sequences, None, language)
    assert [column.title for column in columns] == [
        "sequences, gru, van-der-pol, n = 1",
        "language, text.txt, test perplexity, n = 1",
    ]
    assert list(columns[0].values) == ["none", "VAND, noise only"]
    rows = json.loads((language / "results.json").read_text())["rows"]
    assert columns[1].values["VAND"].value == rows[1]["test"]["mean"]
    write_ablation(columns, tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + len(ABLATION)
    assert f"| VAND |  | {rows[1]['test']['mean']:.2f} |" in lines


def test_mistakes_are_one_line(fails, sequences, tmp_path):
    out = ("--out", tmp_path / "table.md")
    code, line = fails("experiments", "ablation", *out)
    assert code == 2
    assert "name at least one folder" in line
    code, line = fails("experiments", "ablation", "--series", tmp_path, *out)
    assert code == 2
    assert "--series: no results.json" in line
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    content = json.loads((sequences / "results.json").read_text())
    content["methods"][0]["in_tolerance"]["iqm"] = "much"
    (damaged / "results.json").write_text(json.dumps(content))
    with pytest.raises(VandError, match=r"methods\[0\]\.in_tolerance\.iqm"):
        ablation_columns(damaged, None, None)
    content["methods"] = [{**content["methods"][1], "method": "another"}]
    (damaged / "results.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match="none of these methods"):
        ablation_columns(damaged, None, None)
    assert not (tmp_path / "table.md").exists()
