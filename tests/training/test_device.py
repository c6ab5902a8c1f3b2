"""The scan and the device that a run goes on with."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.helpers.runs import override, small_config, write_random
from vand_robot.layout import RunFolder
from vand_robot.nn import BackendError
from vand_robot.nn.kernel.native import library as loading
from vand_robot.policies.provenance import read_provenance
from vand_robot.training.trainer import train


@pytest.fixture
def choose(monkeypatch) -> Iterator:
    """Chooses the scan of this process, as `VAND_BACKEND` does at its start."""

    def choose(value: str) -> str:
        monkeypatch.setenv(loading.VARIABLE, value)
        loading.library.cache_clear()
        return loading.backend()

    yield choose
    monkeypatch.undo()
    loading.library.cache_clear()


def test_a_run_that_goes_on_with_another_scan_is_warned_of(tmp_path: Path, choose):
    try:
        own = choose("c")
    except BackendError as error:
        pytest.skip(str(error))
    config = small_config(write_random(tmp_path / "d.hdf5"), "updates=2")
    run = tmp_path / "run"
    train(config, run)

    def resumed(updates: int) -> str:
        shown = StringIO()
        longer = override(config, [f"updates={updates}"])
        train(longer, run, resume=True, console=Console(file=shown, width=200))
        return shown.getvalue()

    assert "warning" not in resumed(3)
    assert choose("torch") == "torch"
    expected = f"warning: the run was trained with the scan {own} and goes on with torch"
    assert expected in resumed(4)
    scans = [session.machine["scan"] for session in read_provenance(RunFolder(run))]
    assert scans == [own, own, "torch"]
