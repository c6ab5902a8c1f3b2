import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.helpers.runs import small_config, write_random
from vand_envs.errors import UsageError, VandError
from vand_robot.config.schema import MixtureConfig
from vand_robot.nn import Vand
from vand_robot.policies.checkpoint import load_checkpoint, load_policy
from vand_robot.training.trainer import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(write_random(folder / "d.hdf5"), "policy.regularizer.name=vand")
    train(config, folder / "run")
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change_json(file: Path, **changes: object) -> None:
    facts = json.loads(file.read_text())
    facts |= changes
    file.write_text(json.dumps(facts))


def observation(n: int = 1) -> dict[str, np.ndarray]:
    sizes = {"ee_pos": 3, "gripper": 2, "instruction": 2}
    return {key: np.ones((n, size), np.float32) for key, size in sizes.items()}


def test_a_policy_comes_back_as_it_was_saved(run: Path):
    saved, again = load_checkpoint(run), load_policy(run / "best")
    assert not again.training
    for key, tensor in saved.policy.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
    assert saved.policy.spec == again.spec
    assert saved.config.policy.regularizer == Vand()
    np.testing.assert_array_equal(saved.policy.act(observation())[0], again.act(observation())[0])


def test_a_policy_with_a_mixture_comes_back_and_the_run_goes_on_exactly(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5")
    options = ("policy.head=gmm", "policy.mixture.modes=3", "policy.mixture.act=sample")
    config = small_config(data, *options)
    train(config, tmp_path / "whole")
    train(dataclasses.replace(config, updates=2), tmp_path / "run")
    train(config, tmp_path / "run", resume=True)
    straight, resumed = (load_checkpoint(tmp_path / name / "last") for name in ("whole", "run"))
    for key, tensor in straight.policy.state_dict().items():
        assert torch.equal(tensor, resumed.policy.state_dict()[key]), key
    assert straight.config.policy.mixture == MixtureConfig(3, "sample")
    again = load_policy(tmp_path / "run" / "last")
    np.testing.assert_array_equal(
        straight.policy.act(observation(4))[0], again.act(observation(4))[0]
    )


@pytest.mark.parametrize("cell", ["mingru", "lru", "layernorm_lstm"])
def test_policies_of_every_kind_of_cell_are_trained_and_come_back(tmp_path: Path, cell: str):
    data = write_random(tmp_path / "d.hdf5")
    options = (f"policy.cell={cell}", "policy.regularizer.name=vand", "truncate_steps=3")
    train(small_config(data, *options), tmp_path / "run")
    saved, again = load_checkpoint(tmp_path / "run"), load_policy(tmp_path / "run" / "best")
    actions, state = saved.policy.act(observation())
    np.testing.assert_array_equal(actions, again.act(observation())[0])
    assert not np.array_equal(actions, saved.policy.act(observation(), state)[0])


def test_nothing_in_a_run_is_a_pickle(run: Path):
    files = [*run.glob("best/*"), *run.glob("last/*")]
    assert {f.suffix for f in files} == {".json", ".safetensors"}


def test_a_run_s_folder_stands_for_its_best_checkpoint_or_else_its_last(run: Path):
    change_json(run / "last" / "policy.json", update=77)
    assert load_checkpoint(run).update != 77
    shutil.rmtree(run / "best")
    assert load_checkpoint(run).update == 77


def test_a_crash_between_the_two_renames_loses_nothing(run: Path):
    (run / "last").rename(run / ".last.old")
    assert load_checkpoint(run / "last").update == 4


@pytest.mark.parametrize("path", ["absent", "."])
def test_a_folder_without_a_checkpoint_is_named(tmp_path: Path, path: str):
    with pytest.raises(UsageError, match="no checkpoint"):
        load_policy(tmp_path / path)


@pytest.mark.parametrize("path", [".", "..", "/"])
def test_a_path_without_a_name_is_a_folder_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="no checkpoint"):
        load_policy(Path(path))


def damage(run: Path, kind: str) -> None:
    weights, head = run / "best" / "policy.safetensors", run / "best" / "policy.json"
    content = weights.read_bytes()
    facts = json.loads(head.read_text())
    if kind == "truncated weights":
        weights.write_bytes(content[: len(content) // 2])
    elif kind == "empty weights":
        weights.write_bytes(b"")
    elif kind == "a flipped bit":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "a pickle for weights":
        torch.save({"a": torch.zeros(1)}, weights)
    elif kind == "missing weights":
        weights.unlink()
    elif kind == "foreign weights":
        save_file({"a": torch.zeros(1)}, weights)
    elif kind == "truncated JSON":
        head.write_text(head.read_text()[:100])
    elif kind == "another format":
        change_json(head, format="something-else")
    elif kind == "an older version":
        change_json(head, format_version=1)
    elif kind == "a newer version":
        change_json(head, format_version=99)
    elif kind == "a list for a mapping":
        head.write_text("[1, 2]")
    elif kind == "a missing part":
        facts.pop("spec")
        head.write_text(json.dumps(facts))
    elif kind == "an unknown key":
        facts["config"]["policy"]["magic"] = 1
        head.write_text(json.dumps(facts))
    elif kind == "an unknown regularizer":
        facts["config"]["policy"]["regularizer"]["name"] = "magic"
        head.write_text(json.dumps(facts))
    elif kind == "no hashes":
        change_json(head, sha256=None)
    elif kind == "another size":
        facts["config"]["policy"]["hidden_size"] = 9
        head.write_text(json.dumps(facts))
    else:
        raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "truncated weights",
        "empty weights",
        "a flipped bit",
        "a pickle for weights",
        "missing weights",
        "foreign weights",
        "truncated JSON",
        "another format",
        "an older version",
        "a newer version",
        "a list for a mapping",
        "a missing part",
        "an unknown key",
        "an unknown regularizer",
        "no hashes",
        "another size",
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_one_line_that_names_the_file(run: Path, kind: str):
    damage(run, kind)
    with pytest.raises(VandError) as caught:
        load_policy(run)
    assert str(run / "best" / "policy.") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resuming_notices_a_damaged_optimizer(run: Path):
    file = run / "last" / "optimizer.safetensors"
    tensors = load_file(file)
    save_file({key: tensor + 1 for key, tensor in tensors.items()}, file)
    saved = load_checkpoint(run / "last")
    with pytest.raises(VandError, match=r"optimizer\.safetensors is damaged"):
        train(saved.config, run, resume=True)
