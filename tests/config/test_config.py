from pathlib import Path

import pytest

from vand_envs.errors import UsageError
from vand_robot.config import validation
from vand_robot.config.loading import load_config, override
from vand_robot.config.schema import TrainConfig
from vand_robot.policies.recurrent import regularizer_of

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_yaml_and_overrides_are_laid_over_the_defaults(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("policy: {hidden_size: 64}\noptimizer: {learning_rate: 1e-4}\n")
    config = load_config(file, ["policy.cell=lstm", "policy.encoder.sizes=[32, 16]", "updates=7"])
    assert config.policy.hidden_size == 64
    assert config.policy.cell == "lstm"
    assert config.policy.encoder.sizes == (32, 16)
    assert config.optimizer.learning_rate == 1e-4
    assert config.updates == 7
    assert config.batch_size == TrainConfig().batch_size


def test_yaml_text_reads_back_to_an_equal_configuration(tmp_path: Path):
    config = load_config(
        None, ["data=[a.hdf5]", "policy.regularizer={name: vand, options: {beta: 1e-4}}"]
    )
    (tmp_path / "a.hdf5").touch()
    file = tmp_path / "run.yaml"
    file.write_text(validation.to_yaml(config))
    again = load_config(file)
    assert override(again, ["data=[a.hdf5]"]) == config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policy.hiden_size=3", "'policy.hiden_size' (did you mean 'policy.hidden_size'?)"),
        ("updates=many", "'updates': expected an integer >= 1, got 'many'"),
        ("policy.hidden_size=0", "'policy.hidden_size': expected an integer in [1, 8192], got 0"),
        ("policy.hidden_size=true", "expected an integer in [1, 8192], got True"),
        ("policy.hidden_size=99999999", "'policy.hidden_size': expected an integer in [1, 8192]"),
        ("policy.num_layers=99999", "'policy.num_layers': expected an integer in [1, 64]"),
        ("policy.future_actions.horizons_s=[1e308]", "expected a number in [0, 3600], got 1e+308"),
        ("threads=1000000", "'threads': expected an integer in [0, 1024], got 1000000"),
        ("policy.cell=gruu", "did you mean 'gru'?"),
        ("policy=big", "'policy': expected keys below it"),
        ("policy.hidden_size.x=3", "'policy.hidden_size': expected an integer"),
        ("policy.encoder.sizes=[8, a]", "'policy.encoder.sizes[1]': expected an integer"),
        ("policy.encoder.sizes=8", "'policy.encoder.sizes': expected a list, each item an integer"),
        ("policy.reset_every=0", "'policy.reset_every': expected an integer >= 1, got 0"),
        ("optimizer.learning_rate=fast", "'optimizer.learning_rate': expected a number >= 0"),
        ("optimizer.learning_rate=.nan", "'optimizer.learning_rate': expected a number >= 0"),
        ("ema_decay=1", "'ema_decay': expected a number in [0, 1)"),
        ("only_successful=maybe", "'only_successful': expected true or false"),
        ("updates", "expected key=value"),
        ("=3", "expected key=value"),
        ("data.first=x", "'data.first'"),
        ("updates=[", "'updates=['"),
        ("data=???", "'data=???': expected a value, got '???'"),
        ("policy.cell=???", "expected a value, got '???'"),
        ("updates=${nothing}", "'updates=${nothing}'"),
    ],
)
def test_a_bad_override_is_one_line_that_names_the_key(text: str, expected: str):
    with pytest.raises(UsageError) as caught:
        override(TrainConfig(), [text])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("updates: [", "line"),
        ("- 1\n- 2\n", "key: value"),
        ("polcy: {}\n", "did you mean 'policy'?"),
        ("a: b: c\n", "line 1"),
    ],
)
def test_a_bad_yaml_file_is_one_line(tmp_path: Path, content: str, expected: str):
    file = tmp_path / "run.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        load_config(file)
    assert expected in str(caught.value)


def test_a_missing_yaml_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no configuration file .*absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


def test_data_is_looked_for_beside_the_yaml_but_the_working_directory_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, elsewhere = tmp_path / "configs", tmp_path / "cwd"
    folder.mkdir()
    elsewhere.mkdir()
    file = folder / "run.yaml"
    file.write_text("data: [demos.hdf5]\n")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(UsageError, match=r"no file 'demos\.hdf5'"):
        load_config(file)
    (folder / "demos.hdf5").touch()
    assert load_config(file).data == (str(folder / "demos.hdf5"),)
    (elsewhere / "demos.hdf5").touch()
    assert load_config(file).data == ("demos.hdf5",)


def test_options_do_not_outlive_the_regularizer_they_were_written_for(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("policy: {regularizer: {name: vand, options: {beta: 0.01}}}\n")
    kept = load_config(file, ["policy.regularizer.options.sigma=0.1"]).policy.regularizer
    assert kept.options == {"beta": 0.01, "sigma": 0.1}
    other = load_config(file, ["policy.regularizer.name=dropout"]).policy.regularizer
    assert other.options == {}


def test_ready_made_runs_exist():
    assert CONFIGS


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_ready_made_run_is_valid(file: Path):
    config = load_config(file, ["data=[]"])
    regularizer_of(config.policy.regularizer)
