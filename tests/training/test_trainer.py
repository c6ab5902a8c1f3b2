import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tests.helpers.runs import (
    SMALL,
    counting_episode,
    override,
    random_episode,
    small_config,
    write,
    write_random,
)
from vand_demos.system.interrupt import obey_interrupt
from vand_envs.errors import UsageError, VandError
from vand_robot.config.loading import load_config
from vand_robot.config.schema import OptimizerConfig
from vand_robot.nn import Vand
from vand_robot.policies.checkpoint import load_checkpoint, load_policy
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.training.loop import TrainingInterruptedError
from vand_robot.training.optim import learning_rate
from vand_robot.training.threads import fastest_threads
from vand_robot.training.trainer import train

VARIANTS = {
    "plain": (),
    "vand": (
        "policy.regularizer={name: vand, budget: 5.0}",
        "optimizer.strength_rate=10",
        "truncate_steps=3",
    ),
    "held_out": (
        "policy.regularizer={name: vand, adaptation: held_out_beta}",
        "held_out={interval: 1, rotate_every: 3, spread: true}",
        "ema_decay=0.5",
    ),
    "averaged": ("ema_decay=0.9", "policy.regularizer.name=dropout", "policy.cell=lstm"),
    "reset": ("policy.reset_every=4", "input_noise_std=0.1", "policy.num_layers=2"),
}


def no_score(policy: RecurrentPolicy) -> Mapping[str, float]:
    return {"score": 0.0}


def interrupt(policy: RecurrentPolicy) -> Mapping[str, float]:
    signal.raise_signal(signal.SIGINT)
    return {"score": 0.0}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path, variant: str):
    config = small_config(write_random(tmp_path / "d.hdf5"), *VARIANTS[variant])
    train(config, tmp_path / "straight", score=no_score)
    with pytest.raises(TrainingInterruptedError, match="update 2 of 4") as caught:
        train(config, tmp_path / "stopped", score=interrupt)
    assert caught.value.exit_code == 130
    assert load_checkpoint(tmp_path / "stopped" / "last").update == 2
    train(config, tmp_path / "stopped", score=no_score, resume=True)
    for name in (
        "last/policy.safetensors",
        "last/optimizer.safetensors",
        "best/policy.safetensors",
    ):
        straight, stopped = (load_file(tmp_path / run / name) for run in ("straight", "stopped"))
        assert straight.keys() == stopped.keys()
        for key, tensor in straight.items():
            assert tensor.numpy().tobytes() == stopped[key].numpy().tobytes(), (name, key)
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("straight", "stopped")]
    assert len(lines[0].splitlines()) == 2
    assert "train/nll" in lines[0]  # a mean over updates on both sides of the interruption
    assert lines[0] == lines[1]


