import dataclasses
from pathlib import Path

import pytest

from tests.helpers.runs import override
from vand_envs.errors import UsageError
from vand_robot.config.library import find_config, ready_made_folder
from vand_robot.config.loading import load_config, to_yaml
from vand_robot.config.schema import PolicyConfig, TrainConfig
from vand_robot.config.validation import build, to_dict
from vand_robot.nn import Chain, Dropout, GaussianNoise, NoRegularizer, Regularizer, Vand

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
    config = load_config(None, ["data=[a.hdf5]", "policy.regularizer={name: vand, beta: 1e-4}"])
    (tmp_path / "a.hdf5").touch()
    file = tmp_path / "run.yaml"
    file.write_text(to_yaml(config))
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
        ("threads=1000000", "'threads': expected an integer in [1, 1024] or 'auto', got 1000000"),
        ("threads=atuo", "'threads': expected an integer in [1, 1024] or 'auto', got 'atuo'"),
        ("policy.regularizer.name=vant", "policy.regularizer.name: 'vant' (did you mean 'vand'?)"),
        ("policy.regularizer={name: vand, bet: 1}", "did you mean 'policy.regularizer.beta'?"),
        ("policy.regularizer={name: vand, sigma: big}", "sigma': expected a number > 0, got 'big'"),
        ("policy.regularizer={name: vand, sigma: -1}", "sigma': expected a number > 0, got -1"),
        ("policy.regularizer={name: vand, sigma: 0.0001}", "'policy.regularizer': sigma must lie"),
        ("policy.regularizer={name: vand, budget: 0}", "budget': expected a number > 0, got 0"),
        ("policy.regularizer={name: dropout, p: 1}", "p': expected a number in [0, 1), got 1"),
        ("policy.regularizer={name: vand, mask: row}", "policy.regularizer.mask: 'row'; known"),
        ("policy.regularizer=vand", "'policy.regularizer': expected a name (none, "),
        ("policy.regularizer.beta=1", "unknown option of 'none': 'policy.regularizer.beta'"),
        ("policy.regularizer.name=chain", "a chain needs at least one regularizer"),
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
    file.write_text("policy: {regularizer: {name: vand, beta: 0.01}}\n")
    kept = load_config(file, ["policy.regularizer.sigma=0.1"]).policy.regularizer
    assert kept == Vand(beta=0.01, sigma=0.1)
    other = load_config(file, ["policy.regularizer.name=dropout"]).policy.regularizer
    assert other == Dropout()


def test_ready_made_runs_exist():
    assert CONFIGS


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_ready_made_run_is_valid(file: Path):
    config = load_config(file, ["data=[]"])
    assert isinstance(config.policy.regularizer, Regularizer)
    assert build(TrainConfig, to_dict(config)) == config


def test_a_regularizer_is_its_name_and_its_options():
    config = override(TrainConfig(), ["policy.regularizer={name: vand, beta: 1, budget: 20}"])
    assert config.policy.regularizer == Vand(beta=1.0, budget=20.0)
    assert TrainConfig().policy.regularizer == NoRegularizer()
    written = to_dict(config)["policy"]["regularizer"]
    assert (written["name"], written["budget"], written["sigma"]) == ("vand", 20.0, 0.05)


def test_a_chain_of_regularizers_is_a_list_of_names_and_options():
    text = "policy.regularizer={name: chain, regularizers: [{name: vand}, {name: dropout, p: 0.2}]}"
    config = override(TrainConfig(), [text])
    assert config.policy.regularizer == Chain((Vand(), Dropout(p=0.2)))
    assert build(TrainConfig, to_dict(config)) == config
    with pytest.raises(UsageError, match=r"policy\.regularizer\.regularizers\[1\]\.q"):
        override(config, [text.replace("p:", "q:")])


def test_changing_only_an_option_keeps_the_others():
    start = override(TrainConfig(), ["policy.regularizer={name: gaussian_noise, scale: 0.3}"])
    assert override(start, ["policy.regularizer.on=hidden"]).policy.regularizer == GaussianNoise(
        scale=0.3, on="hidden"
    )


