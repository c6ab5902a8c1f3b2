"""One small exported policy for all tests of the runtime."""

import pytest

from tests.helpers.exports import make_checkpoint
from vand_robot.export.onnx import export_policy


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A policy, its checkpoint's folder, and its exported file."""
    folder = tmp_path_factory.mktemp("exported")
    policy = make_checkpoint(folder / "best")
    export_policy(folder / "best", folder / "policy.onnx")
    return policy, folder / "best", folder / "policy.onnx"
