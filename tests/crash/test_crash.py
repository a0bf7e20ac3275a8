"""A short campaign on each store; ``make crash`` runs long ones."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.conftest import _database_of_its_own

from .campaign import Campaign

ROUNDS = int(os.environ.get("CLARY_CRASH_ROUNDS", "1"))
SEED = int(os.environ.get("CLARY_SEED", "1"))


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_and_nothing_is_left(
    request: pytest.FixtureRequest, store: str, name: str
) -> None:
    database = ""
    if store == "postgres":
        database = _database_of_its_own(request.getfixturevalue("postgres"), name)
    campaign = Campaign(SEED, database)
    report = campaign.run(ROUNDS)
    shutil.rmtree(campaign.platform.home)
    assert not report.findings, report.findings
    assert report.rounds == ROUNDS and report.deaths.total() and report.acknowledged
