"""What dies, breaks or means harm."""

import pytest

BOTH_STORES = pytest.mark.parametrize("own_platform", ["sqlite", "postgres"], indirect=True)
"""For a test whose own platform is to run on each store."""
