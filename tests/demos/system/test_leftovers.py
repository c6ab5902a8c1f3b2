"""What a kill leaves of an export goes with the next one."""

import pytest

from tests.helpers.episodes import ENV_ARGS, episode
from tests.helpers.kills import killed_before_rename, left_behind
from vand_demos import write_dataset
from vand_demos.interop import export_dataset

pytest.importorskip("pyarrow.parquet")
pytest.importorskip("minari")


@pytest.mark.parametrize("form", ["lerobot", "minari"])
def test_a_folder_that_a_kill_left_half_written_goes_with_the_next_export(form, tmp_path):
    data = tmp_path / "data.hdf5"
    write_dataset(data, [episode(0), episode(1)], ENV_ARGS)
    out = tmp_path / "export-v0"
    assert killed_before_rename(0, lambda: export_dataset(data, out, form))
    assert left_behind(tmp_path) == [".export-v0.new"]
    export_dataset(data, out, form)
    assert not left_behind(tmp_path)
    assert out.is_dir()
