"""Sweep files: what they may say, and the trials that they stand for."""

import pytest

from vand_envs.errors import UsageError
from vand_robot.config.library import find_sweep, ready_made_folder
from vand_robot.config.validation import build
from vand_robot.sweeps.plan import SweepPlan, settings
from vand_robot.sweeps.schema import SearchConfig, SweepConfig, load_sweep


def sweep(**keys):
    return build(SweepConfig, {"base": "single-task", **keys})


def plan(tmp_path, **keys):
    return SweepPlan.of(sweep(**keys), tmp_path / "sweep.yaml")


def test_every_method_size_and_seed_is_a_trial(tmp_path):
    made = plan(
        tmp_path,
        methods={"none": {"policy.regularizer": {"name": "none"}}, "vand": {}},
        demonstrations=[1, 2],
        seeds=[0, 7],
    )
    trials = [trial for method in made.methods for trial in made.trials(method, {})]
    assert [(t.method, t.demonstrations, t.seed) for t in trials] == [
        (method, size, seed) for method in ("none", "vand") for size in (1, 2) for seed in (0, 7)
    ]
    assert len({trial.key for trial in trials}) == len({trial.name for trial in trials}) == 8
    assert trials[0].config.policy.regularizer.__class__.__name__ == "NoRegularizer"
    assert trials[-1].config.demonstrations == 2
    assert trials[-1].config.seed == 7


REGIMES = {
    "few": {"overrides": {"demonstrations": 5}},
    "slip": {
        "overrides": {"policy.cell": "lstm", "policy.hidden_size": 7},
        "evaluation": {"perturbations": ["slip"], "episodes": 3},
        "development": True,
    },
}


def test_a_regime_lies_between_the_sweep_and_its_methods(tmp_path):
    made = plan(
        tmp_path,
        overrides={"policy.cell": "elman", "updates": 9},
        regimes=REGIMES,
        methods={"vand": {"policy.hidden_size": 8}},
        evaluation={"episodes": 2, "seeds": "test"},
        seeds=[0, 1],
    )
    few, _, slip, other_seed = made.trials("vand", {})
    assert [few.regime, slip.regime, other_seed.regime] == ["few", "slip", "slip"]
    assert (few.config.policy.cell, few.config.demonstrations) == ("elman", 5)
    assert (slip.config.policy.cell, slip.config.demonstrations) == ("lstm", None)
    assert (slip.config.policy.hidden_size, slip.config.updates) == (8, 9)
    assert (few.evaluation.perturbations, few.evaluation.episodes) == ((), 2)
    assert (slip.evaluation.perturbations, slip.evaluation.episodes) == (("slip",), 3)
    assert slip.evaluation.seeds == "test"
    assert slip.run_name == "slip-vand-seed0"
    assert few.label == slip.label == "vand"
    assert len({t.name for t in made.trials("vand", {})}) == 4


def test_a_sweep_without_regimes_has_the_trials_that_it_had(tmp_path):
    """Their keys name the folders of sweeps that are to be resumed."""
    (trial,) = plan(tmp_path).trials("single-task", {})
    assert trial.regime is None
    assert trial.run_name == "single-task-seed0"


def test_runs_are_named_so_that_compare_tells_methods_from_seeds(tmp_path):
    made = plan(tmp_path, seeds=[3])
    (trial,) = made.trials("single-task", {"optimizer.learning_rate": 0.01})
    assert trial.label == "single-task, optimizer.learning_rate=0.01"
    assert trial.run_name == "single-task-optimizer.learning_rate-0.01-seed3"


def test_grid_has_every_combination():
    search = SearchConfig("grid", {"a": [1, 2], "b": ["x", "y", "z"]})
    made = settings(search)
    assert len(made) == 6
    assert {(s["a"], s["b"]) for s in made} == {(a, b) for a in (1, 2) for b in "xyz"}


def test_random_search_stays_in_its_ranges_and_repeats_with_its_seed():
    space = {
        "rate": {"low": 1e-3, "high": 1e-1, "log": True},
        "units": {"low": 4, "high": 8},
        "cell": ["gru", "lstm"],
    }
    made = settings(SearchConfig("random", space, trials=200, seed=5))
    assert made == settings(SearchConfig("random", space, trials=200, seed=5))
    rates = [s["rate"] for s in made]
    assert all(1e-3 <= rate <= 1e-1 for rate in rates)
    # uniform in the logarithm: the geometric middle halves them (binomial, 4 standard deviations)
    assert abs(sum(rate < 1e-2 for rate in rates) - 100) < 29
    assert {s["units"] for s in made} == {4, 5, 6, 7, 8}
    assert {s["cell"] for s in made} == {"gru", "lstm"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"methods": {"vand": {"policy.regularizr": 1}}}, "policy.regularizer"),
        ({"overrides": {"updates": 0}}, "updates"),
        ({"methods": {"vand": 3}}, "methods.vand: expected `key: value` pairs"),
        ({"methods": {" ": {}}}, "methods: expected a name"),
        ({"seeds": [1, 1]}, "seeds: expected each once"),
        ({"seeds": []}, "seeds: expected one at least"),
        ({"search": {"sampler": "grid"}}, "expected `space`"),
        ({"search": {"sampler": "list", "space": {"updates": [1]}}}, "`settings` belong to"),
        ({"search": {"space": {"updates": []}}}, "search.space.updates: expected a list"),
        ({"search": {"space": {"updates": [5, "x"]}}}, "updates"),
        (
            {"search": {"sampler": "random", "space": {"updates": {"low": 5, "high": 1}}}},
            "low < high",
        ),
        (
            {"search": {"sampler": "tpe", "space": {"policy.cel": ["gru"]}}},
            "policy.cell",
        ),
        (
            {"search": {"sampler": "random", "space": {"updates": [1]}, "trials": 999_999_999}},
            "expected at most 10000 trials of one sweep, got",
        ),
        (
            {"search": {"space": {"updates": [*range(1, 200)], "seed": [*range(200)]}}},
            "expected at most 10000 trials",
        ),
        ({"evaluation": {"suite": "nominl"}}, "nominal"),
        ({"base": "singletask"}, "single-task"),
        ({"sedes": [1]}, "seeds"),
        ({"regimes": {"a/b": {}}}, "regimes: expected a name without a slash, got 'a/b'"),
        ({"regimes": {"few": {"overides": {}}}}, "regimes.few.overrides"),
        ({"regimes": {"few": {"overrides": {"updates": 0}}}}, "in regime 'few': "),
        ({"regimes": {"few": {"evaluation": {"suit": "x"}}}}, "regimes.few.evaluation.suite"),
        ({"regimes": {"few": {"evaluation": {"perturbations": ["slp"]}}}}, "slip"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(tmp_path, keys, words):
    with pytest.raises(UsageError) as caught:
        plan(tmp_path, **keys)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_file_names_itself_in_its_mistakes(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("base: single-task\nsedes: [1]\n")
    with pytest.raises(UsageError, match=r"my\.yaml.*seeds"):
        load_sweep(file)
    file.write_text("base: single-task\n")
    assert load_sweep(file, ["seeds=[4,5]"]).seeds == (4, 5)


def test_ready_made_sweeps_are_sound():
    names = [path.stem for path in (ready_made_folder() / "sweeps").glob("*.yaml")]
    assert names
    for name in names:
        file = find_sweep(name)
        data = "overrides.data=" + str(ready_made_folder().parent / "demos/data/workshop.hdf5")
        SweepPlan.of(load_sweep(file, [data]), file)
