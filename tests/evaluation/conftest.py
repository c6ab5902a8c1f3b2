"""References for the tests of the evaluation."""

import pytest

from vand_robot.evaluation.reference import references_from_datasets


@pytest.fixture(scope="session")
def references(demos):
    return references_from_datasets([demos])
