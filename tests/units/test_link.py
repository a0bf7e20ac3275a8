"""Batches and cores. In processes of their own: interpreted classes cannot derive from compiled ones."""

from __future__ import annotations

import os
import sys

import pytest

from tests.platform import ROOT, run


@pytest.mark.parametrize("scene", ["gather", "patience", "slow", "leaving", "redirected"])
def test_links(scene: str) -> None:
    run([sys.executable, "-m", "tests.units.links", scene], {**os.environ, "CLARY_COMPILED": "0"}, cwd=ROOT, timeout=60)
