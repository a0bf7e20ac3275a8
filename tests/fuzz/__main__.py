"""``python -m tests.fuzz``: a campaign against a platform of its own."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.platform import started

from .campaign import Campaign


def main() -> int:
    """Run a campaign; 1 when it found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz every operation of a platform.")
    parser.add_argument("--count", type=int, default=100_000, help="requests to send")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what all choices are made from")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop earlier than that")
    parser.add_argument("--only", default="", help="operations whose service.Name has this in it")
    parser.add_argument("--workers", type=int, default=3, help="connections side by side")
    parser.add_argument("--database", default="", help="URL of the platform's database; empty means SQLite")
    parser.add_argument("--open", action="store_true", help="an open platform")
    given = parser.parse_args()
    options = [*(["--open"] if given.open else []), *(["--database", given.database] if given.database else [])]
    print(f"seed {given.seed}", flush=True)
    with started(Path(tempfile.mkdtemp(prefix="clary-fuzz-")), *options, CLARY_HOLD_SECONDS="1") as platform:
        began = time.monotonic()
        campaign = Campaign(
            platform, given.seed, given.count, given.seconds, given.workers, only=given.only
        ).run()  # fmt: skip
        took = time.monotonic() - began
        strays = campaign.strays()
        for trace in strays:
            print(f"== traceback in the log\n{trace[-1500:]}\n")
    print(f"{len(campaign.reached)} of {len(campaign.operations)} operations have answered 2xx at least once")
    found = len(campaign.findings) + len(strays)
    spread = ", ".join(f"{s or 'none'}: {n}" for s, n in sorted(campaign.statuses.items()))
    print(f"{campaign.sent} requests in {took:.0f} s with seed {given.seed}: {found} findings ({spread})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
