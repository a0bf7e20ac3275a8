"""The examples, run as a user would run them: with the SDK, on a platform that knows nothing of them."""

from __future__ import annotations

from tests.e2e.test_clients import environment
from tests.platform import CLARY, ROOT, Platform, run


def example(platform: Platform, name: str) -> str:
    """Run an example under the SageMaker Python SDK v2; what it printed."""
    python = str(environment("sdk-v2") / "python")
    return run([CLARY, "run", "--", python, str(ROOT / "examples" / name)], platform.environment).stdout


def test_model_families(sqlite_platform: Platform) -> None:
    printed = example(sqlite_platform, "train_families.py")
    for name in ("svm", "rnn", "resnet", "gan", "encoder", "decoder"):
        assert f"\n{name} " in f"\n{printed}"
    assert "resnet endpoint tells" in printed


def test_preprocessing_in_front_of_a_booster(sqlite_platform: Platform) -> None:
    assert "✓ the endpoint takes raw rows" in example(sqlite_platform, "preprocess_and_predict.py")
