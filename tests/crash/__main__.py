"""``make crash``: many rounds on both stores."""

from __future__ import annotations

import argparse
import shutil
import sys

from .campaign import Campaign
from .server import postgres


def main() -> int:
    """Run the campaign, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    given = parser.parse_args()
    failed = False
    for store in ("sqlite", "postgres") if given.store == "both" else (given.store,):
        with postgres(store == "postgres") as database:
            campaign = Campaign(given.seed, database)
            report = campaign.run(given.rounds)
            print(f"{store}: {report}")
            for text in report.findings:
                print(f"  {text}")
            if not report.findings:
                shutil.rmtree(campaign.platform.home)
            failed = failed or bool(report.findings)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
