"""The walked forest gives the library's bits, or is not used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.algorithms.xgboost import forest
from clary.algorithms.xgboost.runtime import library


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to walk; the compiled one is there wherever there is a C compiler."""
    if request.param == "numpy":
        monkeypatch.setattr(forest, "_trees", None)
    elif forest._trees is None:
        pytest.skip("native code is not compiled here")
    return str(request.param)


def booster(objective: str, depth: int, rounds: int, seed: int, **more: Any) -> Any:
    random = np.random.default_rng(seed)
    features = random.normal(size=(200, 7)).astype(np.float32).round(1)  # ties, so that rows meet split points
    target = features @ random.normal(size=7)
    if "logi" in objective or objective == "count:poisson":
        target = target > 0
    matrix = library().DMatrix(features, target)
    return library().train(
        {"objective": objective, "max_depth": depth, "nthread": 1, "verbosity": 0, **more}, matrix, rounds
    )


@pytest.mark.parametrize("objective", ["binary:logistic", "reg:logistic", "binary:logitraw", "reg:squarederror"])
@given(depth=st.integers(1, 8), rounds=st.integers(1, 40), seed=st.integers(0, 999))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_forest_gives_the_librarys_bits(objective: str, depth: int, rounds: int, seed: int) -> None:
    trained = booster(objective, depth, rounds, seed)
    walked = forest.build(trained, rounds // 2)
    assert walked is not None
    rows = np.random.default_rng(seed + 1).normal(size=(64, 7)).astype(np.float32).round(1)
    expected = trained.inplace_predict(rows, iteration_range=(0, rounds // 2), validate_features=False)
    assert walked.predict(rows).tolist() == expected.tolist()
    assert [walked.predict(rows[i : i + 1])[0] for i in range(64)] == expected.tolist()


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("reg:logistic", {"booster": "dart", "rate_drop": 0.5}),
        ("reg:logistic", {"booster": "gblinear"}),
        ("count:poisson", {}),
    ],
    ids=["dart", "linear", "poisson"],
)
def test_what_cannot_be_walked_is_left_to_the_library(objective: str, more: dict[str, Any]) -> None:
    assert forest.build(booster(objective, 3, 5, 1, **more), 0) is None


def test_infinite_values_stop_at_leaves() -> None:
    trained = booster("reg:squarederror", 4, 10, 3)
    walked = forest.build(trained, 0)
    assert walked is not None
    rows = np.full((1, 7), 3.4e38, dtype=np.float32)
    assert walked.predict(rows).tolist() == trained.inplace_predict(rows, validate_features=False).tolist()
    assert np.isfinite(walked.predict(np.full((1, 7), np.inf, dtype=np.float32)))


def test_a_forest_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = booster("binary:logistic", 4, 10, 3)
    monkeypatch.setattr(forest, "_base", lambda _: np.float32(0.4))
    assert forest.build(trained, 0) is None
