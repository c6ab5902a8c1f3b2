"""Push and pull against a local stand-in of the Hub's API, by the Hub's own client."""

import shutil

import numpy as np
import pytest
import yaml

from tests.helpers.hub import stand_in
from tests.helpers.results import evaluation_result, perturbation_result, task_result
from tests.helpers.runs import small_config, write_random
from vand_demos import DemoDataset
from vand_envs.errors import UsageError, VandError
from vand_robot.policies.checkpoint import load_policy
from vand_robot.training.trainer import train

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from vand_robot.hub import pull, push


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with stand_in() as (hub, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        yield hub


@pytest.fixture
def data(tmp_path):
    return write_random(tmp_path / "demos.hdf5")


@pytest.fixture
def run(data, tmp_path):
    out = tmp_path / "run"
    train(small_config(data), out)
    result = evaluation_result({"wipe": task_result({"nominal": perturbation_result(7, 8)})})
    (out / "evaluation").mkdir()
    (out / "evaluation/results.json").write_text(result.json_text())
    return out


def test_a_run_comes_back_with_a_card(hub, run, tmp_path):
    address = push(run, "me/wiper")
    assert address.endswith("/me/wiper")
    stored = hub.repositories["model", "me/wiper"]
    assert "last/optimizer.safetensors" not in stored
    card = stored["README.md"].decode()
    meta = yaml.safe_load(card.split("---")[1])
    assert meta["license"] == "mit"
    assert meta["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.875
    assert "| wipe | nominal | 7/8 | 53 to 98 % |" in card
    assert "hidden_size: 8" in card
    back = pull("me/wiper", tmp_path / "back")
    mine, theirs = load_policy(run), load_policy(back)
    for name, tensor in mine.state_dict().items():
        assert tensor.equal(theirs.state_dict()[name])
    assert not (back / ".cache").exists()


def test_a_data_set_comes_back(hub, data, tmp_path):
    push(data, "me/demos")
    card = hub.repositories["dataset", "me/demos"]["README.md"].decode()
    assert "| stow-cube | 4 | 4 |" in card
    file = pull("me/demos", tmp_path / "back", data=True)
    with DemoDataset.open(data) as mine, DemoDataset.open(file) as theirs:
        assert mine.names == theirs.names
        first = mine.names[0]
        np.testing.assert_array_equal(mine.episode(first).actions, theirs.episode(first).actions)


def test_only_files_that_we_know_are_taken(hub, run, tmp_path):
    push(run, "me/wiper")
    stored = hub.repositories["model", "me/wiper"]
    stored |= {"evil.pkl": b"x", "../../evil.py": b"x", "best/evil.so": b"x"}
    back = pull("me/wiper", tmp_path / "back")
    names = {str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()}
    assert names <= set(stored) - {"evil.pkl", "../../evil.py", "best/evil.so", "README.md"}


def test_what_is_too_large_or_damaged_is_refused_and_leaves_nothing(
    hub, run, tmp_path, monkeypatch
):
    push(run, "me/wiper")
    with monkeypatch.context() as patch:
        patch.setenv("VAND_MAX_BYTES", "1000")
        with pytest.raises(VandError, match="me/wiper"):
            pull("me/wiper", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    hub.repositories["model", "me/wiper"]["best/policy.json"] = b"{}"
    with pytest.raises(VandError, match=r"policy\.json"):
        pull("me/wiper", tmp_path / "back")


@pytest.mark.parametrize(
    ("repo", "words"),
    [("me/nothing", "the Hub says"), ("a/b/c/d", "repo"), ("me/empty", "no vand-robot repository")],
)
def test_a_repository_that_is_not_ours_is_one_line(hub, repo, words, tmp_path):
    hub.repositories["model", "me/empty"] = {"README.md": b""}
    with pytest.raises(VandError, match=words) as caught:
        pull(repo, tmp_path / "back")
    assert "\n" not in str(caught.value)


def test_a_refusal_is_one_line(hub, data, tmp_path):
    hub.refuse = 403
    with pytest.raises(VandError, match=r"the Hub says: .*no such right"):
        push(data, "me/demos")
    with pytest.raises(UsageError, match="expected a run's folder"):
        push(tmp_path, "me/demos")


def test_no_server_is_one_line(data, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(VandError, match="cannot be reached"):
        push(data, "me/demos")


def test_a_folder_that_is_there_is_not_written_to(hub, run, tmp_path):
    push(run, "me/wiper")
    back = shutil.copytree(run, tmp_path / "back")
    with pytest.raises(UsageError, match="exists"):
        pull("me/wiper", back)


OF_NO_SIZE = b'{"id": "me/x", "siblings": [{"rfilename": "best/policy.json", "size": "large"}]}'


@pytest.mark.parametrize(
    "answer",
    [
        OF_NO_SIZE,
        b"null",
        b"[" * 100_000,
        b'{"siblings": 3}',
        b'{"lastModified": "yesterday"}',
        b"\xff",
        b"",
    ],
    ids=lambda answer: repr(answer[:12]),
)
def test_a_hub_that_answers_otherwise_is_one_line(hub, tmp_path, answer):
    hub.replies["/api/"] = (200, answer)
    with pytest.raises(VandError, match=r"^me/x: [^\n]*$"):
        pull("me/x", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_of_what_is_damaged_nothing_is_kept(hub, tmp_path):
    hub.repositories["dataset", "me/x"] = {"a.hdf5": b"no HDF5"}
    with pytest.raises(VandError, match="no HDF5 file"):
        pull("me/x", tmp_path / "back", data=True)
    assert list(tmp_path.iterdir()) == []