def test_attention_without_ranges_to_look_through_is_refused():
    with pytest.raises(UsageError, match=r"policy\.attention_heads=0"):
        PolicyConfig(near_field_scales_m=())
    assert PolicyConfig(near_field_scales_m=(), attention_heads=0).attention_heads == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data=a.hdf5", ("a.hdf5",)),
        ("data=a.hdf5,b.hdf5", ("a.hdf5", "b.hdf5")),
        ("data=a.hdf5, b.hdf5", ("a.hdf5", "b.hdf5")),
        ("data=[a.hdf5]", ("a.hdf5",)),
        ("data=['a,b.hdf5']", ("a,b.hdf5",)),
        ("data=x[1].hdf5", ("x[1].hdf5",)),
        ("data=/tmp/h{x}/a", ("/tmp/h{x}/a",)),
        ("data=010.hdf5", ("010.hdf5",)),
        ("data=yes", ("yes",)),
        ("data=[]", ()),
    ],
)
def test_one_text_is_a_list_of_one_and_a_comma_makes_several(text: str, expected: tuple[str, ...]):
    assert override(TrainConfig(), [text]).data == expected


@pytest.mark.parametrize(
    "text", ["data=[x[1].hdf5]", "data=[*.hdf5]", "data=*.hdf5", "data=[h{x}/a]", "data='a"]
)
def test_special_characters_without_quotes_are_one_clear_line(text: str):
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        override(TrainConfig(), [text])
    assert str(caught.value).startswith(f"override {text!r}: not valid YAML, ")
    assert "special characters needs quotes: data='\"...\"'" in str(caught.value)


def test_numbers_are_decimal_and_never_of_base_sixty():
    assert override(TrainConfig(), ["seed=010"]).seed == 10
    assert override(TrainConfig(), ["seed=0x10"]).seed == 16
    for text in ("updates=1:30", "updates=1_000", "only_successful=yes", f"seed={'9' * 5000}"):
        with pytest.raises(UsageError, match=r"^[^\n]*$"):
            override(TrainConfig(), [text])


def test_text_that_looks_like_a_number_stays_text_in_a_written_configuration(tmp_path: Path):
    names = ("010", "0o17", "1e5", "1:30", "yes", "null", "~", "1_000", "2026-01-01", "é: [x]")
    for name in names:
        (tmp_path / name).touch()
    config = dataclasses.replace(TrainConfig(), data=names, input_noise_std=1e-6)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    again = load_config(tmp_path / "run.yaml")
    assert [Path(path).name for path in again.data] == list(names)
    assert again.input_noise_std == 1e-6


def test_a_yaml_file_is_read_as_overrides_are(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text("seed: 010\ntasks: wipe, stir\nupdates: ${seed}\n")
    config = load_config(file)
    assert (config.seed, config.tasks, config.updates) == (10, ("wipe", "stir"), 10)
    for content, expected in (
        ("seed: 1\nseed: 2\n", "line 2: not valid YAML, key 'seed' comes twice"),
        ("updates: ${nothing}\n", "cannot be read as YAML"),
        ("[" * 5000, "line 1: not valid YAML, nested deeper than 50"),
        ("seed: !!int 3\n", "line 1: not valid YAML, a tag"),
        (f"seed: {'9' * 21}\n", "cannot be read as YAML, an integer of at most 20 digits"),
        ("a: &a [*a]\n", "line 1: not valid YAML, an anchor that holds itself"),
        ("", "got nothing"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
            load_config(file)
        assert expected in str(caught.value)


def test_ready_made_configurations_of_an_installed_package_lie_inside_it(tmp_path: Path):
    package = tmp_path / "site-packages" / "vand_robot"
    (package.parent / "configs").mkdir(parents=True)  # somebody else's
    assert ready_made_folder(package) == package / "configs"
    (package.parent / "pyproject.toml").touch()
    assert ready_made_folder(package) == package.parent / "configs"
    (package / "configs").mkdir(parents=True)
    assert ready_made_folder(package) == package / "configs"


def test_a_ready_made_run_without_its_data_says_how_to_record_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "configs").mkdir()
    for name in ("single-task", "instructed"):
        copy = tmp_path / "configs" / f"{name}.yaml"
        copy.write_text(find_config(name).read_text())
    monkeypatch.setattr("vand_robot.config.library.ready_made_folder", lambda: tmp_path / "configs")
    expected = "vand-robot record wipe --episodes 50 --out demos.hdf5"
    with pytest.raises(UsageError, match=rf"^single-task: .*data=demos\.hdf5: {expected}$"):
        load_config(find_config("single-task"))
    with pytest.raises(UsageError, match=r"^instructed: .*vand-robot record all --episodes"):
        load_config(find_config("instructed"))
