"""What tests of several services start from."""

from __future__ import annotations

import pytest

from tests.jobs import bucket, job, train
from tests.platform import Platform


@pytest.fixture(scope="session")
def model_data(platform: Platform) -> str:
    """A trained model on each store."""
    where = bucket(platform, "models-shared")
    return str(train(platform, job("model-shared", where))["ModelArtifacts"]["S3ModelArtifacts"])