def test_automatic_threads_are_measured_kept_and_change_nothing_else(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"), "threads=auto")
    train(config, tmp_path / "auto")
    told = load_config(tmp_path / "auto" / "config.yaml").threads
    assert told == load_checkpoint(tmp_path / "auto").config.threads == 1  # torch has one here
    train(override(config, ["threads=1"]), tmp_path / "one")
    auto, one = (load_file(tmp_path / run / "last/policy.safetensors") for run in ("auto", "one"))
    assert all(torch.equal(auto[key], one[key]) for key in one)
    train(override(config, ["updates=6"]), tmp_path / "auto", resume=True)
    assert load_checkpoint(tmp_path / "auto" / "last").config.threads == told
    with pytest.raises(UsageError, match="threads was 1, now it is 2"):
        train(override(config, ["updates=8", "threads=2"]), tmp_path / "auto", resume=True)


def test_more_threads_are_taken_only_where_they_are_worth_it():
    def update_of(durations_s: Mapping[int, float]) -> Callable[[], None]:
        return lambda: time.sleep(durations_s[torch.get_num_threads()])

    before = torch.get_num_threads()
    try:
        assert fastest_threads(update_of({1: 0.02, 2: 0.01, 4: 0.0099}), 4) == 2
        assert torch.get_num_threads() == 2
        assert fastest_threads(update_of({1: 0.01, 2: 0.03}), 8) == 1
        assert fastest_threads(update_of({1: 0.01}), 1) == 1
    finally:
        torch.set_num_threads(before)


def test_a_callback_is_told_the_metrics_of_every_update(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    told: dict[int, Mapping[str, float]] = {}
    train(config, tmp_path / "run", score=no_score, on_update=told.__setitem__)
    assert list(told) == [1, 2, 3, 4]
    assert all({"train/loss", "train/nll", "train/learning_rate"} <= told[i].keys() for i in told)
    assert ["valid/nll" in told[i] for i in told] == [False, True, False, True]
    assert told[4]["rollouts/score"] == 0.0
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    mean = np.mean([told[i]["train/nll"] for i in told])
    assert lines[-1]["train/nll"] == pytest.approx(mean)  # the log has means, the callback does not


def test_a_run_that_its_callback_stopped_can_be_resumed(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))

    def stop(update: int, metrics: Mapping[str, float]) -> None:
        if update == 3:
            raise StopIteration

    with pytest.raises(StopIteration):
        train(config, tmp_path / "run", on_update=stop)
    assert load_checkpoint(tmp_path / "run" / "last").update == 2
    assert train(config, tmp_path / "run", resume=True).updates == 4


def test_training_leaves_the_callers_random_numbers_alone(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(config, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_ctrl_c_saves_and_the_run_can_go_on(tmp_path: Path):
    data, out = write_random(tmp_path / "d.hdf5"), tmp_path / "run"
    program = f"""
import sys
from vand_robot.config.loading import load_config
from vand_robot.training.trainer import train
from vand_envs.errors import VandError
try:
    train(load_config(None, ["data=[{data}]", *{SMALL!r}, "updates=100000"]), {str(out)!r})
except VandError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (out / "last" / "policy.json").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "--resume" in message
    assert "Traceback" not in message
    done = load_checkpoint(out / "last").update
    config = small_config(data, f"updates={done + 2}")
    assert train(config, out, resume=True).updates == done + 2


def test_a_policy_with_memory_learns_to_count_and_one_without_cannot(tmp_path: Path):
    rng = np.random.default_rng(0)
    data = write(tmp_path / "d.hdf5", [counting_episode(rng, seed) for seed in range(80)])
    options = (
        "policy.hidden_size=16",
        "batch_size=16",
        "updates=200",
        "optimizer.learning_rate=0.01",
        "validation_interval=200",
        "policy.regularizer.name=vand",
    )
    errors = {}
    for name, memory in (("memory", "null"), ("memoryless", "1")):
        config = small_config(data, *options, f"policy.reset_every={memory}")
        train(config, tmp_path / name)
        policy = load_policy(tmp_path / name)
        wrong = []
        for seed in range(20):
            episode = counting_episode(np.random.default_rng(1000 + seed), seed)
            state = None
            for t in range(len(episode)):
                now = {key: rows[t : t + 1] for key, rows in episode.observations.items()}
                action, state = policy.act(now, state)
                wrong.append(np.sign(action[0, 0]) != np.sign(episode.actions[t, 0]))
        errors[name] = np.mean(wrong)
    assert errors["memory"] < 0.05
    assert errors["memoryless"] > 0.2


def test_rollouts_choose_the_best_checkpoint_and_validation_loss_breaks_ties(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"), "updates=8")
    scores = iter([0.1, 0.9, 0.9, 0.3])
    seen: list[bool] = []

    def score(policy: RecurrentPolicy) -> Mapping[str, float]:
        seen.append(policy.training)
        return {"score": next(scores), "time_s": float("nan")}

    result = train(config, tmp_path / "run", score=score)
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    nll = {line["update"]: line["valid/nll"] for line in lines if "valid/nll" in line}
    assert result.best["update"] == min((4, 6), key=nll.get)
    assert load_checkpoint(tmp_path / "run").update == result.best["update"]
    assert load_checkpoint(tmp_path / "run" / "last").update == 8
    assert seen == [False] * 4


def test_without_rollouts_the_lowest_validation_loss_is_best(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    config = small_config(data, "updates=12", "optimizer.learning_rate=0.3")
    result = train(config, tmp_path / "run")
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert result.best["valid/nll"] == min(x["valid/nll"] for x in lines if "valid/nll" in x)


def test_strengths_have_a_rate_of_their_own_and_do_not_decay(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    moved = {}
    for rate in (0, 1, 10):
        options = ("policy.regularizer.name=vand", "optimizer.weight_decay=1")
        train(small_config(data, *options, f"optimizer.strength_rate={rate}"), tmp_path / f"{rate}")
        sampler = load_policy(tmp_path / f"{rate}" / "last").core.regularizer
        begun = Vand().bind(1, 8, 8)
        moved[rate] = (sampler.log_sigma - begun.log_sigma).abs().mean().item()
    assert moved[0] == 0
    assert 5 * moved[1] < moved[10] < 20 * moved[1]


def test_extras_are_stored_in_checkpoints_and_kept_on_resume(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    out = tmp_path / "runs" / "new" / "run"
    extras = {"cycles": {"wipe": [[0.1, 0.2], [0.3, 0.4]]}}
    train(config, out, extras=extras)
    assert load_checkpoint(out).extras == extras
    train(override(config, ["updates=6"]), out, resume=True)
    assert load_checkpoint(out / "last").extras == extras


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    messages = []

    def second(policy: RecurrentPolicy) -> Mapping[str, float]:
        with pytest.raises(VandError) as caught:
            train(config, tmp_path / "run", resume=True)
        messages.append(str(caught.value))
        return {"score": 1.0}

    train(config, tmp_path / "run", score=second)
    assert "another process" in messages[-1]  # the first finds nothing to resume yet


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    config = small_config(data, "optimizer.learning_rate=1e38", "optimizer.warmup_updates=0")
    with pytest.raises(VandError, match=r"update \d: not finite.*non-finite\.safetensors"):
        train(config, tmp_path / "run")
    saved = load_file(tmp_path / "run" / "non-finite.safetensors")
    assert saved["observations"].shape[:2] == saved["states"].shape[:2]
    assert saved.keys() == {"observations", "actions", "lengths", "states"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("policy.hidden_size=9", "policy.hidden_size was 8, now it is 9"),
        ("seed=1", "seed"),
        ("policy.regularizer={name: vand, beta: 1.0}", "regularizer"),
    ],
)
def test_resuming_another_run_is_refused_by_key(tmp_path: Path, change: str, expected: str):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    train(config, tmp_path / "run")
    with pytest.raises(UsageError, match=expected):
        train(override(config, [change]), tmp_path / "run", resume=True)


def test_resuming_with_other_demonstrations_is_refused(tmp_path: Path):
    train(small_config(write_random(tmp_path / "a.hdf5")), tmp_path / "run")
    other = small_config(write_random(tmp_path / "b.hdf5", seed=1))
    with pytest.raises(UsageError, match="demonstrations"):
        train(other, tmp_path / "run", resume=True)


def test_resuming_with_other_validation_data_is_refused_and_old_states_are_not(tmp_path: Path):
    rng = np.random.default_rng(0)
    first, second, held_back, other = (random_episode(rng, "wipe", 5, seed=i) for i in range(4))
    masks = {"train": [0, 1], "valid": [2]}
    data = write(tmp_path / "a.hdf5", [first, second, held_back], masks)
    train(small_config(data), tmp_path / "run")
    changed = small_config(write(tmp_path / "b.hdf5", [first, second, other], masks))
    with pytest.raises(UsageError, match="held back for validation are not those of the run"):
        train(changed, tmp_path / "run", resume=True)
    alone = small_config(write(tmp_path / "c.hdf5", [first, second]), "valid_fraction=0")
    with pytest.raises(UsageError, match="valid_fraction"):
        train(alone, tmp_path / "run", resume=True)
    file = tmp_path / "run" / "last" / "trainer.json"
    facts = json.loads(file.read_text())
    del facts["valid_fingerprint"], facts["means"]
    file.write_text(json.dumps(facts))
    assert train(override(changed, ["updates=6"]), tmp_path / "run", resume=True).updates == 6


def test_a_resumed_run_writes_its_present_configuration_and_refuses_fewer_updates(tmp_path: Path):
    config, out = small_config(write_random(tmp_path / "d.hdf5")), tmp_path / "run"
    train(config, out)
    train(override(config, ["updates=6", "validation_interval=3"]), out, resume=True)
    told = load_config(out / "config.yaml")
    assert (told.updates, told.validation_interval) == (6, 3)
    before = (out / "config.yaml").read_bytes()
    with pytest.raises(UsageError, match="updates: expected at least the 6 that are done, got 5"):
        train(override(config, ["updates=5"]), out, resume=True)
    assert (out / "config.yaml").read_bytes() == before


def test_object_attention_without_near_field_scales_is_refused(tmp_path: Path):
    data, without = write_random(tmp_path / "d.hdf5"), "policy.near_field_scales_m=[]"
    with pytest.raises(UsageError, match=r"policy\.attention_heads=0"):
        small_config(data, without)
    train(small_config(data, without, "policy.attention_heads=0"), tmp_path / "run")


def test_tasks_without_validation_rollouts_are_named(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    for scored, told in ((["wipe"], True), ([], False)):
        text = StringIO()
        options = {"console": Console(file=text), "score": no_score, "scored_tasks": scored}
        train(config, tmp_path / "run", **options, force=True)
        note = "note: no validation rollouts of stow-cube: no successful"
        assert (note in text.getvalue()) == told


def test_force_replaces_a_run_and_no_other_folder(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    out = tmp_path / "run"
    train(config, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        train(config, out)
    train(override(config, ["seed=1"]), out, force=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert load_checkpoint(out).config.seed == 1
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "config.yaml").write_text("chapter: 1\n")
    with pytest.raises(UsageError, match="not a run's folder"):
        train(config, foreign, force=True)
    assert (foreign / "config.yaml").exists()


@pytest.mark.parametrize("out", ["absent", "empty"])
def test_resuming_an_absent_or_empty_folder_is_refused(tmp_path: Path, out: str):
    config = small_config(write_random(tmp_path / "d.hdf5"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError):
        train(config, tmp_path / out, resume=True)


def test_the_file_of_a_run_is_no_folder_to_resume(tmp_path: Path):
    config, out = small_config(write_random(tmp_path / "d.hdf5")), tmp_path / "run"
    train(config, out)
    with pytest.raises(
        UsageError, match=r"config\.yaml is not a folder; its run's folder is .*run$"
    ):
        train(config, out / "config.yaml", resume=True)


def test_a_console_without_a_terminal_gets_plain_lines(tmp_path: Path):
    text = StringIO()
    config = small_config(write_random(tmp_path / "d.hdf5"), "policy.regularizer.name=vand")
    train(config, tmp_path / "run", console=Console(file=text, width=40))
    last = text.getvalue().splitlines()[-1]
    assert last.startswith("update 4/4")
    assert all(word in last for word in ("loss", "valid", "nats", "sigma", "d 0.0"))


def test_the_learning_rate_warms_up_and_comes_down():
    config = OptimizerConfig(learning_rate=1.0, warmup_updates=10, final_fraction=0.1)
    rates = [learning_rate(update, 100, config) for update in range(1, 101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[9:]))


def test_schedules_act_and_a_resumed_run_goes_on_exactly(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    chain = (
        "policy.regularizer={name: chain, regularizers: [{name: vand}, {name: zoneout, z: 0.3}]}"
    )
    schedules = (
        "schedules=[{option: beta, start: 0.0, end: 0.01, updates: 3, shape: cosine},"
        "{option: z, start: 0.3, end: 0.1, updates: 3, begin: 1}]"
    )
    config = small_config(data, chain, schedules)
    seen: list[float] = []

    def note(_: int, metrics: Mapping[str, float]) -> None:
        seen.append(metrics["train/beta"])

    train(config, tmp_path / "whole", on_update=note)
    assert seen == pytest.approx([0.0025, 0.0075, 0.01, 0.01])
    train(dataclasses.replace(config, updates=2), tmp_path / "run")
    train(config, tmp_path / "run", resume=True)
    straight, resumed = (load_checkpoint(tmp_path / name / "last") for name in ("whole", "run"))
    for key, tensor in straight.policy.state_dict().items():
        assert torch.equal(tensor, resumed.policy.state_dict()[key]), key
    member = resumed.policy.core.regularizer.members[1]
    assert member.recipe.z == pytest.approx(0.1)
    half_way = load_checkpoint(tmp_path / "run").policy  # of whichever update was best
    assert half_way.core.regularizer.members[1].recipe.z != 0.3


RAMP = "{option: scale, start: 0, end: 1, updates: 5}"


@pytest.mark.parametrize(
    ("schedules", "expected"),
    [
        ("[{option: beta, start: 0, end: 1, updates: 5}]", "schedules[0]: no regularizer here"),
        ("[{option: scale, start: 0, end: -1, updates: 5}]", "schedules[0]: scale must lie"),
        ("[{option: scale, start: 0, end: 1}]", "'schedules[0].updates' is missing"),
        ("[{option: scale, start: 0, end: 1, update: 5}]", "schedules[0].updates"),
        (f"[{', '.join([RAMP] * 2)}]", "schedules[1]: 'scale' has a schedule already"),
    ],
)
def test_a_bad_schedule_is_one_line(tmp_path: Path, schedules: str, expected: str):
    with pytest.raises(UsageError) as caught:
        small_config(
            tmp_path / "d.hdf5",
            "policy.regularizer={name: gaussian_noise}",
            f"schedules={schedules}",
        )
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_stopped_in_its_validation_rollouts_goes_on_exactly(tmp_path):
    data = write_random(tmp_path / "demos.hdf5")
    asked = []

    def score(policy, stop=False):
        weight = float(next(policy.parameters()).detach().flatten()[0])
        asked.append(weight)
        if stop and len(asked) == 1:
            os.kill(os.getpid(), signal.SIGUSR1)
            obey_interrupt()
        return {"score": weight}

    config = small_config(data)
    whole = train(config, tmp_path / "whole", score=score)
    expected, asked = asked, []
    with pytest.raises(TrainingInterruptedError, match="update 2 of 4"):
        train(config, tmp_path / "run", score=lambda policy: score(policy, stop=True))
    assert len(asked) == 1
    resumed = train(config, tmp_path / "run", score=score, resume=True)
    assert asked[1:] == expected
    assert resumed.best == whole.best
    weights = [(tmp_path / n / "last/policy.safetensors").read_bytes() for n in ("whole", "run")]
    assert weights[0] == weights[1]
    lines = [(tmp_path / n / "metrics.jsonl").read_text() for n in ("whole", "run")]
    assert lines[0] == lines[1]
