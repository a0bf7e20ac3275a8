"""Services are found by their place; nothing lists them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import clary.services
from clary.services._catalogue import services

TOY = """
from clary.provider.operation import Provider
from clary.provider.service import Service

toy = Provider("sqs")
SERVICE = Service(toy, lambda platform: platform.append("installed"))
"""
OPERATIONS = """
from . import toy

@toy.operation
def list_queues(ctx, request):
    return {"QueueUrls": []}
"""


def test_a_folder_is_all_that_a_service_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {service.name for service in services()}
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text(TOY)
    (folder / "queues.py").write_text(OPERATIONS)
    monkeypatch.setattr(clary.services, "__path__", [*clary.services.__path__, str(tmp_path)])
    try:
        found = {service.name: service for service in services.__wrapped__()}
    finally:
        for name in [n for n in sys.modules if n.startswith("clary.services.toy")]:
            del sys.modules[name]
    assert list(found["sqs"].provider.handlers) == ["ListQueues"]
    told: list[str] = []
    found["sqs"].install(told)  # type: ignore[arg-type]
    assert told == ["installed"]
    assert found.keys() == known | {"sqs"}


def test_every_service_has_operations() -> None:
    assert all(service.provider.handlers for service in services())
    assert len({service.name for service in services()}) == len(services())
