"""The examples of the main README run, and its links lead somewhere."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from vand_demos import DemoDataset, check_file

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "configs/README.md", "demos/README.md", "envs/README.md", "envs/BENCHMARK.md"]
PAGES += ["configs/STUDY.md", "vand_robot/nn/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.usefixtures("short_episodes")
def test_the_examples_in_python_run(run, tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text("utf-8")
    evaluation, policy, single, library = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    shutil.copytree(run, tmp_path / "runs" / "wipe-0")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(evaluation, "README.md", "exec"), names)
    assert names["result"].tasks["wipe"].success.episodes == 20
    exec(compile(policy, "README.md", "exec"), names)
    assert names["batch"].progress.cycles.shape == (4,)
    exec(compile(single, "README.md", "exec"), names)
    assert names["action"].shape == (10,)
    assert names["over"]
    exec(compile(library, "README.md", "exec"), names)
    assert np.isfinite(names["loss"].item())


def test_demonstrations_are_read_and_made_as_the_page_says(tmp_path, monkeypatch):
    text = (ROOT / "demos" / "README.md").read_text("utf-8")
    (reading,) = re.findall(
        r"```python\n(from vand_demos import DemoDataset.*?)```", text, re.DOTALL
    )
    (making,) = re.findall(r"```python\n(import numpy.*?)```", text, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(reading, "demos/README.md", "exec"), {})
    monkeypatch.chdir(tmp_path)
    exec(compile(making, "demos/README.md", "exec"), {})
    assert check_file("own.hdf5") == []
    with DemoDataset.open("own.hdf5") as dataset:
        assert [episode.seed for episode in dataset] == [0, 1, 2]
        waiting = dataset.episode("demo_0").actions[:10]
    np.testing.assert_array_equal(waiting, np.tile([*[0.0] * 9, 1.0], (10, 1)))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    folder = (ROOT / page).parent
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text("utf-8"))
    assert links
    for link in links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        path = folder / target if target else ROOT / page
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), flags=re.MULTILINE)
            assert anchor in map(_anchor, headings), link


def _anchor(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
