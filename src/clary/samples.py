"""Public sample files: the bucket that SageMaker's example notebooks download their data from.

Only tables that ship with an installed package are there; their origin is named beside each.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

from .clock import now
from .provider.platform import Platform
from .store.border import PUBLIC
from .store.object import Bucket

_OWNER = "aws"


def install(platform: Platform) -> None:
    """Make the sample bucket of the platform's region, if it is not there."""
    name = f"sagemaker-example-files-prod-{platform.settings.region}"
    with platform.database.write() as tx:
        rows = platform.objects.rows(tx)
        if rows.bucket(name) is not None:
            return
        rows.add_bucket(Bucket(name, _OWNER, platform.settings.region, now(), documents={PUBLIC: True}))
    if (table := _breast_cancer()) is not None:
        platform.objects.of(_OWNER).put_file(
            name, "datasets/tabular/breast_cancer/wdbc.csv", io.BytesIO(table), "text/csv"
        )


def _breast_cancer() -> bytes | None:
    """The Wisconsin diagnostic table (UCI, CC BY 4.0) as scikit-learn ships it: id, diagnosis, 30 features.

    scikit-learn leaves the patients' ids out; row numbers stand in their place.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "breast_cancer.csv")
    if not path.exists():
        return None
    lines = []
    for number, line in enumerate(path.read_text().splitlines()[1:], 1):
        *features, target = line.split(",")
        lines.append(f"{number},{'B' if target == '1' else 'M'},{','.join(features)}")
    return ("\n".join(lines) + "\n").encode()
