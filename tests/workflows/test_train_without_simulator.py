"""Training on what others recorded: no world, native actions, and the validation loss decides."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.helpers.runs import SMALL, load_config
from vand_demos import DemoDataset
from vand_demos.interop import ImportOptions, import_dataset
from vand_envs.errors import UsageError, VandError
from vand_robot.config.library import find_config
from vand_robot.data.loading import load_data
from vand_robot.evaluation.evaluate import evaluate
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.workflows.train import run_training

DRAWER = Path("tests/fixtures/metaworld_drawer_open.hdf5")
REACH = Path("tests/fixtures/lerobot_v3")


@pytest.fixture(scope="module")
def drawer(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("drawer") / "drawer.hdf5"
    import_dataset(DRAWER, path, "robomimic", ImportOptions(instruction="open the drawer"))
    return path


def trained(data: Path, out: Path, *overrides: str) -> tuple[Path, str]:
    console = Console(file=io.StringIO(), width=200)
    run_training(
        find_config("gru-plain"), [f"data=[{data}]", *SMALL, *overrides], out, console=console
    )
    return out, console.file.getvalue()


def test_the_validation_loss_chooses_and_the_log_says_so(drawer, tmp_path):
    run, log = trained(drawer, tmp_path / "run", "updates=6")
    line = "note: no simulator for open-the-drawer: the validation loss chooses the checkpoint"
    assert line in log
    saved = load_checkpoint(run)
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    losses = {line["update"]: line["valid/nll"] for line in lines if "valid/nll" in line}
    assert saved.update == min(losses, key=losses.get)
    assert not any("rollouts/score" in line for line in lines)
    with pytest.raises(VandError, match="in a world that is not here"):
        evaluate(run)


def test_the_policy_answers_in_the_units_of_the_source(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "reach.hdf5"
    import_dataset(REACH, path, "lerobot")
    run, _ = trained(path, tmp_path / "run", "updates=40", "ema_decay=0", "policy.hidden_size=32")
    policy = load_checkpoint(run).policy
    assert policy.object_attention is None
    assert policy.normalizer.width == policy.spec.observation_size
    with DemoDataset.open(path) as dataset:
        episode = dataset.episode("demo_1")
        low, high = episode.action_low, episode.action_high
    assert policy.spec.action_low == tuple(low)
    state, acted = None, []
    for step in range(len(episode)):
        seen = {
            key: rows[step]
            for key, rows in episode.observations.items()
            if key in policy.spec.observations
        }
        action, state = policy.act(seen, state)
        acted.append(action)
    acted = np.array(acted)
    assert acted.dtype == np.float32
    assert np.all((acted >= np.float32(low)) & (acted <= np.float32(high)))
    assert np.abs(acted - episode.native_actions).mean() < 0.25 * (high - low).max()
    assert np.abs(acted).max() > 5  # degrees


def test_objects_are_looked_at_where_they_are_named(drawer, tmp_path):
    options = "policy.objects=[observation]", "policy.attention_heads=1"
    run, _ = trained(drawer, tmp_path / "run", *options)
    policy = load_checkpoint(run).policy
    assert policy.object_attention is not None
    assert policy.normalizer.width == 39 * (1 + len(policy.config.near_field_scales_m))
    with pytest.raises(UsageError, match=r"unknown value of policy\.objects: 'observations'"):
        trained(drawer, tmp_path / "other", "policy.objects=[observations]")


def test_episodes_of_unknown_outcome_are_trained_on_unless_excluded(drawer):
    assert len(load_data(load_config(None, [f"data=[{drawer}]"])).train) == 12
    with pytest.raises(VandError, match="no successful demonstration to train on"):
        load_data(load_config(None, [f"data=[{drawer}]", "only_known=true"]))
